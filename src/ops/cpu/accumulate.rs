//! A mean of gradients: sum ← scale·g, or sum ← sum + scale·g.

use crate::device::Element;
use crate::device::cpu::CpuTensor;
use crate::device::loops::{CHUNK, for_each_chunk, vectorised};
use crate::error::Result;
use crate::ops::{Write, check};

/// See [`crate::ops::Ops::accumulate`].
pub fn accumulate<F: Element>(
    sums: &mut [&mut CpuTensor<F>],
    gradients: &[&CpuTensor<F>],
    scale: f64,
    write: Write,
    threads: usize,
) -> Result<()> {
    let lengths = gradients.iter().map(|g| g.0.len());
    check::like_gradients(
        "accumulate",
        "sums",
        lengths,
        sums.iter().map(|s| s.0.len()),
    )?;
    let scale = F::from_f64(scale);
    for (sum, gradient) in sums.iter_mut().zip(gradients) {
        let gradient = gradient.0.as_slice();
        let len = gradient.len();
        for_each_chunk(&mut sum.0[..len], CHUNK, len, threads, |first, sum| {
            if write == Write::Overwrite {
                sum.fill(F::zero());
            }
            vectorised(
                #[inline(always)]
                || {
                    for (s, &g) in sum.iter_mut().zip(&gradient[first..]) {
                        *s += scale * g;
                    }
                },
            );
        });
    }
    Ok(())
}
