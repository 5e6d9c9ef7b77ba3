//! dz_t = (dh_t + dz_{t+1}·Whᵀ) ⊙ (1 − h_t²), in reverse.

use super::matmul::Operands;
use super::rnn::for_each_block;
use crate::device::Element;
use crate::device::loops::{for_each_chunk, vectorised};
use crate::error::Result;
use crate::ops::{Recurrence, check};

/// See [`crate::ops::Ops::rnn_backward`]. `wh_transposed` is scratch space.
pub fn rnn_backward<F: Element>(
    grad: &mut [F],
    hidden: &[F],
    wh: &[F],
    size: Recurrence,
    wh_transposed: &mut Vec<F>,
    threads: usize,
) -> Result<()> {
    let Recurrence {
        time_steps,
        batch: n,
        hidden: h,
    } = size;
    let op = "rnn_backward";
    check::at_least(op, "grad", time_steps * n * h, grad.len())?;
    check::at_least(op, "hidden", (time_steps + 1) * n * h, hidden.len())?;
    check::exact(op, "wh", h * h, wh.len())?;
    // Transposed once: a few rows times a transposed matrix run at a third of the speed.
    transpose(wh, h, wh_transposed, threads);
    let wh_transposed = wh_transposed.as_slice();
    let steps = &mut grad[..time_steps * n * h];
    for_each_block(steps, size, threads, |first_row, block| {
        for t in (0..block.len()).rev() {
            let (up_to_t, after) = block.split_at_mut(t + 1);
            let dz_t = &mut *up_to_t[t];
            if let Some(dz_next) = after.first() {
                let rows = dz_t.len() / h;
                let operands = Operands {
                    shape: (rows, h, h),
                    a: (&**dz_next, (h, 1)),
                    b: (wh_transposed, (h, 1)),
                };
                operands.product(dz_t, true);
            }
            let h_t = &hidden[((t + 1) * n + first_row) * h..];
            vectorised(
                #[inline(always)]
                || {
                    for (dz, &y) in dz_t.iter_mut().zip(h_t) {
                        *dz *= F::one() - y * y;
                    }
                },
            );
        }
    });
    Ok(())
}

fn transpose<F: Element>(matrix: &[F], size: usize, out: &mut Vec<F>, threads: usize) {
    out.clear();
    out.resize(size * size, F::zero());
    // Tiles that stay in the cache while they are read along one side and written along the other.
    const TILE: usize = 16;
    let work = 2 * out.len();
    for_each_chunk(out, TILE * size.max(1), work, threads, |at, out| {
        let column = at / size;
        for row in (0..size).step_by(TILE) {
            for r in row..(row + TILE).min(size) {
                let read = &matrix[r * size + column..][..out.len() / size];
                for (c, &element) in read.iter().enumerate() {
                    out[c * size + r] = element;
                }
            }
        }
    });
}
