//! norm = ‖all gradients‖₂ and the factor that clips it.

use crate::device::Element;
use crate::device::cpu::CpuTensor;
use crate::device::loops::{for_each_chunk, sum, vectorised};
use crate::error::Result;
use crate::ops::{NORM_CHUNK, check, norm_partials};

/// See [`crate::ops::Ops::global_norm`].
pub fn global_norm<F: Element>(
    gradients: &[&CpuTensor<F>],
    max_norm: Option<f32>,
    partials: &mut [F],
    norm: &mut [F],
    threads: usize,
) -> Result<()> {
    let needed = norm_partials(gradients.iter().map(|g| g.0.len()));
    check::at_least("global_norm", "partials", needed, partials.len())?;
    check::at_least("global_norm", "norm", 2, norm.len())?;
    let mut rest = &mut partials[..needed];
    for gradient in gradients {
        let x = gradient.0.as_slice();
        let (partials, others) = rest.split_at_mut(norm_partials([x.len()]));
        rest = others;
        for_each_chunk(partials, 4, x.len(), threads, |first, partials| {
            let chunks = x.chunks(NORM_CHUNK).skip(first);
            for (partial, chunk) in partials.iter_mut().zip(chunks) {
                *partial = sum_of_squares(chunk);
            }
        });
    }
    let total: f64 = partials[..needed].iter().map(|p| p.value()).sum();
    let length = total.sqrt();
    norm[0] = F::from_f64(length);
    norm[1] = F::from_f64(match max_norm.map(f64::from) {
        Some(max) if length > max => max / length,
        _ => 1.0,
    });
    Ok(())
}

fn sum_of_squares<F: Element>(x: &[F]) -> F {
    vectorised(
        #[inline(always)]
        || sum(x, |x| x * x),
    )
}
