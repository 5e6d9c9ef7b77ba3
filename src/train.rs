//! The training loop: window → loss → gradient → update → log → evaluate → save.
//!
//! A model of one's own text, in a page:
//!
//! ```
//! use bptt::checkpoint::Checkpoint;
//! use bptt::config::Config;
//! use bptt::data::Corpus;
//! use bptt::device::Cpu;
//! use bptt::train::{Advance, Event, Trainer};
//!
//! # fn main() -> bptt::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let folder = folder.path();
//! let text = folder.join("text.txt");
//! std::fs::write(&text, "the lamp is lit at four. ".repeat(100)).unwrap();
//! let config = Config {
//!     data: vec![text],
//!     valid_fraction: Some(0.1),
//!     nhid: 32,
//!     batch_size: 4,
//!     bptt: 20,
//!     ..Config::default()
//! };
//! let corpus = Corpus::load(&config.source())?;
//! let mut device = Cpu::<f32>::new();
//! let mut trainer = Trainer::new(&mut device, &config, &corpus)?;
//! let path = folder.join("checkpoint");
//! let mut losses = Vec::new();
//! loop {
//!     // The second argument could stop it between two steps.
//!     match trainer.advance(&mut device, &mut || false)? {
//!         Advance::Event(Event::Epoch { valid_loss, .. }) => losses.extend(valid_loss),
//!         Advance::Event(_) => {}
//!         Advance::Save => trainer.checkpoint(&mut device, &corpus.vocabulary)?.write(&path)?,
//!         Advance::Stopped | Advance::Finished => break,
//!     }
//! }
//! assert!(losses.last() < losses.first());
//!
//! // Later, or elsewhere: it goes on as if it had never stopped.
//! let mut again = Trainer::new(&mut device, &config, &corpus)?;
//! again.restore(&mut device, &Checkpoint::read(&path)?, &path)?;
//! assert_eq!(again.progress().step, trainer.progress().step);
//! # Ok(())
//! # }
//! ```

mod check;
mod checkpoint;
mod clock;
mod event;
mod progress;
mod validate;

use std::collections::VecDeque;

use crate::checkpoint::sha256_of_ids;
use crate::config::Config;
use crate::data::{Corpus, Windows};
use crate::device::{Device, MemoryPlan, Planner};
use crate::error::{Error, Result};
use crate::model::RnnLm;
use crate::ops::Ops;
use crate::optimizer::Optimizer;
use crate::schedule::{EarlyStop, Schedule};
use clock::Clock;
pub use event::{Advance, Event};
pub use progress::{Best, Progress, State};

/// Losses that are summed on the device, at its precision, before the sum is read.
const LOSSES_SUMMED: u64 = 256;

/// Nats per token from which on training counts as failed. Guessing costs ln V, less than 23.
pub(crate) const DIVERGED: f64 = 1e4;

/// The memory that training with these settings takes, by purpose, for a vocabulary of `vocab`.
///
/// # Errors
/// As [`Optimizer::new`].
pub fn plan(config: &Config, vocab: usize) -> Result<MemoryPlan> {
    let mut planner = Planner::<f32>::default();
    let model = RnnLm::new(&mut planner, config.model_size(vocab), true)?;
    optimizer(&mut planner, &model, config)?;
    Ok(planner.into_plan())
}

/// What training with these settings updates `model` by.
pub(crate) fn optimizer<D: Device>(
    device: &mut D,
    model: &RnnLm<D>,
    config: &Config,
) -> Result<Optimizer<D>> {
    let optimizer = Optimizer::new(device, model, config.rule(), config.max_norm())?;
    if config.accumulate == 1 {
        return Ok(optimizer);
    }
    optimizer.with_mean(device, model)
}

/// Steps of a run over `windows` windows an epoch; the last of an epoch may be by fewer windows than the
/// others.
pub(crate) fn total_steps(config: &Config, windows: usize) -> u64 {
    config.epochs as u64 * windows.div_ceil(config.accumulate) as u64
}

/// Trains one model on one device.
#[derive(Debug)]
pub struct Trainer<'a, O: Ops> {
    /// The model.
    pub model: RnnLm<O>,
    optimizer: Optimizer<O>,
    schedule: Schedule,
    early_stop: EarlyStop,
    config: Config,
    train: Windows<'a>,
    valid: Option<Windows<'a>>,
    inputs: Vec<u32>,
    targets: Vec<u32>,
    /// The learning rate of the last step.
    rate: f64,
    progress: Progress,
    clock: Clock,
    /// What is still to be told about the last step.
    due: VecDeque<Advance>,
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
        let steps = total_steps(config, train.count());
        Ok(Trainer {
            optimizer: optimizer(ops, &model, config)?,
            schedule: config.schedule(steps),
            early_stop: EarlyStop::new(config.early_stop),
            model,
            inputs: vec![0; train.tokens()],
            targets: vec![0; train.tokens()],
            rate: config.lr,
            progress: Progress {
                text: (
                    sha256_of_ids(corpus.train.ids.view()),
                    sha256_of_ids(corpus.valid.ids.view()),
                ),
                device: ops.describe(),
                ..Progress::default()
            },
            clock: Clock::new(0, 0.0),
            due: VecDeque::new(),
            config: config.clone(),
            train,
            valid,
        })
    }

    /// Steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        total_steps(&self.config, self.train.count())
    }

    /// Is training done because the validation loss has not got better for `--early-stop` epochs?
    pub fn is_stopped_early(&self) -> bool {
        self.early_stop.is_due()
    }

    /// Is training done: all epochs, or as many as [`Trainer::is_stopped_early`] says?
    pub fn is_finished(&self) -> bool {
        self.progress.epoch >= self.config.epochs || self.is_stopped_early()
    }

    /// Seconds of training so far, those before a resume included.
    pub fn seconds(&self) -> f64 {
        self.clock.seconds()
    }

    /// Where training stands.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Trains until there is something to tell, or `stop`, asked between two steps, says to stop.
    ///
    /// # Errors
    /// [`Error::Diverged`] if the loss is no longer a number, or the gradient's norm, which is looked
    /// at with each line of the log; as the ops.
    pub fn advance(&mut self, ops: &mut O, stop: &mut dyn FnMut() -> bool) -> Result<Advance> {
        loop {
            if let Some(due) = self.due.pop_front() {
                return Ok(due);
            }
            if self.is_finished() {
                return Ok(Advance::Finished);
            }
            if stop() {
                return Ok(Advance::Stopped);
            }
            let done = if self.progress.window == self.train.count() {
                self.end_epoch(ops, stop)?
            } else if self.evaluation_is_due() {
                self.evaluate_inside(ops, stop)?
            } else {
                self.step(ops)?;
                self.after_step(ops)?;
                true
            };
            if !done {
                return Ok(Advance::Stopped);
            }
        }
    }

    fn step(&mut self, ops: &mut O) -> Result<()> {
        let Progress { epoch, window, .. } = self.progress;
        if window == 0 {
            self.model.rnn.reset_state();
        }
        self.rate = self.schedule.rate(self.progress.step, epoch);
        self.optimizer.set_rate(ops, self.rate)?;
        let windows = self.config.accumulate.min(self.train.count() - window);
        for index in 0..windows {
            self.gradients(ops, epoch, window + index)?;
            let (optimizer, model) = (&mut self.optimizer, &mut self.model);
            optimizer.accumulate(ops, model, index, windows)?;
            if index + 1 == windows {
                optimizer.step(ops, model)?;
            }
            ops.submit()?;
        }
        self.progress.step += 1;
        self.progress.window += windows;
        Ok(())
    }

    /// The loss and the gradients of a window.
    fn gradients(&mut self, ops: &mut O, epoch: usize, window: usize) -> Result<()> {
        // Each pass starts one step later than the one before, as far as steps are left over: so
        // it is not always the same tokens that are left out, nor the same places where windows
        // end.
        let start = epoch % (self.train.slack() + 1);
        self.train
            .fill(start, window, &mut self.inputs, &mut self.targets);
        self.model.forward(ops, &self.inputs, &self.targets)?;
        self.model.backward(ops)
    }

    /// Windows that are done since the beginning.
    fn windows_done(&self) -> u64 {
        let Progress { epoch, window, .. } = self.progress;
        epoch as u64 * self.train.count() as u64 + window as u64
    }

    /// Takes losses, and makes a line of the log or a checkpoint due.
    fn after_step(&mut self, ops: &mut O) -> Result<()> {
        let step = self.progress.step;
        if step.is_multiple_of(self.config.log_interval as u64) {
            let loss = self.take_loss(ops)?;
            let norm = match self.config.max_norm() {
                Some(_) => Some(self.optimizer.gradient_norm(ops)?),
                None => None,
            };
            // Beyond f32, clipping leaves nothing of the gradient: nothing would be learnt.
            if norm.is_some_and(|norm| !norm.is_finite()) {
                return Err(self.diverged(ops, loss));
            }
            let event = self.steps_event(loss, norm);
            self.due.push_back(Advance::Event(event));
        } else if step.is_multiple_of(LOSSES_SUMMED) || self.untaken() >= LOSSES_SUMMED {
            self.take_loss(ops)?;
        }
        let save = is_due(step, self.config.save_interval);
        // At an epoch's end it is saved anyway.
        if save && self.progress.window < self.train.count() {
            self.due.push_back(Advance::Save);
        }
        Ok(())
    }

    /// Windows whose losses are still on the device.
    fn untaken(&self) -> u64 {
        self.windows_done() - self.progress.taken
    }

    fn steps_event(&mut self, loss: f64, gradient_norm: Option<f64>) -> Event {
        let (step, windows) = (self.progress.step, self.windows_done());
        let tokens = self.train.tokens() as f64;
        self.progress.recent_loss = (0.0, 0);
        Event::Steps {
            step,
            epoch: self.progress.epoch + 1,
            loss,
            lr: self.rate,
            gradient_norm,
            tokens_per_second: self.clock.windows_per_second(windows) * tokens,
            seconds: self.clock.seconds(),
        }
    }

    /// Validates, and begins the next epoch; false if `stop` came in between.
    fn end_epoch(&mut self, ops: &mut O, stop: &mut dyn FnMut() -> bool) -> Result<bool> {
        self.take_loss(ops)?;
        let valid_loss = self.evaluate(ops, stop)?;
        if self.valid.is_some() && valid_loss.is_none() {
            return Ok(false);
        }
        self.note_best(valid_loss);
        if let Some(loss) = valid_loss {
            self.schedule.after_epoch(loss);
            self.early_stop.after_epoch(loss);
        }
        let (sum, count) = std::mem::take(&mut self.progress.epoch_loss);
        self.progress.epoch += 1;
        self.progress.window = 0;
        self.due.push_back(Advance::Event(Event::Epoch {
            step: self.progress.step,
            epoch: self.progress.epoch,
            loss: sum / count as f64,
            valid_loss,
            seconds: self.clock.seconds(),
        }));
        self.due.push_back(Advance::Save);
        Ok(true)
    }

    /// Takes the losses of the windows since they were last taken; the mean since the last line of
    /// the log.
    fn take_loss(&mut self, ops: &mut O) -> Result<f64> {
        let sum = self.model.take_loss_sum(ops)?;
        let (windows, done) = (self.untaken(), self.windows_done());
        let progress = &mut self.progress;
        progress.taken = done;
        for total in [&mut progress.recent_loss, &mut progress.epoch_loss] {
            total.0 += sum;
            total.1 += windows;
        }
        let (sum, count) = progress.recent_loss;
        let mean = if count == 0 { 0.0 } else { sum / count as f64 };
        self.check_loss(ops, mean)?;
        Ok(mean)
    }

    /// [`Error::Diverged`] for a loss that no model worth keeping has.
    fn check_loss(&mut self, ops: &mut O, loss: f64) -> Result<()> {
        // Also false for NaN.
        if loss < DIVERGED {
            return Ok(());
        }
        Err(self.diverged(ops, loss))
    }

    fn diverged(&mut self, ops: &mut O, loss: f64) -> Error {
        let norm = self.optimizer.measure_norm(ops, &self.model);
        let norm = norm.unwrap_or(f64::NAN);
        Error::Diverged {
            step: self.progress.step,
            loss,
            gradient_norm: norm,
        }
    }
}

/// Is something due at `step` that is due every `interval` steps, or never if that is 0?
fn is_due(step: u64, interval: usize) -> bool {
    interval > 0 && step > 0 && step.is_multiple_of(interval as u64)
}
