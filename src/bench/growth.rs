//! How time and memory of a training step grow as one size alone doubles.

use std::time::Instant;

use serde::Serialize;

use super::{Timing, Training};
use crate::error::Result;
use crate::model::ModelSize;
use crate::ops::Ops;

/// Doublings of each size.
const DOUBLINGS: u32 = 5;
/// The last doublings, which exponents are fitted to: what is constant matters least there.
const FITTED: usize = 3;

/// Where a size is.
type Field = fn(&mut ModelSize) -> &mut usize;

/// The sizes that are doubled: what each is called, and where it is.
const SIZES: [(&str, Field); 4] = [
    ("N", |size| &mut size.batch),
    ("T", |size| &mut size.time_steps),
    ("H", |size| &mut size.hidden),
    ("V", |size| &mut size.vocab),
];

/// Where growth begins unless asked otherwise: small enough for a few seconds a size on two CPU
/// cores, large enough for products to matter.
pub const BASE: ModelSize = ModelSize {
    vocab: 1024,
    embedding: 128,
    hidden: 128,
    batch: 16,
    time_steps: 16,
    biases: 1,
};

/// Growth along one size.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Growth {
    /// The size that is doubled: "N", "T", "H" or "V".
    pub along: &'static str,
    /// The base and every doubling.
    pub points: Vec<Point>,
    /// e in seconds ∝ size^e, over the last doublings.
    pub time_exponent: f64,
    /// The same of the products' floating-point operations.
    pub flops_exponent: f64,
    /// The same of the bytes planned.
    pub memory_exponent: f64,
}

/// A training step at one size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Point {
    /// The value of the size that is doubled.
    pub value: usize,
    /// Seconds of a step: the fastest of some blocks of steps, which other work on the machine disturbs
    /// least.
    pub step_seconds: f64,
    /// Floating-point operations of its products.
    pub flops: f64,
    /// Bytes planned.
    pub bytes: u64,
}

/// Measures steps from `base` on, along N, T, H and V.
///
/// # Errors
/// [`crate::Error::Config`] for a size beyond what a model can have; as
/// [`crate::device::Device::alloc`] and the ops.
pub fn measure<O: Ops>(ops: &mut O, base: ModelSize, timing: Timing) -> Result<Vec<Growth>> {
    largest(base).iter().try_for_each(ModelSize::check)?;
    let along = |(along, field)| {
        let sizes = (0..=DOUBLINGS).map(|doublings| doubled(base, field, doublings));
        let points = sizes.map(|mut size| {
            let step_seconds = step_seconds(ops, size, timing)?;
            Ok(Point {
                value: *field(&mut size),
                step_seconds,
                flops: size.flops_per_step(),
                bytes: size.plan::<O::Elem>()?.total(),
            })
        });
        Ok(Growth::new(along, points.collect::<Result<_>>()?))
    };
    SIZES.into_iter().map(along).collect()
}

/// The largest sizes that [`measure`] comes to.
pub fn largest(base: ModelSize) -> [ModelSize; 4] {
    SIZES.map(|(_, field)| doubled(base, field, DOUBLINGS))
}

fn doubled(mut size: ModelSize, field: Field, doublings: u32) -> ModelSize {
    let value = field(&mut size);
    *value = value.saturating_mul(1 << doublings);
    size
}

fn step_seconds<O: Ops>(ops: &mut O, size: ModelSize, timing: Timing) -> Result<f64> {
    let mut training = Training::new(ops, size)?;
    training.seconds_a_step(ops, 1)?;
    let estimate = training.seconds_a_step(ops, 1)?;
    let blocks = timing.repetitions.max(1);
    let block = timing.at_least.as_secs_f64() / blocks as f64 / estimate;
    let block = (block as usize).max(1);
    let begun = Instant::now();
    let (mut done, mut fastest) = (0, estimate);
    while done < blocks || begun.elapsed() < timing.at_least {
        fastest = training.seconds_a_step(ops, block)?.min(fastest);
        done += 1;
    }
    Ok(fastest)
}

impl Growth {
    fn new(along: &'static str, points: Vec<Point>) -> Self {
        let exponent = |value: fn(&Point) -> f64| {
            let last = &points[points.len().saturating_sub(FITTED + 1)..];
            let values = last
                .iter()
                .map(|p| ((p.value as f64).log2(), value(p).log2()));
            slope(&values.collect::<Vec<_>>())
        };
        Growth {
            along,
            time_exponent: exponent(|p| p.step_seconds),
            flops_exponent: exponent(|p| p.flops),
            memory_exponent: exponent(|p| p.bytes as f64),
            points,
        }
    }
}

/// The slope of the least-squares line: Σ(x − x̄)(y − ȳ) / Σ(x − x̄)².
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let products = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>();
    products / points.iter().map(|p| (p.0 - x).powi(2)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_law_has_its_exponent_and_what_is_constant_hides_it() {
        let growth = |constant: f64| {
            let point = |i: u32| Point {
                value: 1 << i,
                step_seconds: constant + 3e-3 * f64::from(1 << i).powf(1.5),
                flops: f64::from(1 << (2 * i)),
                bytes: 1 << i,
            };
            Growth::new("H", (0..=DOUBLINGS).map(point).collect())
        };
        let pure = growth(0.0);
        assert!((pure.time_exponent - 1.5).abs() < 1e-12);
        assert!((pure.flops_exponent - 2.0).abs() < 1e-12);
        assert!((pure.memory_exponent - 1.0).abs() < 1e-12);
        assert!(growth(10.0).time_exponent < 0.2);
    }

    #[test]
    fn each_size_alone_is_doubled() {
        let base = BASE;
        for ((_, field), mut size) in SIZES.into_iter().zip(largest(base)) {
            assert_eq!(*field(&mut size), *field(&mut base.clone()) << DOUBLINGS);
            *field(&mut size) = *field(&mut base.clone());
            assert_eq!(size, base);
        }
    }
}
