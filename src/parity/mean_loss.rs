use super::bounds::{U, gamma, tree};
use super::harness::{Harness, ROW_LANES, Result};
use super::subject::Subject;
use crate::model::ModelSize;
use crate::ops::Ops;

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    for rows in [1, 2, 255, 256, 257, 700, 16_384] {
        check(harness, rows)?;
    }
    Ok(())
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    check(harness, size.rows())
}

fn check<O: Subject>(harness: &mut Harness<O>, rows: usize) -> Result<()> {
    let mut values = harness.normal(rows, 2.0);
    values.iter_mut().for_each(|l| *l = l.abs());
    let losses = harness.input(&values)?;
    let mut loss = harness.in_out(&[f32::NAN, 10.0])?;
    harness.device.mean_loss(&losses.device, &mut loss.device)?;
    harness.exact.mean_loss(&losses.exact, &mut loss.exact)?;
    let (mean, sum) = (loss.reference()[0], loss.reference()[1]);
    // The sum, its division (2.5 ULP), and one more sum.
    let relative = gamma(tree(rows, harness.lanes(ROW_LANES))) + 5.0 * U;
    let bounds = [mean * relative, mean * relative + sum * U];
    harness.compare(&format!("{rows} rows"), &loss, |i| 1.01 * bounds[i])
}
