//! A training step to measure, on text that needs no source.

use std::time::Instant;

use crate::error::Result;
use crate::model::{ModelSize, RnnLm};
use crate::ops::Ops;
use crate::optimizer::{Optimizer, Rule};

/// Different windows that the steps take in turn.
const WINDOWS: usize = 8;

/// A model under training on text that needs no source.
#[derive(Debug)]
pub struct Training<O: Ops> {
    model: RnnLm<O>,
    optimizer: Optimizer<O>,
    windows: Vec<Vec<u32>>,
    steps: usize,
}

impl<O: Ops> Training<O> {
    /// A model of `size` with initial weights, trained by plain SGD without clipping.
    ///
    /// # Errors
    /// As [`crate::device::Device::alloc`].
    pub fn new(ops: &mut O, size: ModelSize) -> Result<Self> {
        Training::with_update(ops, size, Rule::Sgd, None)
    }

    /// As [`Training::new`], by another rule, and with a bound on the norm of all gradients together.
    ///
    /// # Errors
    /// As [`crate::device::Device::alloc`].
    pub fn with_update(
        ops: &mut O,
        size: ModelSize,
        rule: Rule,
        clip: Option<f32>,
    ) -> Result<Self> {
        let mut model = RnnLm::new(ops, size, true)?;
        model.init(ops, 1)?;
        let mut optimizer = Optimizer::new(ops, &model, rule, clip)?;
        optimizer.set_rate(ops, 0.1)?;
        Ok(Training {
            model,
            optimizer,
            windows: (0..=WINDOWS).map(|salt| tokens(size, salt)).collect(),
            steps: 0,
        })
    }

    /// One step, submitted but not waited for.
    ///
    /// # Errors
    /// As the ops.
    pub fn step(&mut self, ops: &mut O) -> Result<()> {
        let window = self.steps % WINDOWS;
        self.steps += 1;
        let (inputs, targets) = (&self.windows[window], &self.windows[window + 1]);
        self.model.forward(ops, inputs, targets)?;
        self.model.backward(ops)?;
        self.optimizer.step(ops, &mut self.model)?;
        ops.submit()
    }

    /// Seconds of a step, of `steps` that follow each other and are waited for at the end.
    ///
    /// # Errors
    /// As the ops.
    pub fn seconds_a_step(&mut self, ops: &mut O, steps: usize) -> Result<f64> {
        let begun = Instant::now();
        for _ in 0..steps {
            self.step(ops)?;
        }
        ops.finish()?;
        Ok(begun.elapsed().as_secs_f64() / steps as f64)
    }
}

/// Tokens that depend on `salt` and position alone.
pub fn tokens(size: ModelSize, salt: usize) -> Vec<u32> {
    let token = |i: usize| ((i * 7919 + salt * 104_729 + i * i % 31) % size.vocab) as u32;
    (0..size.rows()).map(token).collect()
}
