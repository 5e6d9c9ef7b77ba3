use super::bounds::{TINY, U};
use super::harness::{Harness, ROW_LANES, Result};
use super::softmax_cross_entropy::{RowBound, SIZES};
use super::subject::Subject;
use crate::model::ModelSize;
use crate::ops::Ops;

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    for &(rows, vocab, scale) in SIZES {
        for temperature in [1.0, 0.7, 2.5] {
            check(harness, rows, vocab, scale, temperature)?;
        }
    }
    Ok(())
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    check(harness, size.rows(), size.vocab, 3.0, 0.7)
}

fn check<O: Subject>(
    harness: &mut Harness<O>,
    rows: usize,
    vocab: usize,
    scale: f32,
    temperature: f32,
) -> Result<()> {
    let values = harness.normal(rows * vocab, f64::from(scale));
    let logits = harness.input(&values)?;
    let mut probs = harness.output(rows * vocab)?;
    harness
        .device
        .softmax(&logits.device, &mut probs.device, vocab, temperature)?;
    harness
        .exact
        .softmax(&logits.exact, &mut probs.exact, vocab, temperature)?;
    let (lanes, chain) = (harness.lanes(ROW_LANES), harness.row_chain(vocab));
    let inverse = 1.0 / f64::from(temperature);
    let scaled: Vec<f64> = logits.reference().iter().map(|a| a * inverse).collect();
    let bounds: Vec<RowBound> = scaled
        .chunks(vocab)
        .map(|row| RowBound::new(row, lanes, chain))
        .collect();
    let tolerance = |i: usize| {
        let row = &bounds[i / vocab];
        let p = row.probability(i % vocab);
        // Multiplying by the rounded inverse moves the argument of exp by two roundings
        // more, which is a third of what the bound of exp counts.
        p * (1.5 * row.probability_relative(i % vocab) + 6.0 * U) + TINY
    };
    let case = format!("{rows} rows, V={vocab}, temperature {temperature}");
    harness.compare(&case, &probs, tolerance)
}
