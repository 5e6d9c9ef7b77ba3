//! How the learning rate goes on, and when training has gone on long enough.

use serde::{Deserialize, Serialize};

/// The value of `--lr-schedule`: how the learning rate goes on from `--lr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LrSchedule {
    /// It stays.
    #[default]
    Constant,
    /// After epoch --lr-decay-after it is multiplied by --lr-decay before each epoch.
    Step,
    /// It falls to zero along half a cosine over the whole run.
    Cosine,
    /// It is multiplied by --lr-decay when the validation loss has not got better for --lr-patience
    /// epochs.
    Plateau,
}

/// A schedule's shape, with its settings.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Shape {
    /// The rate stays.
    Constant,
    /// After the first `full_epochs` it is multiplied by `factor` before each epoch.
    Step {
        /// Epochs at the full rate.
        full_epochs: usize,
        /// Of each reduction.
        factor: f64,
    },
    /// It falls to zero along half a cosine.
    Cosine {
        /// All updates of the run.
        updates: u64,
    },
    /// It is multiplied by `factor` after each `patience` epochs without a better validation loss
    /// (with 1 and 1/4: PyTorch's word-language-model example).
    Plateau {
        /// Epochs without a better loss before a reduction.
        patience: usize,
        /// Of each reduction.
        factor: f64,
    },
}

/// The lowest validation loss, and how long ago it was.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct BestLoss {
    /// The lowest so far; none before the first.
    pub loss: Option<f64>,
    /// Epochs since then.
    pub epochs_since: usize,
}

impl BestLoss {
    /// Takes an epoch's loss in; one that is not a finite number is no better than any.
    fn after_epoch(&mut self, loss: f64) {
        if loss.is_finite() && self.loss.is_none_or(|best| loss < best) {
            self.loss = Some(loss);
            self.epochs_since = 0;
        } else {
            self.epochs_since += 1;
        }
    }
}

/// What a schedule depends on besides its settings and the step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleState {
    /// The best validation loss; epochs are counted since it or the last reduction.
    pub best: BestLoss,
    /// Reductions so far, of the plateau schedule.
    pub reductions: u32,
    /// A factor of every rate.
    pub scale: f64,
}

impl Default for ScheduleState {
    fn default() -> Self {
        ScheduleState {
            best: BestLoss::default(),
            reductions: 0,
            scale: 1.0,
        }
    }
}

/// The learning rate over a run: its shape, after a warm-up.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    rate: f64,
    shape: Shape,
    warmup: u64,
    state: ScheduleState,
}

impl Schedule {
    /// A schedule from `rate` on. During the first `warmup` updates the rate rises in a straight
    /// line.
    pub fn new(rate: f64, shape: Shape, warmup: u64) -> Self {
        Schedule {
            rate,
            shape,
            warmup,
            state: ScheduleState::default(),
        }
    }

    /// The rate of update `step` (from 0) in `epoch` (from 0).
    pub fn rate(&self, step: u64, epoch: usize) -> f64 {
        self.rate * self.of_shape(step, epoch) * self.of_warmup(step) * self.state.scale
    }

    fn of_shape(&self, step: u64, epoch: usize) -> f64 {
        match self.shape {
            Shape::Constant => 1.0,
            Shape::Step {
                full_epochs,
                factor,
            } => power(factor, (epoch + 1).saturating_sub(full_epochs)),
            Shape::Cosine { updates } => {
                let falling = updates.saturating_sub(self.warmup).max(1);
                let done = step.saturating_sub(self.warmup) as f64 / falling as f64;
                0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())
            }
            Shape::Plateau { factor, .. } => power(factor, self.state.reductions as usize),
        }
    }

    fn of_warmup(&self, step: u64) -> f64 {
        if step < self.warmup {
            (step + 1) as f64 / self.warmup as f64
        } else {
            1.0
        }
    }

    /// Takes an epoch's validation loss in. Returns whether the rate was reduced for it.
    pub fn after_epoch(&mut self, valid_loss: f64) -> bool {
        let best = &mut self.state.best;
        best.after_epoch(valid_loss);
        let Shape::Plateau { patience, .. } = self.shape else {
            return false;
        };
        let reduced = best.epochs_since >= patience;
        if reduced {
            best.epochs_since = 0;
            self.state.reductions += 1;
        }
        reduced
    }

    /// Multiplies every rate from now on by `factor`.
    pub fn scale(&mut self, factor: f64) {
        self.state.scale *= factor;
    }

    /// What it depends on besides its settings and the step.
    pub fn state(&self) -> ScheduleState {
        self.state
    }

    /// Goes on as from `state`.
    pub fn set_state(&mut self, state: ScheduleState) {
        self.state = state;
    }
}

fn power(factor: f64, exponent: usize) -> f64 {
    factor.powi(i32::try_from(exponent).unwrap_or(i32::MAX))
}

/// Ends training when the validation loss has not got better for some epochs.
#[derive(Debug, Clone, PartialEq)]
pub struct EarlyStop {
    patience: Option<usize>,
    best: BestLoss,
}

impl EarlyStop {
    /// Stops after `patience` epochs without a better loss, or never.
    pub fn new(patience: Option<usize>) -> Self {
        EarlyStop {
            patience,
            best: BestLoss::default(),
        }
    }

    /// Takes an epoch's validation loss in.
    pub fn after_epoch(&mut self, valid_loss: f64) {
        self.best.after_epoch(valid_loss);
    }

    /// Should training end?
    pub fn is_due(&self) -> bool {
        let reached = |patience| self.best.epochs_since >= patience;
        self.patience.is_some_and(reached)
    }

    /// The best loss so far.
    pub fn state(&self) -> BestLoss {
        self.best
    }

    /// Goes on as from `state`.
    pub fn set_state(&mut self, state: BestLoss) {
        self.best = state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates<const N: usize>(schedule: &Schedule, at: [(u64, usize); N]) -> [f64; N] {
        at.map(|(step, epoch)| schedule.rate(step, epoch))
    }

    #[test]
    fn the_rate_follows_its_shape() {
        let constant = Schedule::new(3.0, Shape::Constant, 0);
        assert_eq!(rates(&constant, [(0, 0), (99, 9)]), [3.0; 2]);
        let step = Shape::Step {
            full_epochs: 2,
            factor: 0.5,
        };
        let step = Schedule::new(8.0, step, 0);
        let epochs = [(0, 0), (0, 1), (0, 2), (0, 3)];
        assert_eq!(rates(&step, epochs), [8.0, 8.0, 4.0, 2.0]);
        let cosine = Schedule::new(2.0, Shape::Cosine { updates: 10 }, 0);
        let [begin, half, end] = rates(&cosine, [(0, 0), (5, 0), (10, 0)]);
        assert!((begin - 2.0).abs() + (half - 1.0).abs() + end.abs() < 1e-15);
    }

    #[test]
    fn a_warm_up_rises_to_the_shape() {
        let constant = Schedule::new(8.0, Shape::Constant, 4);
        let steps = [(0, 0), (1, 0), (3, 0), (4, 0)];
        assert_eq!(rates(&constant, steps), [2.0, 4.0, 8.0, 8.0]);
        // The cosine falls over what is left of the run.
        let cosine = Schedule::new(2.0, Shape::Cosine { updates: 14 }, 4);
        let [begin, half, end] = rates(&cosine, [(4, 0), (9, 0), (14, 0)]);
        assert!((begin - 2.0).abs() + (half - 1.0).abs() + end.abs() < 1e-15);
        let all = Schedule::new(2.0, Shape::Cosine { updates: 4 }, 4);
        assert_eq!(rates(&all, [(1, 0), (3, 0)]), [1.0, 2.0]);
    }

    fn plateau(patience: usize) -> Schedule {
        let factor = 0.25;
        Schedule::new(16.0, Shape::Plateau { patience, factor }, 0)
    }

    #[test]
    fn a_plateau_reduces_the_rate() {
        let mut schedule = plateau(1);
        let losses = [3.0, 2.0, 2.0, f64::NAN, 1.0, 1.5];
        let reduced = losses.map(|loss| schedule.after_epoch(loss));
        assert_eq!(reduced, [false, false, true, true, false, true]);
        assert_eq!(schedule.rate(0, 0), 16.0 / 64.0);
        // With patience, the count begins again at a reduction and at a better loss.
        let mut schedule = plateau(2);
        let losses = [2.0, 3.0, 3.0, 3.0, 1.0, 3.0, 3.0];
        let reduced = losses.map(|loss| schedule.after_epoch(loss));
        assert_eq!(reduced, [false, false, true, false, false, false, true]);
        let mut constant = Schedule::new(1.0, Shape::Constant, 0);
        assert!(!losses.iter().any(|&loss| constant.after_epoch(loss)));
        assert_eq!(constant.rate(0, 0), 1.0);
    }

    #[test]
    fn a_stored_state_goes_on_as_if_nothing_had_been() {
        let mut schedule = plateau(2);
        schedule.after_epoch(2.0);
        schedule.after_epoch(3.0);
        schedule.scale(0.5);
        let stored = serde_json::to_string(&schedule.state()).unwrap();
        let mut other = plateau(2);
        other.set_state(serde_json::from_str(&stored).unwrap());
        assert_eq!(other, schedule);
        assert!(other.after_epoch(2.5));
        assert_eq!(other.rate(0, 0), 2.0);
    }

    #[test]
    fn training_ends_when_nothing_gets_better() {
        let after = |stop: &mut EarlyStop, loss| {
            stop.after_epoch(loss);
            stop.is_due()
        };
        let mut stop = EarlyStop::new(Some(2));
        let losses = [3.0, 3.5, 2.0, 2.0, f64::NAN];
        assert_eq!(
            losses.map(|loss| after(&mut stop, loss)),
            [false, false, false, false, true]
        );
        let mut other = EarlyStop::new(Some(3));
        other.set_state(stop.state());
        assert!(!other.is_due() && after(&mut other, 2.0));
        let mut never = EarlyStop::new(None);
        assert!(!losses.iter().any(|&loss| after(&mut never, loss)));
        // Not even the first is better if it is not a number.
        assert!(after(&mut EarlyStop::new(Some(1)), f64::NAN));
    }
}
