//! da = p ⊙ (dp − Σ p·dp), row by row.

use crate::device::Element;
use crate::error::Result;
use crate::ops::check;

/// See [`crate::ops::Ops::softmax_backward`].
pub fn softmax_backward<F: Element>(
    probs: &[F],
    dprobs: &[F],
    dlogits: &mut [F],
    vocab: usize,
) -> Result<()> {
    let op = "softmax_backward";
    check::rows(op, "probs", probs.len(), vocab)?;
    check::exact(op, "dprobs", probs.len(), dprobs.len())?;
    check::at_least(op, "dlogits", probs.len(), dlogits.len())?;
    let rows = probs.chunks_exact(vocab).zip(dprobs.chunks_exact(vocab));
    for ((p, dp), da) in rows.zip(dlogits.chunks_exact_mut(vocab)) {
        let dot = p
            .iter()
            .zip(dp)
            .fold(F::zero(), |sum, (&p, &dp)| sum + p * dp);
        for ((da, &p), &dp) in da.iter_mut().zip(p).zip(dp) {
            *da = p * (dp - dot);
        }
    }
    Ok(())
}
