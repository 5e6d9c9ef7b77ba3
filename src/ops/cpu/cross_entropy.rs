//! loss_r = −ln p_r[y_r], dp_r[v] = −[v = y_r] / (R·p_r[y_r]).

use crate::device::Element;
use crate::device::tokens::TokenIndex;
use crate::error::Result;
use crate::ops::check;

/// See [`crate::ops::Ops::cross_entropy`].
pub fn cross_entropy<F: Element>(
    probs: &[F],
    targets: &TokenIndex,
    losses: &mut [F],
    dprobs: &mut [F],
    vocab: usize,
) -> Result<()> {
    let op = "cross_entropy";
    let rows = check::rows(op, "probs", probs.len(), vocab)?;
    check::exact(op, "vocabulary", vocab, targets.vocab())?;
    check::exact(op, "targets", rows, targets.tokens.len())?;
    check::at_least(op, "losses", rows, losses.len())?;
    check::at_least(op, "dprobs", probs.len(), dprobs.len())?;
    let smallest = F::from_f64(f64::from(f32::MIN_POSITIVE));
    let count = F::from_f64(rows as f64);
    dprobs[..probs.len()].fill(F::zero());
    for (r, &label) in targets.tokens.iter().enumerate() {
        let at = r * vocab + label as usize;
        let p = probs[at].max(smallest);
        losses[r] = -p.ln();
        dprobs[at] = -F::one() / (count * p);
    }
    Ok(())
}
