//! v ← μ·v + clip·g + λ·w, w ← w − rate·v.

use crate::device::Element;
use crate::device::cpu::CpuTensor;
use crate::device::loops::{CHUNK, for_each_chunks, vectorised};
use crate::error::Result;
use crate::ops::{Momentum, check};

/// See [`crate::ops::Ops::momentum`].
pub fn momentum<F: Element>(
    weights: &mut [&mut CpuTensor<F>],
    velocities: &mut [&mut CpuTensor<F>],
    gradients: &[&CpuTensor<F>],
    (rate, norm): (&[F], &[F]),
    settings: Momentum,
    threads: usize,
) -> Result<()> {
    let op = "momentum";
    let lengths = || gradients.iter().map(|g| g.0.len());
    let of_weights = weights.iter().map(|w| w.0.len());
    let of_velocities = velocities.iter().map(|v| v.0.len());
    check::like_gradients(op, "weights", lengths(), of_weights)?;
    check::like_gradients(op, "velocities", lengths(), of_velocities)?;
    check::at_least(op, "rate", 1, rate.len())?;
    check::at_least(op, "norm", 2, norm.len())?;
    let (rate, clip) = (rate[0], norm[1]);
    let momentum = F::from_f64(settings.momentum);
    let decay = F::from_f64(settings.weight_decay);
    let nesterov = settings.nesterov;
    let parameters = weights.iter_mut().zip(velocities).zip(gradients);
    for ((weights, velocity), gradient) in parameters {
        let gradient = gradient.0.as_slice();
        let len = gradient.len();
        let written = [&mut weights.0[..len], &mut velocity.0[..len]];
        for_each_chunks(
            written,
            CHUNK,
            len,
            threads,
            |first, [weights, velocity]| {
                vectorised(
                    #[inline(always)]
                    || {
                        let elements = weights.iter_mut().zip(velocity).zip(&gradient[first..]);
                        for ((w, v), &g) in elements {
                            let g = clip * g + decay * *w;
                            *v = momentum * *v + g;
                            let direction = if nesterov { g + momentum * *v } else { *v };
                            *w -= rate * direction;
                        }
                    },
                );
            },
        );
    }
    Ok(())
}
