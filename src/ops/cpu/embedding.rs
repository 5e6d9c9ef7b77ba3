//! out[r, :] = table[ids[r], :].

use crate::device::Element;
use crate::device::tokens::TokenIndex;
use crate::error::Result;
use crate::ops::check;

/// See [`crate::ops::Ops::embedding`].
pub fn embedding<F: Element>(
    table: &[F],
    ids: &TokenIndex,
    out: &mut [F],
    dim: usize,
) -> Result<()> {
    check::exact("embedding", "table", ids.vocab() * dim, table.len())?;
    check::at_least("embedding", "out", ids.tokens.len() * dim, out.len())?;
    for (row, &id) in out.chunks_exact_mut(dim.max(1)).zip(&ids.tokens) {
        row.copy_from_slice(&table[id as usize * dim..][..dim]);
    }
    Ok(())
}
