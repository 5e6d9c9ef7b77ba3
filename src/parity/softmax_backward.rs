use super::bounds::{TINY, gamma, tree};
use super::harness::{Harness, ROW_LANES, Result};
use super::softmax_cross_entropy::SIZES;
use super::subject::Subject;
use crate::model::ModelSize;
use crate::ops::Ops;

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    for &(rows, vocab, _) in SIZES {
        check(harness, rows, vocab)?;
    }
    Ok(())
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    check(harness, size.rows(), size.vocab)
}

fn check<O: Subject>(harness: &mut Harness<O>, rows: usize, vocab: usize) -> Result<()> {
    // Any numbers will do for probabilities here: the op is bilinear in them.
    let probabilities = harness.normal(rows * vocab, 1.0 / vocab as f64);
    let upstream = harness.normal(rows * vocab, 3.0);
    let (p, dp) = (harness.input(&probabilities)?, harness.input(&upstream)?);
    let mut da = harness.output(rows * vocab)?;
    harness
        .device
        .softmax_backward(&p.device, &dp.device, &mut da.device, vocab)?;
    harness
        .exact
        .softmax_backward(&p.exact, &dp.exact, &mut da.exact, vocab)?;
    let (p, dp) = (p.reference().to_vec(), dp.reference().to_vec());
    let pairs: Vec<f64> = p.iter().zip(&dp).map(|(p, dp)| (p * dp).abs()).collect();
    let sums: Vec<f64> = pairs.chunks(vocab).map(|row| row.iter().sum()).collect();
    // The row's sum of products, the difference and the product.
    let roundings = gamma(tree(vocab, harness.lanes(ROW_LANES)) + 3);
    let tolerance = |i: usize| roundings * p[i].abs() * (dp[i].abs() + sums[i / vocab]) + TINY;
    harness.compare(&format!("{rows} rows, V={vocab}"), &da, tolerance)
}
