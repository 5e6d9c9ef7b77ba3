use super::bounds::gamma;
use super::harness::{Harness, Result, magnitudes};
use super::subject::Subject;
use crate::model::ModelSize;
use crate::ops::{Matrix, Ops, Write};

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    let sizes = [
        (1, 1),
        (2, 31),
        (7, 32),
        (8, 33),
        (9, 420),
        (701, 3),
        (2048, 65),
        (9, 418),
        (40, 36),
        // More rows than a lane takes in a dispatch.
        (32_769, 1),
    ];
    for (i, (rows, cols)) in sizes.into_iter().enumerate() {
        check(harness, i, rows, cols)?;
    }
    harness.cut(|harness| {
        check(harness, 2, 300, 41)?;
        check(harness, 3, 300, 40)
    })
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    check(harness, size.embedding, size.rows(), size.hidden)
}

/// The matrix is `i` elements into its tensor; its sums are added where `i` is odd.
fn check<O: Subject>(harness: &mut Harness<O>, i: usize, rows: usize, cols: usize) -> Result<()> {
    let layout = Matrix::new(rows, cols).at(i);
    let write = if i.is_multiple_of(2) {
        Write::Overwrite
    } else {
        Write::Accumulate
    };
    let mut values = harness.normal(i + rows * cols, 3.0);
    // Behind the last row: a sum of one row more is NaN.
    values.extend(vec![f32::NAN; cols]);
    let before = harness.normal(cols, 3.0);
    let x = harness.input(&values)?;
    let mut out = match write {
        Write::Overwrite => harness.output(cols)?,
        Write::Accumulate => harness.in_out(&before)?,
    };
    let mut bound = magnitudes(&out.exact);
    harness
        .device
        .sum_rows((&x.device, layout), &mut out.device, write)?;
    harness
        .exact
        .sum_rows((&x.exact, layout), &mut out.exact, write)?;
    harness
        .exact
        .sum_rows((&magnitudes(&x.exact), layout), &mut bound, write)?;
    let roundings = harness.column_chain(rows) + 1;
    let case = format!("{rows}x{cols} {write:?}");
    harness.compare(&case, &out, |c| gamma(roundings) * bound.0[c])
}
