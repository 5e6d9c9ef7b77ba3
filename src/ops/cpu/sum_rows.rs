//! out[c] = Σ_r x[r, c].

use crate::device::Element;
use crate::device::loops::{for_each_chunk, vectorised};
use crate::error::Result;
use crate::ops::{Matrix, Write, check};

/// Columns that are summed together: their sums stay in the cache.
const COLUMNS: usize = 512;

/// See [`crate::ops::Ops::sum_rows`]. Each column is summed in ascending order of the rows.
pub fn sum_rows<F: Element>(
    x: &[F],
    layout: Matrix,
    out: &mut [F],
    write: Write,
    threads: usize,
) -> Result<()> {
    check::stored("sum_rows", "x", x.len(), layout)?;
    check::at_least("sum_rows", "out", layout.cols, out.len())?;
    let cols = layout.cols;
    let x = &x[layout.offset..][..layout.rows * cols];
    let out = &mut out[..cols];
    if write == Write::Overwrite {
        out.fill(F::zero());
    }
    for_each_chunk(out, COLUMNS, x.len(), threads, |first, sums| {
        vectorised(
            #[inline(always)]
            || {
                for row in x.chunks_exact(cols) {
                    for (sum, &x) in sums.iter_mut().zip(&row[first..]) {
                        *sum += x;
                    }
                }
            },
        );
    });
    Ok(())
}
