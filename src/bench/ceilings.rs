//! What the device reaches at best, by the clock that ops are timed by.

use std::time::Instant;

use super::Timing;
use crate::device::profiled::Profiled;
use crate::device::stopwatch::{Clock, Stopwatch};
use crate::device::{Device as _, Purpose};
use crate::error::{Error, Result};
use crate::ops::{Matrix, Ops as _, Write};

/// Sides of the square products, in turn, until one takes long enough.
const SIDES: [usize; 3] = [1024, 2048, 4096];
/// Elements of the copies, in turn, until one takes long enough: 32 and 256 MiB from and to.
const COPIES: [usize; 2] = [8 << 20, 64 << 20];
/// Seconds from which on what a launch costs no longer counts. On the CPU nothing is launched, and
/// the smallest size will do.
const LONG_ENOUGH: f64 = 5e-3;

/// GFLOP/s of a large square product: the best of all sides tried.
pub fn of_products<O: Stopwatch>(ops: &mut Profiled<'_, O>, timing: Timing) -> Result<f64> {
    best(ops, SIDES, |ops, side| {
        let square = Matrix::new(side, side);
        let a = ops.alloc(Purpose::Scratch, "ceiling", side * side)?;
        let b = ops.alloc(Purpose::Scratch, "ceiling", side * side)?;
        let mut c = ops.alloc(Purpose::Scratch, "ceiling", side * side)?;
        let seconds = shortest_of_op(ops, timing, |ops| {
            let c = (&mut c, square);
            ops.matmul((&a, square), (&b, square), None, c, Write::Overwrite)
        })?;
        Ok((2.0 * (side as f64).powi(3), seconds))
    })
}

/// GB/s, read and written, of a large copy: the best of all lengths tried.
pub fn of_copies<O: Stopwatch>(ops: &mut Profiled<'_, O>, timing: Timing) -> Result<f64> {
    best(ops, COPIES, |ops, len| {
        let mut tensor = ops.alloc(Purpose::Scratch, "ceiling", 2 * len)?;
        let seconds = shortest_of_op(ops, timing, |ops| ops.copy_within(&mut tensor, 0, len, len))?;
        Ok(((2 * len * size_of::<O::Elem>()) as f64, seconds))
    })
}

/// The best rate, in units of 1e9 a second, of work and seconds at each size until one takes long
/// enough, or does not fit the device any more.
fn best<'a, O: Stopwatch, const N: usize>(
    ops: &mut Profiled<'a, O>,
    sizes: [usize; N],
    measure: impl Fn(&mut Profiled<'a, O>, usize) -> Result<(f64, f64)>,
) -> Result<f64> {
    let mut best = 0.0f64;
    for size in sizes {
        let (work, seconds) = match measure(ops, size) {
            Err(Error::TooLarge { .. } | Error::OutOfMemory { .. }) if best > 0.0 => break,
            measured => measured?,
        };
        best = best.max(work / seconds / 1e9);
        if seconds >= LONG_ENOUGH || ops.clock() == Clock::Wall {
            break;
        }
    }
    Ok(best)
}

/// The shortest time of one op, repeated for a while after a first call that is not counted: a
/// ceiling is what can be reached.
fn shortest_of_op<'a, O: Stopwatch>(
    ops: &mut Profiled<'a, O>,
    timing: Timing,
    mut op: impl FnMut(&mut Profiled<'a, O>) -> Result<()>,
) -> Result<f64> {
    ops.timing = false;
    op(ops)?;
    ops.finish()?;
    ops.timing = true;
    ops.costs.clear();
    let begun = Instant::now();
    let mut repetitions = 0;
    while repetitions < timing.repetitions || begun.elapsed() < timing.at_least {
        op(ops)?;
        ops.end_step()?;
        repetitions += 1;
    }
    ops.timing = false;
    let costs = std::mem::take(&mut ops.costs);
    let seconds = costs.into_values().flat_map(|cost| cost.seconds);
    Ok(seconds.fold(f64::INFINITY, f64::min))
}
