//! h_t = tanh(z_t + h_{t−1}·Wh), step by step.

use super::matmul::product;
use crate::device::Element;
use crate::error::Result;
use crate::ops::{Recurrence, check};

/// See [`crate::ops::Ops::rnn`].
pub fn rnn<F: Element>(hidden: &mut [F], wh: &[F], size: Recurrence, threads: usize) -> Result<()> {
    let Recurrence {
        time_steps,
        batch: n,
        hidden: h,
    } = size;
    check::at_least("rnn", "hidden", (time_steps + 1) * n * h, hidden.len())?;
    check::exact("rnn", "wh", h * h, wh.len())?;
    for t in 1..=time_steps {
        let (before, from_t) = hidden.split_at_mut(t * n * h);
        let previous = &before[(t - 1) * n * h..];
        let h_t = &mut from_t[..n * h];
        product(
            (n, h, h),
            (previous, (h, 1)),
            (wh, (h, 1)),
            h_t,
            true,
            threads,
        );
        for z in h_t {
            *z = z.tanh_fast();
        }
    }
    Ok(())
}
