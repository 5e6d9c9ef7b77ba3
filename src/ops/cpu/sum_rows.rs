//! out[c] = Σ_r x[r, c].

use ndarray::ArrayView2;

use crate::device::Element;
use crate::error::{Error, Result};
use crate::ops::{Matrix, Write, check};

/// See [`crate::ops::Ops::sum_rows`].
pub fn sum_rows<F: Element>(x: &[F], layout: Matrix, out: &mut [F], write: Write) -> Result<()> {
    check::stored("sum_rows", "x", x.len(), layout)?;
    check::at_least("sum_rows", "out", layout.cols, out.len())?;
    let x = &x[layout.offset..][..layout.rows * layout.cols];
    let x = ArrayView2::from_shape((layout.rows, layout.cols), x).map_err(|_| Error::Shape {
        op: "sum_rows",
        operand: "x",
        expected: format!("{} rows of {}", layout.rows, layout.cols),
        found: x.len(),
    })?;
    let out = &mut out[..layout.cols];
    if write == Write::Overwrite {
        out.fill(F::zero());
    }
    for row in x.rows() {
        for (sum, &x) in out.iter_mut().zip(row) {
            *sum += x;
        }
    }
    Ok(())
}
