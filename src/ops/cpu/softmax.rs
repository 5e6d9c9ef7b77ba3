//! p_r = softmax(a_r / temperature).

use crate::device::Element;
use crate::error::Result;
use crate::ops::check;

/// See [`crate::ops::Ops::softmax`].
pub fn softmax<F: Element>(
    logits: &[F],
    probs: &mut [F],
    vocab: usize,
    temperature: f32,
) -> Result<()> {
    check::rows("softmax", "logits", logits.len(), vocab)?;
    check::at_least("softmax", "probs", logits.len(), probs.len())?;
    let inverse = F::one() / F::from_f64(f64::from(temperature));
    for (a, p) in logits
        .chunks_exact(vocab)
        .zip(probs.chunks_exact_mut(vocab))
    {
        let max = a.iter().fold(F::neg_infinity(), |max, &a| max.max(a));
        let mut total = F::zero();
        for (p, &a) in p.iter_mut().zip(a) {
            *p = ((a - max) * inverse).exp_fast();
            total += *p;
        }
        for p in p {
            *p /= total;
        }
    }
    Ok(())
}
