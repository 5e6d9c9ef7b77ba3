//! The update: global-norm clipping and stochastic gradient descent, on the device.

use crate::device::{Device, Element, Purpose};
use crate::error::Result;
use crate::model::RnnLm;
use crate::ops::{Ops, norm_partials};

/// Stochastic gradient descent with an optional bound on the norm of all gradients together.
#[derive(Debug)]
pub struct Sgd<D: Device> {
    rate: D::Tensor,
    /// The norm of all gradients, and the factor that clips them.
    norm: D::Tensor,
    partials: D::Tensor,
    clip: Option<f32>,
}

impl<D: Device> Sgd<D> {
    /// An optimizer for `model`. `clip` is the largest norm that all gradients together may have
    /// (Pascanu et al. 2013); without it they are used as they are.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn new(device: &mut D, model: &RnnLm<D>, clip: Option<f32>) -> Result<Self> {
        let partials = norm_partials(model.parameters().map(|p| p.len()));
        let mut norm = device.alloc(Purpose::Scratch, "norm", 2)?;
        device.write(&mut norm, 1, &[D::Elem::from_f64(1.0)])?;
        Ok(Sgd {
            rate: device.alloc(Purpose::Scratch, "learning rate", 1)?,
            norm,
            partials: device.alloc(Purpose::Scratch, "partial norms", partials)?,
            clip,
        })
    }

    /// Sets the learning rate of the next steps.
    ///
    /// # Errors
    /// As [`Device::write`].
    pub fn set_rate(&mut self, device: &mut D, rate: f64) -> Result<()> {
        device.write(&mut self.rate, 0, &[D::Elem::from_f64(rate)])
    }

    /// The norm of all gradients at the last step; 0 without clipping.
    ///
    /// # Errors
    /// As [`Device::read`].
    pub fn gradient_norm(&self, device: &mut D) -> Result<f64> {
        Ok(device.read(&self.norm)?[0].value())
    }
}

impl<O: Ops> Sgd<O> {
    /// Updates every parameter of `model` by its gradient.
    ///
    /// # Errors
    /// As [`Ops::global_norm`] and [`Ops::sgd`].
    pub fn step(&mut self, ops: &mut O, model: &mut RnnLm<O>) -> Result<()> {
        if self.clip.is_some() {
            let gradients = model.parameters().map(|p| &p.gradient);
            ops.global_norm(&gradients, self.clip, &mut self.partials, &mut self.norm)?;
        }
        let parameters = model.parameters_mut().into_iter();
        let (mut weights, gradients): (Vec<_>, Vec<_>) =
            parameters.map(|p| (&mut p.value, &p.gradient)).unzip();
        ops.sgd(&mut weights, &gradients, &self.rate, &self.norm)
    }
}
