//! From training to a checkpoint, and back.

use std::path::Path;

use super::clock::Clock;
use super::{Event, Progress, State, Trainer};
use crate::checkpoint::{Checkpoint, PROGRESS, STATE, Tensors, Weights};
use crate::data::Tokenizer;
use crate::error::{Error, Result};
use crate::ops::Ops;
use crate::schedule::ScheduleState;

/// The name of the hidden state among a checkpoint's tensors.
const HIDDEN: &str = "hidden";

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

    /// Goes back to a checkpoint, as [`Trainer::restore`] does, but at half the learning rate that it
    /// has now. Returns what there is to tell of it.
    ///
    /// # Errors
    /// As [`Trainer::restore`].
    pub fn roll_back(
        &mut self,
        ops: &mut O,
        checkpoint: &Checkpoint,
        path: &Path,
    ) -> Result<Event> {
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
