use super::bounds::gamma;
use super::embedding::SIZES;
use super::harness::{Harness, magnitudes};
use super::subject::Subject;
use crate::error::Result;
use crate::ops::Ops;

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    for &(rows, vocab, dim) in SIZES {
        let tokens = harness.tokens(rows, vocab);
        check(harness, &tokens, vocab, dim)?;
    }
    // One token everywhere, and the last one only.
    check(harness, &[4; 130], 9, 5)?;
    check(harness, &[8; 3], 9, 5)
}

fn check<O: Subject>(
    harness: &mut Harness<O>,
    tokens: &[u32],
    vocab: usize,
    dim: usize,
) -> Result<()> {
    let ids = harness.ids(tokens, vocab)?;
    let values = harness.normal(tokens.len() * dim, 3.0);
    let dout = harness.input(&values)?;
    let mut dtable = harness.output(vocab * dim)?;
    harness
        .device
        .embedding_backward(&dout.device, &ids.0, &mut dtable.device, dim)?;
    let mut bound = dtable.exact.clone();
    let cpu = &mut harness.exact;
    cpu.embedding_backward(&magnitudes(&dout.exact), &ids.1, &mut bound, dim)?;
    cpu.embedding_backward(&dout.exact, &ids.1, &mut dtable.exact, dim)?;
    let starts = &ids.1.row_starts;
    let repeats = |i: usize| (starts[i / dim + 1] - starts[i / dim]) as usize;
    let case = format!("{} rows, V={vocab} D={dim}", tokens.len());
    // A token that does not occur has a bound of 0: its gradient is exactly 0.
    harness.compare(&case, &dtable, |i| gamma(repeats(i)) * bound.0[i])
}
