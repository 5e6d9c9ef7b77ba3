//! What people see while a model trains: a progress bar on a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal::{self, note};
use crate::data::Level;
use crate::train::Event;

/// Shows the events of a run on stderr.
pub struct Display {
    bar: ProgressBar,
    level: Level,
    total_steps: u64,
    epochs: usize,
}

impl Display {
    /// A display for a run of so many steps and epochs.
    pub fn new(level: Level, total_steps: u64, epochs: usize) -> Self {
        let bar = if terminal::shows_progress() {
            ProgressBar::with_draw_target(Some(total_steps), ProgressDrawTarget::stderr())
        } else {
            ProgressBar::hidden()
        };
        let template = "{bar:30} {percent:>3}%  {msg}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Display {
            bar,
            level,
            total_steps,
            epochs,
        }
    }

    /// Shows an event.
    pub fn show(&self, event: &Event) {
        if terminal::is_json() {
            return terminal::event(event);
        }
        match event {
            Event::Steps {
                step,
                loss,
                tokens_per_second,
                seconds,
                ..
            } => {
                let message = format!(
                    "step {step}/{}  loss {loss:.4}  {}  {} tokens/s",
                    self.total_steps,
                    self.level.metric(*loss),
                    thousands(*tokens_per_second)
                );
                self.bar.set_position(*step);
                self.bar.set_message(message.clone());
                if self.bar.is_hidden() {
                    let left =
                        seconds / *step as f64 * self.total_steps.saturating_sub(*step) as f64;
                    note(&format!("{message}  {} left", duration(left)));
                }
            }
            Event::Evaluation {
                step, valid_loss, ..
            } => self.line(&format!(
                "step {step}/{}  validation loss {valid_loss:.4}  {}",
                self.total_steps,
                self.level.metric(*valid_loss)
            )),
            Event::Rollback {
                step,
                to_step,
                lr_scale,
            } => {
                self.bar.set_position(*to_step);
                self.line(&format!(
                    "step {step}/{}  the loss has exploded; back to step {to_step}, at {lr_scale} of the learning rate",
                    self.total_steps
                ));
            }
            Event::Epoch {
                step,
                epoch,
                loss,
                valid_loss,
                seconds,
            } => {
                let valid = valid_loss.map(|loss| {
                    format!("  validation loss {loss:.4}  {}", self.level.metric(loss))
                });
                let line = format!(
                    "epoch {epoch}/{}  loss {loss:.4}  {}{}  {}",
                    self.epochs,
                    self.level.metric(*loss),
                    valid.unwrap_or_default(),
                    duration(*seconds)
                );
                self.bar.set_position(*step);
                self.line(&line);
            }
        }
    }

    /// A line that stays.
    fn line(&self, line: &str) {
        if self.bar.is_hidden() {
            note(line);
        } else {
            self.bar.println(line);
        }
    }

    /// Shows a warning.
    pub fn warn(&self, text: &str) {
        self.bar.suspend(|| terminal::warn(text));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// "181,255": a number with separators.
pub fn thousands(x: f64) -> String {
    let digits = format!("{x:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// "3m 20s": a time that people can compare.
pub fn duration(seconds: f64) -> String {
    let whole = seconds as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, _) => format!("{seconds:.1}s"),
        (0, m, s) => format!("{m}m {s:02}s"),
        (h, m, _) => format!("{h}h {m:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_readable() {
        assert_eq!(
            ["7", "999", "1,000", "1,234,567"],
            [7.2, 999.4, 1000.0, 1234567.0].map(thousands)
        );
        assert_eq!(
            ["2.5s", "3m 20s", "1h 01m"],
            [2.5, 200.0, 3700.0].map(duration)
        );
    }
}
