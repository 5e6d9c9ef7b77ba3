use super::bounds::{TINY, U};
use super::harness::{Harness, Result};
use super::subject::Subject;
use crate::model::ModelSize;
use crate::ops::Ops;

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    for len in [1, 63, 64, 65, 1009, 300] {
        check(harness, len)?;
    }
    Ok(())
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    check(harness, size.batch * size.hidden)
}

fn check<O: Subject>(harness: &mut Harness<O>, len: usize) -> Result<()> {
    let mut outputs = harness.normal(len, 1.0);
    outputs.iter_mut().for_each(|y| *y = y.tanh());
    outputs[len / 2] = 1.0;
    let upstream = harness.normal(len, 3.0);
    let (y, dy) = (harness.input(&outputs)?, harness.input(&upstream)?);
    let mut dx = harness.output(len)?;
    harness
        .device
        .tanh_backward(&y.device, &dy.device, &mut dx.device)?;
    harness
        .exact
        .tanh_backward(&y.exact, &dy.exact, &mut dx.exact)?;
    // y², 1 − y² and the product each round once.
    let (y, dy) = (y.reference().to_vec(), dy.reference().to_vec());
    let bound = |i: usize| dy[i].abs() * U * (y[i] * y[i] + 2.0 * (1.0 - y[i] * y[i]));
    harness.compare(&format!("{len} elements"), &dx, |i| 1.01 * bound(i) + TINY)
}
