//! Dynamic evaluation: after each window the model learns from what it has just been scored on.
//!
//! θ ← θ − η·c·∇L + λ·(θ₀ − θ), with c what clips the gradients and θ₀ the weights as they were
//! trained. Without λ that is gradient descent, as Mikolov et al. (2010) have it; λ is the decay
//! towards θ₀ of Krause et al. (2018, <https://arxiv.org/abs/1709.07432>). Their division of each
//! gradient by the root of its mean square over the training text is not here: it takes that text.

use crate::device::{Device, Purpose};
use crate::error::Result;
use crate::model::RnnLm;
use crate::ops::{Ops, Write};
use crate::optimizer::Optimizer;

/// How to learn while evaluating.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dynamic {
    /// η, the learning rate.
    pub rate: f64,
    /// λ, the share of the way back to the trained weights that each step goes: from 0 to 1.
    pub decay: f64,
    /// The largest norm of all gradients together.
    pub max_norm: Option<f32>,
}

/// What steps of dynamic evaluation take.
#[derive(Debug)]
pub struct Learner<D: Device> {
    optimizer: Optimizer<D>,
    /// None at λ = 0.
    anchor: Option<Anchor<D>>,
}

/// The weights as they were trained, and the pull towards them.
#[derive(Debug)]
struct Anchor<D: Device> {
    decay: f64,
    /// θ₀, once a step has been made.
    trained: Vec<D::Tensor>,
    /// λ·(θ₀ − θ).
    pull: Vec<D::Tensor>,
    is_set: bool,
}

impl<D: Device> Learner<D> {
    /// A learner for `model`, whose weights at the first step are θ₀.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn new(device: &mut D, model: &RnnLm<D>, dynamic: Dynamic) -> Result<Self> {
        let mut optimizer = Optimizer::sgd(device, model, dynamic.max_norm)?;
        optimizer.set_rate(device, dynamic.rate)?;
        let shapes: Vec<_> = model.parameters().map(|p| (p.name, p.shape)).collect();
        let mut like_parameters = || device.alloc_group(Purpose::Optimizer, &shapes);
        let anchor = match dynamic.decay {
            0.0 => None,
            decay => Some(Anchor {
                decay,
                trained: like_parameters()?,
                pull: like_parameters()?,
                is_set: false,
            }),
        };
        Ok(Learner { optimizer, anchor })
    }
}

impl<O: Ops> Learner<O> {
    /// Updates every parameter of `model` by its gradient, and towards its trained value.
    ///
    /// # Errors
    /// As [`Optimizer::step`] and [`Ops::accumulate`].
    pub fn step(&mut self, ops: &mut O, model: &mut RnnLm<O>) -> Result<()> {
        if let Some(anchor) = &mut self.anchor {
            anchor.measure(ops, model)?;
        }
        self.optimizer.step(ops, model)?;
        match &self.anchor {
            Some(anchor) => anchor.apply(ops, model),
            None => Ok(()),
        }
    }
}

impl<O: Ops> Anchor<O> {
    /// pull = λ·θ₀ − λ·θ, before θ changes.
    fn measure(&mut self, ops: &mut O, model: &RnnLm<O>) -> Result<()> {
        let weights: Vec<_> = model.parameters().map(|p| &p.value).collect();
        let mut trained: Vec<_> = self.trained.iter_mut().collect();
        if !self.is_set {
            ops.accumulate(&mut trained, &weights, 1.0, Write::Overwrite)?;
            self.is_set = true;
        }
        let trained: Vec<_> = self.trained.iter().collect();
        let mut pull: Vec<_> = self.pull.iter_mut().collect();
        ops.accumulate(&mut pull, &trained, self.decay, Write::Overwrite)?;
        ops.accumulate(&mut pull, &weights, -self.decay, Write::Accumulate)
    }

    /// θ += pull.
    fn apply(&self, ops: &mut O, model: &mut RnnLm<O>) -> Result<()> {
        let mut weights: Vec<_> = model.parameters_mut().map(|p| &mut p.value).collect();
        let pull: Vec<_> = self.pull.iter().collect();
        ops.accumulate(&mut weights, &pull, 1.0, Write::Accumulate)
    }
}
