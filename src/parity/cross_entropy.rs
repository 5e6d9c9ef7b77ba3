use super::bounds::{TINY, U, log_absolute};
use super::harness::{Harness, Result};
use super::subject::Subject;
use crate::model::ModelSize;
use crate::ops::Ops;

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    for (rows, vocab) in [(1, 2), (3, 2), (7, 65), (50, 418), (2, 10_007)] {
        check(harness, rows, vocab)?;
    }
    Ok(())
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    check(harness, size.rows(), size.vocab)
}

fn check<O: Subject>(harness: &mut Harness<O>, rows: usize, vocab: usize) -> Result<()> {
    let tokens = harness.tokens(rows, vocab);
    let mut values = harness.normal(rows * vocab, 0.3);
    values.iter_mut().for_each(|p| *p = p.abs().min(1.0));
    // The least that the op takes a probability for.
    values[tokens[0] as usize] = 0.0;
    let probs = harness.input(&values)?;
    let ids = harness.ids(&tokens, vocab)?;
    let mut losses = harness.output(rows)?;
    let mut dprobs = harness.output(rows * vocab)?;
    let (gpu, cpu) = (&mut harness.device, &mut harness.exact);
    gpu.cross_entropy(
        &probs.device,
        &ids.0,
        &mut losses.device,
        &mut dprobs.device,
        vocab,
    )?;
    cpu.cross_entropy(
        &probs.exact,
        &ids.1,
        &mut losses.exact,
        &mut dprobs.exact,
        vocab,
    )?;
    let case = format!("{rows} rows, V={vocab}");
    let want = losses.reference().to_vec();
    let loss_bound = |r: usize| log_absolute((-want[r]).exp()) + U * want[r].abs();
    harness.compare(&format!("{case}, loss"), &losses, loss_bound)?;
    // A product and a division (2.5 ULP).
    let want = dprobs.reference().to_vec();
    let tolerance = |i: usize| {
        if want[i] == 0.0 {
            0.0
        } else {
            6.0 * U * want[i].abs() + TINY
        }
    };
    harness.compare(&format!("{case}, gradient"), &dprobs, tolerance)
}
