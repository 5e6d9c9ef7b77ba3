use super::bounds::{TINY, U};
use super::harness::{Harness, Result, devices, devices_mut, exacts, exacts_mut};
use super::sgd::{LENGTHS, lengths};
use super::subject::Subject;
use crate::model::ModelSize;
use crate::ops::{Ops, Write};

/// Exact in f32.
const SCALE: f64 = 0.375;

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    for lengths in LENGTHS {
        check(harness, lengths, Write::Accumulate)?;
        check(harness, lengths, Write::Overwrite)?;
    }
    Ok(())
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    let lengths = lengths(size);
    check(harness, &lengths, Write::Accumulate)?;
    check(harness, &lengths, Write::Overwrite)
}

fn check<O: Subject>(harness: &mut Harness<O>, lengths: &[usize], write: Write) -> Result<()> {
    let (mut s, g) = (harness.normals(lengths, 1.0), harness.normals(lengths, 1.0));
    if write == Write::Overwrite {
        s.iter_mut().for_each(|s| s.fill(f32::NAN));
    }
    let mut sums = harness.in_outs(&s)?;
    let gradients = harness.inputs(&g)?;
    let list = &mut devices_mut(&mut sums);
    harness
        .device
        .accumulate(list, &devices(&gradients), SCALE, write)?;
    let list = &mut exacts_mut(&mut sums);
    harness
        .exact
        .accumulate(list, &exacts(&gradients), SCALE, write)?;
    for (at, (sum, g)) in sums.iter().zip(g).enumerate() {
        // A product and a sum.
        let want = sum.reference().to_vec();
        let scaled = |i: usize| SCALE * f64::from(g[i]).abs();
        let tolerance = |i: usize| 1.01 * U * (want[i].abs() + scaled(i)) + TINY;
        harness.compare(&format!("{lengths:?}, {write:?}, {at}"), sum, tolerance)?;
    }
    Ok(())
}
