//! h_t = tanh(z_t + h_{t−1}·Wh), step by step.

use rayon::prelude::*;

use super::matmul::Operands;
use super::tanh::tanh_in_place;
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
    let slots = &mut hidden[..(time_steps + 1) * n * h];
    for_each_block(slots, size, threads, |_, block| {
        for t in 1..block.len() {
            let (before, from_t) = block.split_at_mut(t);
            let (previous, h_t) = (&*before[t - 1], &mut *from_t[0]);
            let rows = h_t.len() / h;
            let operands = Operands {
                shape: (rows, h, h),
                a: (previous, (h, 1)),
                b: (wh, (h, 1)),
            };
            operands.product(h_t, true);
            tanh_in_place(h_t);
        }
    });
    Ok(())
}

/// Most rows of a block.
const BLOCK_ROWS: usize = 16;
/// Multiply-adds of the whole sequence from which on a second thread pays.
const THREADS_FROM: usize = 2 << 20;

/// Streams do not depend on each other, so a block of them goes through all time steps on its own:
/// one parallel loop a sequence, not one a step. `run` is given the block's first row and, for each
/// time step of `tensor`, `[steps, N, H]`, the block's rows.
///
/// Blocks depend on the size alone, so results do not depend on the number of threads.
pub(super) fn for_each_block<F: Element>(
    tensor: &mut [F],
    size: Recurrence,
    threads: usize,
    run: impl Fn(usize, &mut [&mut [F]]) + Sync,
) {
    let Recurrence {
        time_steps,
        batch: n,
        hidden: h,
    } = size;
    if n * h == 0 {
        return;
    }
    let is_large = time_steps * n * h * h >= THREADS_FROM;
    let blocks = n.div_ceil(BLOCK_ROWS).max(if is_large { 2 } else { 1 });
    let rows = n.div_ceil(blocks);
    let mut blocks: Vec<Vec<&mut [F]>> = Vec::new();
    blocks.resize_with(n.div_ceil(rows), || Vec::with_capacity(time_steps + 1));
    for step in tensor.chunks_mut(n * h) {
        for (block, part) in blocks.iter_mut().zip(step.chunks_mut(rows * h)) {
            block.push(part);
        }
    }
    let run = |(i, block): (usize, &mut Vec<&mut [F]>)| run(i * rows, block);
    if threads > 1 && is_large {
        blocks.par_iter_mut().enumerate().for_each(run);
    } else {
        blocks.iter_mut().enumerate().for_each(run);
    }
}
