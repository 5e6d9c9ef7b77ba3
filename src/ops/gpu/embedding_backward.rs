//! Host side of `embedding_backward.wgsl`: scatter-add as a gather by token.

use crate::device::Gpu;
use crate::device::gpu::{GpuIds, GpuTensor};
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params};
use crate::error::Result;
use crate::ops::check;

params! {
    /// See `shaders/embedding_backward.wgsl`.
    Params {
        vocab: u32,
        dim: u32,
    }
}

/// Lanes of a workgroup, one element each.
const LANES: usize = 64;

static KERNEL: Kernel = Kernel::new::<Params>(
    "embedding_backward",
    include_str!("../../../shaders/embedding_backward.wgsl"),
    &[
        ("dout", Read),
        ("row_starts", Read),
        ("positions", Read),
        ("dtable", ReadWrite),
    ],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&KERNEL];

/// See [`crate::ops::Ops::embedding_backward`].
pub fn embedding_backward(
    gpu: &mut Gpu,
    dout: &GpuTensor,
    ids: &GpuIds,
    dtable: &mut GpuTensor,
    dim: usize,
) -> Result<()> {
    let op = "embedding_backward";
    let (rows, vocab) = (ids.host.tokens.len(), ids.host.vocab());
    check::exact(op, "dout", rows * dim, dout.len())?;
    check::at_least(op, "dtable", vocab * dim, dtable.len())?;
    let Some(index) = &ids.index else {
        return check::exact(op, "index by token", rows, 0);
    };
    let params = Params {
        vocab: vocab as u32,
        dim: dim as u32,
    };
    let buffers = [
        &dout.buffer,
        &index.row_starts,
        &index.positions,
        &dtable.buffer,
    ];
    gpu.dispatch(&KERNEL, &params, &buffers, (vocab * dim).div_ceil(LANES));
    Ok(())
}
