//! dtable[v, :] = Σ dout[r, :] over the rows r that hold token v.

use crate::device::Element;
use crate::device::tokens::TokenIndex;
use crate::error::Result;
use crate::ops::check;

/// See [`crate::ops::Ops::embedding_backward`].
pub fn embedding_backward<F: Element>(
    dout: &[F],
    ids: &TokenIndex,
    dtable: &mut [F],
    dim: usize,
) -> Result<()> {
    let op = "embedding_backward";
    check::exact(op, "dout", ids.tokens.len() * dim, dout.len())?;
    check::at_least(op, "dtable", ids.vocab() * dim, dtable.len())?;
    check::exact(op, "index by token", ids.tokens.len(), ids.positions.len())?;
    dtable[..ids.vocab() * dim].fill(F::zero());
    for (r, &id) in ids.tokens.iter().enumerate() {
        let row = &mut dtable[id as usize * dim..][..dim];
        for (sum, &d) in row.iter_mut().zip(&dout[r * dim..][..dim]) {
            *sum += d;
        }
    }
    Ok(())
}
