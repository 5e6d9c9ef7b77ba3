//! norm = ‖all gradients‖₂ and the factor that clips it.

use crate::device::Element;
use crate::device::cpu::CpuTensor;
use crate::error::Result;
use crate::ops::{NORM_CHUNK, check, norm_partials};

/// See [`crate::ops::Ops::global_norm`].
pub fn global_norm<F: Element>(
    gradients: &[&CpuTensor<F>],
    max_norm: Option<f32>,
    partials: &mut [F],
    norm: &mut [F],
) -> Result<()> {
    let needed = norm_partials(gradients.iter().map(|g| g.0.len()));
    check::at_least("global_norm", "partials", needed, partials.len())?;
    check::at_least("global_norm", "norm", 2, norm.len())?;
    let chunks = gradients.iter().flat_map(|g| g.0.chunks(NORM_CHUNK));
    for (partial, chunk) in partials.iter_mut().zip(chunks) {
        *partial = sum_of_squares(chunk);
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

/// Sums in sixteen lanes, which vectorises and keeps rounding errors small.
fn sum_of_squares<F: Element>(x: &[F]) -> F {
    let mut lanes = [F::zero(); 16];
    for x in x.chunks(16) {
        for (lane, &x) in lanes.iter_mut().zip(x) {
            *lane += x * x;
        }
    }
    lanes.into_iter().fold(F::zero(), |sum, lane| sum + lane)
}
