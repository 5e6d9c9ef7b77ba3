//! Host side of `embedding.wgsl`: a row of the table for each token.

use crate::device::Gpu;
use crate::device::gpu::{GpuIds, GpuTensor};
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params};
use crate::error::Result;
use crate::ops::{Matrix, check};

params! {
    /// See `shaders/embedding.wgsl`.
    Params {
        rows: u32,
        dim: u32,
        out_offset: u32,
    }
}

/// Lanes of a workgroup, one element each.
const LANES: usize = 64;

static KERNEL: Kernel = Kernel::new::<Params>(
    "embedding",
    include_str!("../../../shaders/embedding.wgsl"),
    &[("table", Read), ("ids", Read), ("out", ReadWrite)],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&KERNEL];

/// See [`crate::ops::Ops::embedding`].
pub fn embedding(
    gpu: &mut Gpu,
    table: &GpuTensor,
    ids: &GpuIds,
    (out, layout): (&mut GpuTensor, Matrix),
) -> Result<()> {
    let rows = ids.host.tokens.len();
    let dim = check::embedding(table.len(), (rows, ids.host.vocab()), (out.len(), layout))?;
    let params = Params {
        rows: rows as u32,
        dim: dim as u32,
        out_offset: layout.offset as u32,
    };
    let buffers = [&table.buffer, &ids.tokens, &out.buffer];
    gpu.dispatch(&KERNEL, &params, &buffers, (rows * dim).div_ceil(LANES));
    Ok(())
}
