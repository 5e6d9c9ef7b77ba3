//! dz_t = (dh_t + dz_{t+1}·Whᵀ) ⊙ (1 − h_t²), in reverse.

use super::matmul::product;
use crate::device::Element;
use crate::error::Result;
use crate::ops::{Recurrence, check};

/// See [`crate::ops::Ops::rnn_backward`].
pub fn rnn_backward<F: Element>(
    grad: &mut [F],
    hidden: &[F],
    wh: &[F],
    size: Recurrence,
    threads: usize,
) -> Result<()> {
    let Recurrence {
        time_steps,
        batch: n,
        hidden: h,
    } = size;
    check::at_least("rnn_backward", "grad", time_steps * n * h, grad.len())?;
    check::at_least(
        "rnn_backward",
        "hidden",
        (time_steps + 1) * n * h,
        hidden.len(),
    )?;
    check::exact("rnn_backward", "wh", h * h, wh.len())?;
    for t in (0..time_steps).rev() {
        let (up_to_t, after) = grad.split_at_mut((t + 1) * n * h);
        let dz_t = &mut up_to_t[t * n * h..];
        if t + 1 < time_steps {
            let dz_next = &after[..n * h];
            // Wh read transposed: rows and columns change strides.
            product(
                (n, h, h),
                (dz_next, (h, 1)),
                (wh, (1, h)),
                dz_t,
                true,
                threads,
            );
        }
        let h_t = &hidden[(t + 1) * n * h..(t + 2) * n * h];
        for (dz, &y) in dz_t.iter_mut().zip(h_t) {
            *dz *= F::one() - y * y;
        }
    }
    Ok(())
}
