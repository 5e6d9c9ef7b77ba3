//! Can training have come to stand there?

use super::Progress;
use crate::schedule::ScheduleState;

impl Progress {
    /// Checks that its numbers can stand together, where an epoch has so many windows.
    ///
    /// # Errors
    /// The first that cannot, and what it can be.
    pub(super) fn check(&self, windows: usize) -> Result<(), String> {
        let (epoch, window, windows) = (self.epoch as u64, self.window as u64, windows as u64);
        let done = epoch
            .checked_mul(windows)
            .and_then(|e| e.checked_add(window));
        let done = done.ok_or_else(|| format!("epoch is {epoch}, more than there can be"))?;
        let ScheduleState {
            best, reductions, ..
        } = self.schedule;
        let counts = [
            ("window", window, windows),
            ("step", self.step, done),
            ("taken", self.taken, done),
            ("recent_loss[1]", self.recent_loss.1, self.taken),
            ("epoch_loss[1]", self.epoch_loss.1, self.taken),
            ("evaluated", self.evaluated, self.step),
            (
                "best.step",
                self.best.map_or(0, |best| best.step),
                self.step,
            ),
            ("schedule.reductions", reductions.into(), epoch),
            (
                "schedule.best.epochs_since",
                best.epochs_since as u64,
                epoch,
            ),
            (
                "early_stop.epochs_since",
                self.early_stop.epochs_since as u64,
                epoch,
            ),
        ];
        for (field, value, most) in counts {
            if value > most {
                return Err(format!(
                    "{field} is {value}, where {most} is the most there can be"
                ));
            }
        }
        let numbers = [
            ("loss_on_device", f64::from(self.loss_on_device as f32)),
            ("seconds", self.seconds),
            ("schedule.scale", self.schedule.scale),
        ];
        for (field, value) in numbers {
            if !value.is_finite() || value < 0.0 {
                return Err(format!("{field} is {value}, expected 0 or a positive f32"));
            }
        }
        Ok(())
    }
}
