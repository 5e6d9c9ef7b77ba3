//! Losses that are not trained on: of the validation part, and of the window that comes next.

use std::time::Instant;

use super::{Advance, Best, Event, LOSSES_SUMMED, Progress, Trainer, is_due};
use crate::data::Windows;
use crate::error::Result;
use crate::ops::Ops;

impl<O: Ops> Trainer<'_, O> {
    pub(super) fn evaluation_is_due(&self) -> bool {
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
    pub(super) fn evaluate_inside(
        &mut self,
        ops: &mut O,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
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

    pub(super) fn note_best(&mut self, loss: Option<f64>) {
        let step = self.progress.step;
        let lowest = self.progress.best.map_or(f64::INFINITY, |best| best.loss);
        if let Some(loss) = loss.filter(|loss| *loss < lowest) {
            self.progress.best = Some(Best { step, loss });
        }
    }

    /// The mean loss over the validation part's windows, from a state of zeros on. None without a
    /// validation part, or if `stop` says to stop. The hidden state and the losses of training are
    /// left as they were.
    ///
    /// # Errors
    /// [`crate::Error::Diverged`] for a loss that is not a number, or is huge; as the ops.
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

    /// The loss of a window with the weights as they are: what the last step has made of them, its own
    /// loss does not show.
    pub(super) fn next_loss(&mut self, ops: &mut O) -> Result<f64> {
        let window = self.progress.window.min(self.train.count() - 1);
        self.train
            .fill(0, window, &mut self.inputs, &mut self.targets);
        self.aside(ops, |trainer, ops| {
            let model = &mut trainer.model;
            model.evaluate(ops, &trainer.inputs, &trainer.targets)?;
            model.take_loss_sum(ops)
        })
    }
}
