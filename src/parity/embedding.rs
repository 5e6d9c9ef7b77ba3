use super::harness::{Harness, Result};
use super::subject::Subject;
use crate::model::ModelSize;
use crate::ops::{Matrix, Ops};

/// Rows, V, D.
pub const SIZES: &[(usize, usize, usize)] = &[
    (1, 1, 1),
    (1, 2, 3),
    (7, 5, 64),
    (50, 418, 100),
    (129, 3, 65),
    (700, 10_007, 13),
];

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    for (i, &(rows, vocab, dim)) in SIZES.iter().enumerate() {
        check(harness, (rows, vocab, dim), [0, 3, 4][i % 3])?;
    }
    harness.cut(|harness| {
        check(harness, (300, 500, 50), 3)?;
        check(harness, (300, 500, 52), 4)
    })
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    let sizes = (size.rows(), size.vocab, size.embedding);
    check(harness, sizes, size.hidden)
}

fn check<O: Subject>(
    harness: &mut Harness<O>,
    (rows, vocab, dim): (usize, usize, usize),
    offset: usize,
) -> Result<()> {
    let tokens = harness.tokens(rows, vocab);
    let ids = harness.ids(&tokens, vocab)?;
    let values = harness.normal(vocab * dim, 1.0);
    let table = harness.input(&values)?;
    // What is before the output's rows stays as it is.
    let before = harness.normal(offset, 1.0);
    let mut out = harness.output_after(&before, rows * dim)?;
    let layout = Matrix::new(rows, dim).at(offset);
    harness
        .device
        .embedding(&table.device, &ids.0, (&mut out.device, layout))?;
    harness
        .exact
        .embedding(&table.exact, &ids.1, (&mut out.exact, layout))?;
    // A copy is exact.
    harness.compare(&format!("{rows} rows, V={vocab} D={dim}"), &out, |_| 0.0)
}
