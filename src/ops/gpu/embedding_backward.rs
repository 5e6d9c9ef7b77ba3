//! Host side of `embedding_backward.wgsl` and `embedding_backward_total.wgsl`: scatter-add as a gather
//! by token, in two levels.

use crate::device::Gpu;
use crate::device::gpu::{GpuIds, GpuTensor};
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params};
use crate::device::tokens::Segments;
use crate::error::Result;
use crate::ops::check;

params! {
    /// See `shaders/embedding_backward.wgsl`.
    Params {
        segments: u32,
        dim: u32,
    }
}

params! {
    /// See `shaders/embedding_backward_total.wgsl`.
    TotalParams {
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
        ("starts", Read),
        ("positions", Read),
        ("partials", ReadWrite),
    ],
    &[("WORKGROUP_SIZE", LANES as f64)],
);
static TOTAL: Kernel = Kernel::new::<TotalParams>(
    "embedding_backward_total",
    include_str!("../../../shaders/embedding_backward_total.wgsl"),
    &[
        ("partials", Read),
        ("of_token", Read),
        ("dtable", ReadWrite),
    ],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Both, one after the other.
pub static KERNELS: &[&Kernel] = &[&KERNEL, &TOTAL];

/// See [`crate::ops::Ops::embedding_backward`].
pub fn embedding_backward(
    gpu: &mut Gpu,
    dout: &GpuTensor,
    ids: &GpuIds,
    dtable: &mut GpuTensor,
    partials: &mut GpuTensor,
    dim: usize,
) -> Result<()> {
    let (rows, vocab) = (ids.host.tokens.len(), ids.host.vocab());
    check::embedding_backward((rows, vocab), dout.len(), dtable.len(), partials.len(), dim)?;
    let Some(index) = &ids.index else {
        return check::exact("embedding_backward", "index by token", rows, 0);
    };
    // As many as any window has: the same dispatch serves all of them.
    let segments = Segments::most(rows, vocab);
    let params = Params {
        segments: segments as u32,
        dim: dim as u32,
    };
    let (starts, positions) = (&index.starts, &index.positions);
    let buffers = [&dout.buffer, starts, positions, &partials.buffer];
    gpu.dispatch(&KERNEL, &params, &buffers, (segments * dim).div_ceil(LANES));
    let params = TotalParams {
        vocab: vocab as u32,
        dim: dim as u32,
    };
    let buffers = [&partials.buffer, &index.of_token, &dtable.buffer];
    gpu.dispatch(&TOTAL, &params, &buffers, (vocab * dim).div_ceil(LANES));
    Ok(())
}
