use super::bounds::gamma;
use super::embedding::SIZES;
use super::harness::{Harness, Result, magnitudes};
use super::subject::Subject;
use crate::device::tokens::SEGMENT;
use crate::model::ModelSize;
use crate::ops::{Ops, embedding_partials};

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    for &size in SIZES {
        of_size(harness, size)?;
    }
    // One token in every row, as many rows as take more segments than a segment has rows; the last
    // token only.
    for rows in [31, 32, 33, 130, 2 * SEGMENT * SEGMENT + 7] {
        check(harness, &vec![4; rows], 9, 5)?;
    }
    check(harness, &[8; 3], 9, 5)?;
    // One word in ten, as in English text; all different.
    let one_in_ten = |i: u32| {
        if i.is_multiple_of(10) {
            0
        } else {
            1 + i * 7 % 400
        }
    };
    check(
        harness,
        &(0..700).map(one_in_ten).collect::<Vec<_>>(),
        401,
        20,
    )?;
    check(harness, &(0..300).rev().collect::<Vec<_>>(), 300, 3)?;
    harness.cut(|harness| {
        of_size(harness, (100, 500, 40))?;
        // The rows of a window can be bound, but not as many segments as there may be: columns are cut.
        check(harness, &(0..62).collect::<Vec<_>>(), 62, 66)
    })
}

fn of_size<O: Subject>(
    harness: &mut Harness<O>,
    (rows, vocab, dim): (usize, usize, usize),
) -> Result<()> {
    let tokens = harness.tokens(rows, vocab);
    check(harness, &tokens, vocab, dim)
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    of_size(harness, (size.rows(), size.vocab, size.embedding))
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
    let mut partials = harness.output(embedding_partials(tokens.len(), vocab, dim))?;
    harness.device.embedding_backward(
        &dout.device,
        &ids.0,
        &mut dtable.device,
        &mut partials.device,
        dim,
    )?;
    let mut bound = dtable.exact.clone();
    let (cpu, scratch) = (&mut harness.exact, &mut partials.exact);
    cpu.embedding_backward(&magnitudes(&dout.exact), &ids.1, &mut bound, scratch, dim)?;
    cpu.embedding_backward(&dout.exact, &ids.1, &mut dtable.exact, scratch, dim)?;
    let in_segments = harness.lanes(SEGMENT) == SEGMENT;
    let roundings = |i: usize| match ids.1.positions_of(i / dim).len() {
        repeats if in_segments => repeats.min(SEGMENT) + repeats.div_ceil(SEGMENT),
        repeats => repeats,
    };
    let case = format!("{} rows, V={vocab} D={dim}", tokens.len());
    harness.compare_guard(&case, &partials)?;
    // A token that does not occur has a bound of 0: its gradient is exactly 0.
    harness.compare(&case, &dtable, |i| gamma(roundings(i)) * bound.0[i])
}
