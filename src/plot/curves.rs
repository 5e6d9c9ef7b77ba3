//! What there is to draw of a run: its log as points over the steps.

use crate::train::Event;

/// Points of a curve: step and value.
pub type Curve = Vec<(f64, f64)>;

/// The curves of a run.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Curves {
    /// The loss of every logged interval, or of every epoch where that is finer.
    pub train: Curve,
    /// The validation loss.
    pub valid: Curve,
    /// The learning rate.
    pub lr: Curve,
    /// The norm of all gradients, before clipping.
    pub gradient_norm: Curve,
    /// Tokens per second.
    pub tokens_per_second: Curve,
}

impl Curves {
    /// The curves of a log.
    pub fn of(events: &[Event]) -> Self {
        let mut curves = Curves::default();
        let mut epochs = Curve::new();
        for event in events {
            let at = event.step() as f64;
            match *event {
                Event::Steps {
                    loss,
                    lr,
                    gradient_norm,
                    tokens_per_second,
                    ..
                } => {
                    curves.train.push((at, loss));
                    curves.lr.push((at, lr));
                    curves.tokens_per_second.push((at, tokens_per_second));
                    let norm = gradient_norm.map(|norm| (at, norm));
                    curves.gradient_norm.extend(norm);
                }
                Event::Epoch {
                    loss, valid_loss, ..
                } => {
                    epochs.push((at, loss));
                    curves.valid.extend(valid_loss.map(|loss| (at, loss)));
                }
                Event::Evaluation { valid_loss, .. } => curves.valid.push((at, valid_loss)),
                Event::Rollback { .. } => {}
            }
        }
        if curves.train.len() <= epochs.len() {
            curves.train = epochs;
        }
        curves
    }
}

/// The largest number of an axis.
const LARGEST: f64 = 1e300;
/// The smallest part that is told apart of the largest number.
const SMALLEST_SHARE: f64 = 1e-9;

/// The lowest and the highest of `values`; 0 and 1 where that is no range.
pub fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|value| value.is_finite());
    let start = (f64::INFINITY, f64::NEG_INFINITY);
    let (lowest, highest) = finite.fold(start, |(l, h), value| (l.min(value), h.max(value)));
    // What no picture can show is cut off; what it cannot tell from a constant is one.
    let [lowest, highest] = [lowest, highest].map(|value| match value.is_finite() {
        true => value.clamp(-LARGEST, LARGEST),
        false => value,
    });
    let largest = lowest.abs().max(highest.abs());
    if highest - lowest > (SMALLEST_SHARE * largest).max(1.0 / LARGEST) {
        (lowest, highest)
    } else if lowest.is_finite() {
        // A constant stands in the middle.
        let around = lowest.abs().max(1e-3);
        (lowest - around, lowest + around)
    } else {
        (0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_every_number() {
        assert_eq!(
            range([3.0, f64::NAN, 1.0, f64::INFINITY].into_iter()),
            (1.0, 3.0)
        );
        assert_eq!(range([2.0].into_iter()), (0.0, 4.0));
        assert_eq!(range(std::iter::empty()), (0.0, 1.0));
    }

    #[test]
    fn the_finer_training_curve_is_taken() {
        let epoch = |step, loss| Event::Epoch {
            step,
            epoch: 1,
            loss,
            valid_loss: Some(loss + 1.0),
            seconds: 1.0,
        };
        let steps = |step, loss| Event::Steps {
            step,
            epoch: 1,
            loss,
            lr: 0.5,
            gradient_norm: None,
            tokens_per_second: 9.0,
            seconds: 1.0,
        };
        let coarse = Curves::of(&[steps(5, 4.0), epoch(10, 3.0)]);
        assert_eq!(coarse.train, [(10.0, 3.0)]);
        let fine = Curves::of(&[steps(5, 4.0), steps(10, 2.0), epoch(10, 3.0)]);
        assert_eq!(fine.train, [(5.0, 4.0), (10.0, 2.0)]);
        assert_eq!(fine.valid, [(10.0, 4.0)]);
        assert_eq!(fine.lr, [(5.0, 0.5), (10.0, 0.5)]);
        assert!(fine.gradient_norm.is_empty());
    }
}
