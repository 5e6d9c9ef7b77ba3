//! p_r = softmax(a_r / temperature).

use crate::device::Element;
use crate::device::loops::{for_each_chunk, maximum, sum, vectorised};
use crate::error::Result;
use crate::ops::check;

/// See [`crate::ops::Ops::softmax`].
pub fn softmax<F: Element>(
    logits: &[F],
    probs: &mut [F],
    vocab: usize,
    temperature: f32,
    threads: usize,
) -> Result<()> {
    let len = logits.len();
    check::rows("softmax", "logits", len, vocab)?;
    check::at_least("softmax", "probs", len, probs.len())?;
    let inverse = F::one() / F::from_f64(f64::from(temperature));
    for_each_chunk(&mut probs[..len], vocab, len, threads, |first, p| {
        let a = &logits[first..][..vocab];
        vectorised(
            #[inline(always)]
            || {
                let max = maximum(a);
                for (p, &a) in p.iter_mut().zip(a) {
                    *p = ((a - max) * inverse).exp_fast();
                }
                let total = sum(p, |e| e);
                for p in p.iter_mut() {
                    *p /= total;
                }
            },
        );
    });
    Ok(())
}
