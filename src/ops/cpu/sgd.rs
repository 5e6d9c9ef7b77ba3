//! w ← w − rate·clip·g.

use crate::device::Element;
use crate::device::cpu::CpuTensor;
use crate::device::loops::{CHUNK, for_each_chunk, vectorised};
use crate::error::Result;
use crate::ops::check;

/// See [`crate::ops::Ops::sgd`].
pub fn sgd<F: Element>(
    weights: &mut [&mut CpuTensor<F>],
    gradients: &[&CpuTensor<F>],
    rate: &[F],
    norm: &[F],
    threads: usize,
) -> Result<()> {
    let lengths = gradients.iter().map(|g| g.0.len());
    check::like_gradients("sgd", "weights", lengths, weights.iter().map(|w| w.0.len()))?;
    check::at_least("sgd", "rate", 1, rate.len())?;
    check::at_least("sgd", "norm", 2, norm.len())?;
    let step = rate[0] * norm[1];
    for (weights, gradient) in weights.iter_mut().zip(gradients) {
        let gradient = gradient.0.as_slice();
        let len = gradient.len();
        let weights = &mut weights.0[..len];
        for_each_chunk(weights, CHUNK, len, threads, |first, weights| {
            vectorised(
                #[inline(always)]
                || {
                    for (w, &g) in weights.iter_mut().zip(&gradient[first..]) {
                        *w -= step * g;
                    }
                },
            );
        });
    }
    Ok(())
}
