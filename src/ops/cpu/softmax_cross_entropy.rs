//! loss_r = log Σ exp a_r − a_r[y_r]; a_r ← (softmax(a_r) − onehot(y_r)) / (N·T).

use rayon::prelude::*;

use crate::device::Element;
use crate::device::loops::{maximum, sum, vectorised};
use crate::device::tokens::TokenIndex;
use crate::error::Result;
use crate::ops::{RowChunk, check};

/// Logits from which on a second thread pays.
const THREADS_FROM: usize = 1 << 15;

/// See [`crate::ops::Ops::softmax_cross_entropy`].
pub fn softmax_cross_entropy<F: Element>(
    logits: &mut [F],
    targets: &TokenIndex,
    losses: &mut [F],
    chunk: RowChunk,
    gradient: bool,
    threads: usize,
) -> Result<()> {
    let op = "softmax_cross_entropy";
    let RowChunk {
        first_row,
        rows,
        total_rows,
        vocab,
    } = chunk;
    check::at_least(op, "logits", rows * vocab, logits.len())?;
    check::exact(op, "vocabulary", vocab, targets.vocab())?;
    check::exact(op, "targets", total_rows, targets.tokens.len())?;
    check::at_least(op, "losses", first_row + rows, losses.len())?;
    let scale = gradient.then(|| F::one() / F::from_f64(total_rows as f64));
    let labels = &targets.tokens[first_row..first_row + rows];
    let losses = &mut losses[first_row..first_row + rows];
    let logits = &mut logits[..rows * vocab];
    let one_row = |((row, &label), loss): ((&mut [F], &u32), &mut F)| {
        *loss = vectorised(
            #[inline(always)]
            || row_loss(row, label as usize, scale),
        );
    };
    if threads > 1 && logits.len() >= THREADS_FROM {
        let per_row = logits.par_chunks_mut(vocab).zip(labels).zip(losses);
        per_row.for_each(one_row);
    } else {
        logits
            .chunks_mut(vocab)
            .zip(labels)
            .zip(losses)
            .for_each(one_row);
    }
    Ok(())
}

/// One row: its loss, and its gradient in place if there is a `scale`.
#[inline(always)]
fn row_loss<F: Element>(row: &mut [F], label: usize, scale: Option<F>) -> F {
    let max = maximum(row);
    let target = row[label] - max;
    let Some(scale) = scale else {
        return sum(row, |a| (a - max).exp_fast()).ln() - target;
    };
    for a in row.iter_mut() {
        *a = (*a - max).exp_fast();
    }
    let total = sum(row, |e| e);
    let factor = scale / total;
    for a in row.iter_mut() {
        *a *= factor;
    }
    row[label] -= scale;
    total.ln() - target
}
