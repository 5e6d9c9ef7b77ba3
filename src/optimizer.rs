//! The update, on the device: global-norm clipping, then SGD, momentum or Adam.

use crate::device::{Device, Element, Purpose};
use crate::error::Result;
use crate::model::RnnLm;
use crate::ops::{Adam, Momentum, Ops, Write, norm_partials};

/// How gradients change weights.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Rule {
    /// Stochastic gradient descent: [`Ops::sgd`].
    Sgd,
    /// Stochastic gradient descent with momentum: [`Ops::momentum`].
    Momentum(Momentum),
    /// Adam and AdamW: [`Ops::adam`].
    Adam(Adam),
}

/// A rule with what it keeps of earlier steps: a tensor for each parameter.
#[derive(Debug)]
enum State<T> {
    Sgd,
    Momentum(Momentum, Vec<T>),
    Adam(Adam, [Vec<T>; 2]),
}

/// Updates the parameters of a model, with an optional bound on the norm of all gradients together.
#[derive(Debug)]
pub struct Optimizer<D: Device> {
    state: State<D::Tensor>,
    /// The mean of the gradients of several windows, for each parameter, if there is room for it.
    mean: Option<Vec<D::Tensor>>,
    /// The names of the parameters, in their order.
    names: Vec<&'static str>,
    /// Steps done.
    steps: u64,
    rate: f64,
    /// What changes from step to step, as the ops take it: the rate and Adam's corrections.
    factors: D::Tensor,
    /// What `factors` holds.
    uploaded: [f64; 3],
    /// The norm of all gradients, and the factor that clips them.
    norm: D::Tensor,
    partials: D::Tensor,
    clip: Option<f32>,
}

impl<D: Device> Optimizer<D> {
    /// Plain stochastic gradient descent for `model`; `clip` as for [`Optimizer::new`].
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn sgd(device: &mut D, model: &RnnLm<D>, clip: Option<f32>) -> Result<Self> {
        Optimizer::new(device, model, Rule::Sgd, clip)
    }

    /// An optimizer for `model`, at a learning rate of 0. `clip` is the largest norm that all
    /// gradients together may have (Pascanu et al. 2013); without it they are used as they are.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn new(device: &mut D, model: &RnnLm<D>, rule: Rule, clip: Option<f32>) -> Result<Self> {
        let shapes = shapes(model);
        let mut zeros = || device.alloc_group(Purpose::Optimizer, &shapes);
        let state = match rule {
            Rule::Sgd => State::Sgd,
            Rule::Momentum(settings) => State::Momentum(settings, zeros()?),
            Rule::Adam(settings) => State::Adam(settings, [zeros()?, zeros()?]),
        };
        // Twice as many as uncut gradients need: pieces are larger than a chunk.
        let partials = 2 * norm_partials(model.parameters().map(|p| p.len()));
        let mut norm = device.alloc(Purpose::Scratch, "norm", 2)?;
        device.write(&mut norm, 1, &[D::Elem::from_f64(1.0)])?;
        Ok(Optimizer {
            state,
            mean: None,
            names: shapes.iter().map(|(name, _)| *name).collect(),
            steps: 0,
            rate: 0.0,
            factors: device.alloc(Purpose::Scratch, "learning rate", 3)?,
            uploaded: [0.0; 3],
            norm,
            partials: device.alloc(Purpose::Scratch, "partial norms", partials)?,
            clip,
        })
    }

    /// Makes room for the mean of several windows' gradients. Steps are then by that mean:
    /// [`Optimizer::accumulate`] comes before each.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn with_mean(mut self, device: &mut D, model: &RnnLm<D>) -> Result<Self> {
        self.mean = Some(device.alloc_group(Purpose::Gradients, &shapes(model))?);
        Ok(self)
    }

    /// Sets the learning rate of the next steps. On a GPU, call it before a step's forward pass: what
    /// is uploaded between dispatches splits a submission in two.
    ///
    /// # Errors
    /// As [`Device::write`].
    pub fn set_rate(&mut self, device: &mut D, rate: f64) -> Result<()> {
        self.rate = rate;
        self.upload(device)
    }

    /// The norm of all gradients as it was last taken: at the last step with clipping, by
    /// [`Optimizer::measure_norm`] without; 0 before.
    ///
    /// # Errors
    /// As [`Device::read`].
    pub fn gradient_norm(&self, device: &mut D) -> Result<f64> {
        Ok(device.read(&self.norm)?[0].value())
    }

    /// Steps done so far, which Adam's bias corrections depend on.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Goes on as after `steps` steps; [`Optimizer::state_mut`] has the rest of what a step depends
    /// on.
    pub fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }

    /// What is kept of earlier steps: tensors like the parameters, by PyTorch's name for the state and
    /// ours for the parameter, as in "exp_avg.Wx". None for plain SGD.
    pub fn state(&self) -> Vec<(String, &D::Tensor)> {
        let lists = match &self.state {
            State::Sgd => vec![],
            State::Momentum(_, velocities) => vec![("momentum_buffer", velocities)],
            State::Adam(_, [first, second]) => vec![("exp_avg", first), ("exp_avg_sq", second)],
        };
        named(&self.names, lists)
    }

    /// [`Optimizer::state`], to be written.
    pub fn state_mut(&mut self) -> Vec<(String, &mut D::Tensor)> {
        let lists = match &mut self.state {
            State::Sgd => vec![],
            State::Momentum(_, velocities) => vec![("momentum_buffer", velocities)],
            State::Adam(_, [first, second]) => vec![("exp_avg", first), ("exp_avg_sq", second)],
        };
        named(&self.names, lists)
    }

    /// Brings what the next step needs to the device, where it is not there yet.
    fn upload(&mut self, device: &mut D) -> Result<()> {
        let factors = self.factors();
        if factors != self.uploaded {
            let elements = factors.map(D::Elem::from_f64);
            device.write(&mut self.factors, 0, &elements)?;
            self.uploaded = factors;
        }
        Ok(())
    }

    /// The rate η and, for Adam at step t, η / (1 − β₁ᵗ) and 1 / √(1 − β₂ᵗ).
    fn factors(&self) -> [f64; 3] {
        let State::Adam(settings, _) = &self.state else {
            return [self.rate, 0.0, 0.0];
        };
        let step = (self.steps + 1) as f64;
        // libm, not std: the same bits on every platform.
        let correction = |beta: f64| 1.0 - libm::pow(beta, step);
        [
            self.rate,
            self.rate / correction(settings.beta1),
            1.0 / correction(settings.beta2).sqrt(),
        ]
    }
}

impl<O: Ops> Optimizer<O> {
    /// Takes the gradients of `model` into their mean, as those of window `index` of `windows`. Does
    /// nothing without [`Optimizer::with_mean`].
    ///
    /// # Errors
    /// As [`Ops::accumulate`].
    pub fn accumulate(
        &mut self,
        ops: &mut O,
        model: &RnnLm<O>,
        index: usize,
        windows: usize,
    ) -> Result<()> {
        let Some(mean) = &mut self.mean else {
            return Ok(());
        };
        let gradients: Vec<_> = model.parameters().map(|p| &p.gradient).collect();
        let write = if index == 0 {
            Write::Overwrite
        } else {
            Write::Accumulate
        };
        ops.accumulate(&mut each_mut(mean), &gradients, 1.0 / windows as f64, write)
    }

    /// Updates every parameter of `model` by its gradient, or by the mean of several.
    ///
    /// # Errors
    /// As [`Ops::global_norm`] and the rule's op.
    pub fn step(&mut self, ops: &mut O, model: &mut RnnLm<O>) -> Result<()> {
        self.upload(ops)?;
        if self.clip.is_some() {
            self.take_norm(ops, model)?;
        }
        let parameters = model.parameters_mut();
        let (mut weights, mut gradients): (Vec<_>, Vec<_>) =
            parameters.map(|p| (&mut p.value, &p.gradient)).unzip();
        if let Some(mean) = &self.mean {
            gradients = mean.iter().collect();
        }
        let (weights, rate, norm) = (&mut weights, &self.factors, &self.norm);
        match &mut self.state {
            State::Sgd => ops.sgd(weights, &gradients, rate, norm)?,
            State::Momentum(settings, velocities) => {
                let velocities = &mut each_mut(velocities);
                ops.momentum(weights, velocities, &gradients, rate, norm, *settings)?;
            }
            State::Adam(settings, [first, second]) => {
                let moments: [&mut [_]; 2] = [&mut each_mut(first), &mut each_mut(second)];
                ops.adam(weights, moments, &gradients, rate, norm, *settings)?;
            }
        }
        self.steps += 1;
        Ok(())
    }

    /// The norm of all gradients that the last step was by, also without clipping.
    ///
    /// # Errors
    /// As [`Ops::global_norm`] and [`Device::read`].
    pub fn measure_norm(&mut self, ops: &mut O, model: &RnnLm<O>) -> Result<f64> {
        self.take_norm(ops, model)?;
        self.gradient_norm(ops)
    }

    fn take_norm(&mut self, ops: &mut O, model: &RnnLm<O>) -> Result<()> {
        let gradients: Vec<_> = match &self.mean {
            Some(mean) => mean.iter().collect(),
            None => model.parameters().map(|p| &p.gradient).collect(),
        };
        ops.global_norm(&gradients, self.clip, &mut self.partials, &mut self.norm)
    }
}

/// The names and shapes of all parameters.
fn shapes<D: Device>(model: &RnnLm<D>) -> Vec<(&'static str, (usize, usize))> {
    let parameters = model.parameters();
    parameters.map(|p| (p.name, p.shape)).collect()
}

/// Each tensor of the lists, by the list's name and the parameter's.
fn named<I: IntoIterator>(parameters: &[&str], lists: Vec<(&str, I)>) -> Vec<(String, I::Item)> {
    let mut all = Vec::new();
    for (kind, tensors) in lists {
        for (name, tensor) in parameters.iter().zip(tensors) {
            all.push((format!("{kind}.{name}"), tensor));
        }
    }
    all
}

fn each_mut<T>(tensors: &mut [T]) -> Vec<&mut T> {
    tensors.iter_mut().collect()
}
