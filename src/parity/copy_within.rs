use super::harness::{Harness, Result};
use super::subject::Subject;
use crate::model::ModelSize;
use crate::ops::Ops;

/// Elements that take more workgroups of 64 lanes than one row of the grid holds.
const LARGE: usize = 65_536 * 64 + 1;

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    // The last two end with the tensor; they take several workgroups, and more of them than one row
    // of the grid holds.
    for (total, from, to, len) in [
        (2, 1, 0, 1),
        (130, 65, 0, 65),
        (200, 3, 100, 64),
        (9, 2, 5, 0),
        (720, 3, 370, 350),
        (2 * LARGE, 0, LARGE, LARGE),
    ] {
        check(harness, total, from, to, len)?;
    }
    Ok(())
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    // The last state becomes the first one, as from window to window.
    let step = size.batch * size.hidden;
    let last = size.time_steps * step;
    check(harness, last + step, last, 0, step)
}

fn check<O: Subject>(
    harness: &mut Harness<O>,
    total: usize,
    from: usize,
    to: usize,
    len: usize,
) -> Result<()> {
    let values = harness.normal(total, 1.0);
    let mut tensor = harness.in_out(&values)?;
    harness
        .device
        .copy_within(&mut tensor.device, from, to, len)?;
    harness
        .exact
        .copy_within(&mut tensor.exact, from, to, len)?;
    let case = format!("{len} elements from {from} to {to} of {total}");
    harness.compare(&case, &tensor, |_| 0.0)
}
