//! dtable[v, :] = Σ dout[r, :] over the rows r that hold token v.

use crate::device::Element;
use crate::device::loops::{CHUNK, for_each_chunk};
use crate::device::tokens::TokenIndex;
use crate::error::Result;
use crate::ops::check;

/// See [`crate::ops::Ops::embedding_backward`]. A token's rows are summed one after the other: the
/// partial sums are not needed, only checked.
pub fn embedding_backward<F: Element>(
    dout: &[F],
    ids: &TokenIndex,
    dtable: &mut [F],
    partials: usize,
    dim: usize,
    threads: usize,
) -> Result<()> {
    let op = "embedding_backward";
    let len = ids.vocab() * dim;
    let sizes = (ids.tokens.len(), ids.vocab());
    check::embedding_backward(sizes, dout.len(), dtable.len(), partials, dim)?;
    check::exact(op, "index by token", ids.tokens.len(), ids.positions.len())?;
    if len == 0 {
        return Ok(());
    }
    let rows = CHUNK.div_ceil(dim);
    for_each_chunk(
        &mut dtable[..len],
        rows * dim,
        len,
        threads,
        |first, chunk| {
            chunk.fill(F::zero());
            for (v, row) in (first / dim..).zip(chunk.chunks_exact_mut(dim)) {
                for &r in ids.positions_of(v) {
                    for (sum, &d) in row.iter_mut().zip(&dout[r as usize * dim..]) {
                        *sum += d;
                    }
                }
            }
        },
    );
    Ok(())
}
