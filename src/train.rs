//! The training loop: window → loss → gradient → update → log → evaluate.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::config::Config;
use crate::data::{Corpus, Windows};
use crate::error::{Error, Result};
use crate::model::RnnLm;
use crate::ops::Ops;
use crate::optimizer::Sgd;

/// Losses that are summed on the device, at its precision, before the sum is read.
const LOSSES_SUMMED: u64 = 256;

/// Nats per token from which on training counts as failed. Guessing costs ln V, less than 23.
const DIVERGED: f64 = 1e4;

/// What training has to tell. A line of `metrics.jsonl` each.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// Some steps are done.
    Steps {
        /// Steps since the beginning.
        step: u64,
        /// The epoch under way, from 1.
        epoch: usize,
        /// Mean loss, in nats per token, since the last event of this kind.
        loss: f64,
        /// The learning rate.
        lr: f64,
        /// Tokens per second since the last event of this kind.
        tokens_per_second: f64,
        /// Seconds of training so far.
        seconds: f64,
    },
    /// An epoch is done.
    Epoch {
        /// Steps since the beginning.
        step: u64,
        /// The epoch, from 1.
        epoch: usize,
        /// Its mean loss, in nats per token.
        loss: f64,
        /// Loss on the validation part, if there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        valid_loss: Option<f64>,
        /// Seconds of training so far.
        seconds: f64,
    },
}

/// Trains one model on one device.
#[derive(Debug)]
pub struct Trainer<'a, O: Ops> {
    /// The model.
    pub model: RnnLm<O>,
    sgd: Sgd<O>,
    config: Config,
    train: Windows<'a>,
    valid: Option<Windows<'a>>,
    inputs: Vec<u32>,
    targets: Vec<u32>,
    /// The learning rate of the last step.
    rate: f64,
    progress: Progress,
}

impl<'a, O: Ops> Trainer<'a, O> {
    /// A model with initial weights, and everything that its training needs, on `ops`.
    ///
    /// # Errors
    /// [`Error::TextTooShort`] for a text of less than a window; as [`crate::device::Device::alloc`].
    pub fn new(ops: &mut O, config: &Config, corpus: &'a Corpus) -> Result<Self> {
        let (train, valid) = corpus.windows(config.batch_size, config.bptt)?;
        let size = config.model_size(corpus.vocabulary.len());
        let mut model = RnnLm::new(ops, size, true)?;
        model.init(ops, config.seed)?;
        Ok(Trainer {
            sgd: Sgd::new(ops, &model, config.max_norm())?,
            model,
            inputs: vec![0; train.tokens()],
            targets: vec![0; train.tokens()],
            rate: config.lr,
            progress: Progress::new(train.tokens()),
            config: config.clone(),
            train,
            valid,
        })
    }

    /// Steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.config.epochs as u64 * self.train.count() as u64
    }

    /// Trains all epochs, or until `stop` says so between two steps. Returns whether it was stopped.
    ///
    /// # Errors
    /// [`Error::Diverged`] if the loss is no longer a number; as the ops.
    pub fn run(
        &mut self,
        ops: &mut O,
        mut stop: impl FnMut() -> bool,
        mut on_event: impl FnMut(Event) -> Result<()>,
    ) -> Result<bool> {
        for epoch in 0..self.config.epochs {
            self.model.rnn.reset_state();
            // Each pass starts one step later than the one before, as far as steps are left over:
            // so it is not always the same tokens that are left out, nor the same places where
            // windows end.
            let start = epoch % (self.train.slack() + 1);
            for index in 0..self.train.count() {
                self.step(ops, epoch, start, index)?;
                let stopped = stop();
                let step = self.progress.step;
                if stopped || step.is_multiple_of(self.config.log_interval as u64) {
                    let loss = self.take_loss(ops)?;
                    on_event(self.progress.steps(epoch, loss, self.rate))?;
                } else if step.is_multiple_of(LOSSES_SUMMED) {
                    self.take_loss(ops)?;
                }
                if stopped {
                    return Ok(true);
                }
            }
            self.take_loss(ops)?;
            let valid_loss = self.validate(ops, &mut stop)?;
            if stop() {
                return Ok(true);
            }
            on_event(self.progress.epoch(epoch, valid_loss))?;
        }
        Ok(false)
    }

    fn step(&mut self, ops: &mut O, epoch: usize, start: usize, index: usize) -> Result<()> {
        let done = self.progress.step as f64 / self.total_steps() as f64;
        self.rate = self.config.rate(epoch, done);
        self.sgd.set_rate(ops, self.rate)?;
        self.train
            .fill(start, index, &mut self.inputs, &mut self.targets);
        self.model.forward(ops, &self.inputs, &self.targets)?;
        self.model.backward(ops)?;
        self.sgd.step(ops, &mut self.model)?;
        ops.submit()?;
        self.progress.step += 1;
        Ok(())
    }

    /// Takes the losses of the steps since they were last taken; the mean since the last event.
    fn take_loss(&mut self, ops: &mut O) -> Result<f64> {
        let sum = self.model.take_loss_sum(ops)?;
        self.progress.add_losses(sum);
        let (sum, steps) = self.progress.recent;
        let mean = if steps == 0 { 0.0 } else { sum / steps as f64 };
        // Also false for NaN.
        if mean < DIVERGED {
            return Ok(mean);
        }
        Err(Error::Diverged {
            step: self.progress.step,
            loss: mean,
        })
    }

    /// The mean loss over the validation part's windows, from a state of zeros on; nothing of use if
    /// `stop` says to stop.
    fn validate(&mut self, ops: &mut O, mut stop: impl FnMut() -> bool) -> Result<Option<f64>> {
        let Some(valid) = &self.valid else {
            return Ok(None);
        };
        let begun = Instant::now();
        self.model.rnn.reset_state();
        let mut sum = 0.0;
        for index in 0..valid.count() {
            valid.fill(0, index, &mut self.inputs, &mut self.targets);
            self.model.evaluate(ops, &self.inputs, &self.targets)?;
            ops.submit()?;
            let done = index as u64 + 1;
            if done.is_multiple_of(LOSSES_SUMMED) || done == valid.count() as u64 {
                sum += self.model.take_loss_sum(ops)?;
            }
            if stop() {
                return Ok(None);
            }
        }
        self.progress.pause(begun.elapsed());
        Ok(Some(sum / valid.count() as f64))
    }
}

/// Counts steps, losses and time.
#[derive(Debug)]
struct Progress {
    tokens_a_step: usize,
    step: u64,
    /// Sum and number of the losses since the last event, and of this epoch.
    recent: (f64, u64),
    epoch: (f64, u64),
    /// Steps whose losses were taken.
    taken: u64,
    begun: Instant,
    /// When the last event was, and the step it was at.
    last: (Instant, u64),
}

impl Progress {
    fn new(tokens_a_step: usize) -> Self {
        let now = Instant::now();
        Progress {
            tokens_a_step,
            step: 0,
            recent: (0.0, 0),
            epoch: (0.0, 0),
            taken: 0,
            begun: now,
            last: (now, 0),
        }
    }

    /// Adds the sum of the losses of the steps not taken yet.
    fn add_losses(&mut self, sum: f64) {
        let steps = self.step - self.taken;
        self.taken = self.step;
        for total in [&mut self.recent, &mut self.epoch] {
            total.0 += sum;
            total.1 += steps;
        }
    }

    /// Takes time out that was not spent on training.
    fn pause(&mut self, time: Duration) {
        self.begun += time;
        self.last.0 += time;
    }

    fn steps(&mut self, epoch: usize, loss: f64, lr: f64) -> Event {
        let now = Instant::now();
        let (before, step_before) = std::mem::replace(&mut self.last, (now, self.step));
        self.recent = (0.0, 0);
        let tokens = (self.step - step_before) as f64 * self.tokens_a_step as f64;
        Event::Steps {
            step: self.step,
            epoch: epoch + 1,
            loss,
            lr,
            tokens_per_second: tokens / (now - before).as_secs_f64(),
            seconds: (now - self.begun).as_secs_f64(),
        }
    }

    fn epoch(&mut self, epoch: usize, valid_loss: Option<f64>) -> Event {
        let (sum, count) = std::mem::replace(&mut self.epoch, (0.0, 0));
        Event::Epoch {
            step: self.step,
            epoch: epoch + 1,
            loss: sum / count as f64,
            valid_loss,
            seconds: self.begun.elapsed().as_secs_f64(),
        }
    }
}
