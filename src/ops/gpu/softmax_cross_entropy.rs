//! Host side of `softmax_cross_entropy.wgsl`: loss and gradient in one visit to a row.

use crate::device::Gpu;
use crate::device::gpu::{GpuIds, GpuTensor};
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params};
use crate::error::Result;
use crate::ops::{RowChunk, check};

params! {
    /// See `shaders/softmax_cross_entropy.wgsl`.
    Params {
        first_row: u32,
        rows: u32,
        vocab: u32,
        gradient: u32,
        scale: f32,
    }
}

/// Lanes of a workgroup, which share a row.
const LANES: usize = 256;

static KERNEL: Kernel = Kernel::new::<Params>(
    "softmax_cross_entropy",
    include_str!("../../../shaders/softmax_cross_entropy.wgsl"),
    &[
        ("labels", Read),
        ("logits", ReadWrite),
        ("losses", ReadWrite),
    ],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&KERNEL];

/// See [`crate::ops::Ops::softmax_cross_entropy`].
pub fn softmax_cross_entropy(
    gpu: &mut Gpu,
    logits: &mut GpuTensor,
    targets: &GpuIds,
    losses: &mut GpuTensor,
    chunk: RowChunk,
    gradient: bool,
) -> Result<()> {
    let op = "softmax_cross_entropy";
    let RowChunk {
        first_row,
        rows,
        total_rows,
        vocab,
    } = chunk;
    check::at_least(op, "logits", rows * vocab, logits.len())?;
    check::exact(op, "vocabulary", vocab, targets.host.vocab())?;
    check::exact(op, "targets", total_rows, targets.host.tokens.len())?;
    check::at_least(op, "losses", first_row + rows, losses.len())?;
    let params = Params {
        first_row: first_row as u32,
        rows: rows as u32,
        vocab: vocab as u32,
        gradient: u32::from(gradient),
        scale: 1.0 / total_rows as f32,
    };
    let buffers = [&targets.tokens, &logits.buffer, &losses.buffer];
    gpu.dispatch(&KERNEL, &params, &buffers, rows);
    Ok(())
}
