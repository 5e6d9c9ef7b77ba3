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

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, PROGRESS, STATE, Tensors, Weights, sha256_of_ids};
use crate::config::Config;
use crate::data::{Corpus, Tokenizer, Windows};
use crate::device::{Device, MemoryPlan, Planner};
use crate::error::{Error, Result};
use crate::model::RnnLm;
use crate::ops::Ops;
use crate::optimizer::Optimizer;
use crate::schedule::{BestLoss, EarlyStop, Schedule, ScheduleState};

/// Losses that are summed on the device, at its precision, before the sum is read.
const LOSSES_SUMMED: u64 = 256;

/// Nats per token from which on training counts as failed. Guessing costs ln V, less than 23.
pub(crate) const DIVERGED: f64 = 1e4;

/// The name of the hidden state among a checkpoint's tensors.
const HIDDEN: &str = "hidden";

/// What training has to tell. A line of `metrics.jsonl` each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
#[non_exhaustive]
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
        /// The norm of all gradients at the last step, before clipping; none without clipping.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gradient_norm: Option<f64>,
        /// Tokens per second since the last event of this kind.
        tokens_per_second: f64,
        /// Seconds of training so far.
        seconds: f64,
    },
    /// The model was validated in the middle of an epoch.
    Evaluation {
        /// Steps since the beginning.
        step: u64,
        /// The epoch under way, from 1.
        epoch: usize,
        /// Loss on the validation part, in nats per token.
        valid_loss: f64,
        /// Seconds of training so far.
        seconds: f64,
    },
    /// The loss was no longer a number, or exploded, and training goes on from a checkpoint.
    Rollback {
        /// The step that it was found at.
        step: u64,
        /// The step of the checkpoint.
        to_step: u64,
        /// What every learning rate is multiplied by from now on.
        lr_scale: f64,
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
        #[serde(default, skip_serializing_if = "Option::is_none")]
        valid_loss: Option<f64>,
        /// Seconds of training so far.
        seconds: f64,
    },
}

impl Event {
    /// Steps since the beginning.
    pub fn step(&self) -> u64 {
        match *self {
            Event::Steps { step, .. }
            | Event::Evaluation { step, .. }
            | Event::Rollback { step, .. }
            | Event::Epoch { step, .. } => step,
        }
    }
}

/// What [`Trainer::advance`] comes back for.
#[derive(Debug, Clone, PartialEq)]
pub enum Advance {
    /// There is something to tell.
    Event(Event),
    /// This is a good moment to save a checkpoint.
    Save,
    /// `stop` said to stop. Training can go on from here.
    Stopped,
    /// All epochs are done.
    Finished,
}

/// The lowest validation loss so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Best {
    /// The step that it was reached at.
    pub step: u64,
    /// The loss, in nats per token.
    pub loss: f64,
}

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

/// Where training stands, apart from tensors.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// The epoch under way, from 0.
    pub epoch: usize,
    /// The epoch's windows that are done.
    pub window: usize,
    /// Sum of the losses that are still on the device.
    pub loss_on_device: f64,
    /// Windows whose losses have been taken from the device.
    pub taken: u64,
    /// Sum and number of the losses taken since the last line of the log.
    pub recent_loss: (f64, u64),
    /// Sum and number of the losses taken in this epoch.
    pub epoch_loss: (f64, u64),
    /// The step of the last evaluation in the middle of an epoch.
    pub evaluated: u64,
    /// The lowest validation loss so far, if there is a validation part.
    pub best: Option<Best>,
    /// What the learning rate depends on.
    #[serde(default)]
    pub schedule: ScheduleState,
    /// What early stopping depends on.
    #[serde(default)]
    pub early_stop: BestLoss,
    /// Seconds of training.
    pub seconds: f64,
    /// SHA-256 of the training and of the validation part, as token ids.
    pub text: (String, String),
    /// The device that computed it, in words.
    pub device: String,
    /// Length of the log in bytes.
    pub log_bytes: u64,
}

/// All that training needs, beside the weights, to go on as if it had never stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Where it stands.
    pub progress: Progress,
    /// The hidden state, inside an epoch, and the optimizer's state.
    pub tensors: Tensors,
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

    /// Goes back to a checkpoint, as [`Trainer::restore`] does, but at half the learning rate that it
    /// has now. Returns what there is to tell of it.
    ///
    /// # Errors
    /// As [`Trainer::restore`].
    pub fn roll_back(&mut self, ops: &mut O, checkpoint: &Checkpoint, path: &Path) -> Result<Event>
    where
        O: Ops<Elem = f32>,
    {
        let (step, scale) = (self.progress.step, self.schedule.state().scale);
        self.restore(ops, checkpoint, path)?;
        self.schedule.set_state(ScheduleState {
            scale: 0.5 * scale,
            ..self.schedule.state()
        });
        Ok(Event::Rollback {
            step,
            to_step: self.progress.step,
            lr_scale: 0.5 * scale,
        })
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

    /// The loss of a window with the weights as they are: what the last step has made of them, its own
    /// loss does not show.
    fn next_loss(&mut self, ops: &mut O) -> Result<f64> {
        let window = self.progress.window.min(self.train.count() - 1);
        self.train
            .fill(0, window, &mut self.inputs, &mut self.targets);
        self.aside(ops, |trainer, ops| {
            let model = &mut trainer.model;
            model.evaluate(ops, &trainer.inputs, &trainer.targets)?;
            model.take_loss_sum(ops)
        })
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

    fn evaluation_is_due(&self) -> bool {
        let Progress {
            step, evaluated, ..
        } = self.progress;
        self.valid.is_some()
            && self.progress.window > 0
            && is_due(step, self.config.eval_interval)
            && evaluated != step
    }

    /// Validates in the middle of an epoch, and goes on with the hidden state as it was; false if
    /// `stop` came in between.
    fn evaluate_inside(&mut self, ops: &mut O, stop: &mut dyn FnMut() -> bool) -> Result<bool> {
        let Some(valid_loss) = self.evaluate(ops, stop)? else {
            return Ok(false);
        };
        self.note_best(Some(valid_loss));
        self.progress.evaluated = self.progress.step;
        self.due.push_back(Advance::Event(Event::Evaluation {
            step: self.progress.step,
            epoch: self.progress.epoch + 1,
            valid_loss,
            seconds: self.clock.seconds(),
        }));
        self.due.push_back(Advance::Save);
        Ok(true)
    }

    fn note_best(&mut self, loss: Option<f64>) {
        let step = self.progress.step;
        let lowest = self.progress.best.map_or(f64::INFINITY, |best| best.loss);
        if let Some(loss) = loss.filter(|loss| *loss < lowest) {
            self.progress.best = Some(Best { step, loss });
        }
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

    /// The mean loss over the validation part's windows, from a state of zeros on. None without a
    /// validation part, or if `stop` says to stop. The hidden state and the losses of training are
    /// left as they were.
    ///
    /// # Errors
    /// [`Error::Diverged`] for a loss that is not a number, or is huge; as the ops.
    pub fn evaluate(&mut self, ops: &mut O, stop: &mut dyn FnMut() -> bool) -> Result<Option<f64>> {
        let Some(valid) = self.valid else {
            return Ok(None);
        };
        let loss = self.aside(ops, |trainer, ops| trainer.validate(ops, &valid, stop))?;
        if let Some(loss) = loss {
            self.check_loss(ops, loss)?;
        }
        Ok(loss)
    }

    /// Does `work` with the model, and leaves the hidden state and the losses of training as they were.
    fn aside<T>(
        &mut self,
        ops: &mut O,
        work: impl FnOnce(&mut Self, &mut O) -> Result<T>,
    ) -> Result<T> {
        let begun = Instant::now();
        let hidden = self.model.rnn.next_state(ops)?;
        let on_device = self.model.loss_sum(ops)?;
        self.model.set_loss_sum(ops, O::Elem::default())?;
        let done = work(self, ops);
        let losses = self.model.set_loss_sum(ops, on_device);
        let state = self.model.rnn.set_state(ops, &hidden);
        self.clock.pause(begun.elapsed());
        losses.and(state).and(done)
    }

    fn validate(
        &mut self,
        ops: &mut O,
        valid: &Windows<'_>,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<Option<f64>> {
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
        Ok(Some(sum / valid.count() as f64))
    }
}

impl<O: Ops<Elem = f32>> Trainer<'_, O> {
    /// The model and where its training stands, to be saved.
    ///
    /// # Errors
    /// [`Error::Diverged`] if a weight or the state is not a number, or if the loss is none or huge, of a
    /// window with the weights as they are or of those since the last line of the log: such a model is
    /// not worth saving; as the ops.
    pub fn checkpoint(&mut self, ops: &mut O, vocabulary: &Tokenizer) -> Result<Checkpoint> {
        let weights = Weights::of(ops, &self.model)?;
        let next_loss = self.next_loss(ops)?;
        self.check_loss(ops, next_loss)?;
        let on_device = self.model.loss_sum(ops)?;
        let (sum, count) = self.progress.recent_loss;
        let windows = (count + self.untaken()).max(1);
        self.check_loss(ops, (sum + f64::from(on_device)) / windows as f64)?;
        if !weights.are_finite() {
            return Err(self.diverged(ops, next_loss));
        }
        let mut tensors = Tensors::new();
        if self.progress.window > 0 {
            let hidden = self.model.rnn.next_state(ops)?;
            let shape = vec![self.config.batch_size, self.config.nhid];
            tensors.insert(HIDDEN.to_owned(), (shape, hidden));
        }
        tensors.append(&mut self.optimizer_state(ops)?);
        let mut values = tensors.values().flat_map(|(_, values)| values);
        if !values.all(|x| x.is_finite()) {
            return Err(self.diverged(ops, next_loss));
        }
        let progress = Progress {
            schedule: self.schedule.state(),
            early_stop: self.early_stop.state(),
            loss_on_device: f64::from(on_device),
            seconds: self.clock.seconds(),
            ..self.progress.clone()
        };
        Ok(Checkpoint {
            config: self.config.clone(),
            vocabulary: vocabulary.clone(),
            weights,
            state: Some(State { progress, tensors }),
        })
    }

    /// The optimizer's state by name.
    fn optimizer_state(&self, ops: &mut O) -> Result<Tensors> {
        let parameters = self.model.parameters();
        let shapes: Vec<_> = parameters.map(|p| vec![p.shape.0, p.shape.1]).collect();
        // Kind by kind, the parameters in their order.
        let state = self.optimizer.state().into_iter();
        let state = state.zip(shapes.into_iter().cycle());
        let read = |((name, tensor), shape)| Ok((name, (shape, ops.read(tensor)?)));
        state.map(read).collect()
    }

    /// Goes on from a checkpoint, read from `path`, of the same sizes and the same text.
    ///
    /// # Errors
    /// [`Error::Run`] if the checkpoint does not fit; as the ops.
    pub fn restore(&mut self, ops: &mut O, checkpoint: &Checkpoint, path: &Path) -> Result<()> {
        let unfit = |what: &str| Error::run(path, what.to_owned());
        let state = checkpoint.state.as_ref();
        let state = state.ok_or_else(|| unfit("it has weights only; use it with --init-from"))?;
        if state.progress.text != self.progress.text {
            return Err(unfit("the text is not the one that it was trained on"));
        }
        let checked = state.progress.check(self.train.count());
        checked.map_err(|what| Error::run(&path.join(PROGRESS), what))?;
        checkpoint.weights.put(ops, &mut self.model)?;
        self.model.rnn.reset_state();
        if state.progress.window > 0 {
            let elements = self.config.batch_size * self.config.nhid;
            let hidden = of_state(state, HIDDEN, elements, path)?;
            self.model.rnn.set_state(ops, hidden)?;
        }
        for (name, tensor) in self.optimizer.state_mut() {
            let values = of_state(state, &name, ops.len(tensor), path)?;
            ops.write(tensor, 0, values)?;
        }
        self.optimizer.set_steps(state.progress.step);
        self.schedule.set_state(state.progress.schedule);
        self.early_stop.set_state(state.progress.early_stop);
        let on_device = state.progress.loss_on_device as f32;
        self.model.set_loss_sum(ops, on_device)?;
        self.progress = Progress {
            device: ops.describe(),
            ..state.progress.clone()
        };
        self.clock = Clock::new(self.windows_done(), self.progress.seconds);
        self.due.clear();
        Ok(())
    }
}

/// A tensor of so many elements of the state that was read from the checkpoint `path`.
fn of_state<'a>(state: &'a State, name: &str, elements: usize, path: &Path) -> Result<&'a [f32]> {
    let what = match state.tensors.get(name) {
        Some((_, values)) if values.len() == elements => return Ok(values),
        Some((shape, _)) => format!("{name} is {shape:?}, expected {elements} elements"),
        None => format!("there is no {name}, from which this optimizer goes on"),
    };
    Err(Error::run(&path.join(STATE), what))
}

/// Is something due at `step` that is due every `interval` steps, or never if that is 0?
fn is_due(step: u64, interval: usize) -> bool {
    interval > 0 && step > 0 && step.is_multiple_of(interval as u64)
}

/// Measures time spent on training.
#[derive(Debug)]
struct Clock {
    begun: Instant,
    /// Seconds of earlier processes.
    before: f64,
    /// When the speed was last asked for, and the windows that were done then.
    last: (Instant, u64),
}

impl Clock {
    fn new(windows: u64, before: f64) -> Self {
        let now = Instant::now();
        Clock {
            begun: now,
            before,
            last: (now, windows),
        }
    }

    /// Takes time out that was not spent on training.
    fn pause(&mut self, time: Duration) {
        self.begun += time;
        self.last.0 += time;
    }

    fn seconds(&self) -> f64 {
        self.before + self.begun.elapsed().as_secs_f64()
    }

    /// Since this was last asked for.
    fn windows_per_second(&mut self, windows: u64) -> f64 {
        let now = Instant::now();
        let (then, before) = std::mem::replace(&mut self.last, (now, windows));
        (windows - before) as f64 / (now - then).as_secs_f64()
    }
}
