//! out[r, :] = table[ids[r], :].

use crate::device::Element;
use crate::device::tokens::TokenIndex;
use crate::error::Result;
use crate::ops::{Matrix, check};

/// See [`crate::ops::Ops::embedding`].
pub fn embedding<F: Element>(
    table: &[F],
    ids: &TokenIndex,
    out: &mut [F],
    layout: Matrix,
) -> Result<()> {
    let dim = check::embedding(
        table.len(),
        (ids.tokens.len(), ids.vocab()),
        (out.len(), layout),
    )?;
    let rows = out[layout.offset..].chunks_exact_mut(dim.max(1));
    for (row, &id) in rows.zip(&ids.tokens) {
        row.copy_from_slice(&table[id as usize * dim..][..dim]);
    }
    Ok(())
}
