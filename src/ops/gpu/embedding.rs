//! Host side of `embedding.wgsl` and `embedding_vec4.wgsl` (for rows of whole vec4s): a row of the
//! table for each token.

use crate::device::Gpu;
use crate::device::gpu::{GpuIds, GpuTensor};
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Access, Kernel, params};
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

/// Lanes of a workgroup, one element or vec4 each.
const LANES: usize = 64;

const BINDINGS: &[(&str, Access)] = &[("table", Read), ("ids", Read), ("out", ReadWrite)];

static ANY: Kernel = Kernel::new::<Params>(
    "embedding",
    include_str!("../../../shaders/embedding.wgsl"),
    BINDINGS,
    &[("WORKGROUP_SIZE", LANES as f64)],
);
static VEC4: Kernel = Kernel::new::<Params>(
    "embedding_vec4",
    include_str!("../../../shaders/embedding_vec4.wgsl"),
    BINDINGS,
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&ANY, &VEC4];

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
    let whole_vec4s = dim.is_multiple_of(4) && layout.offset.is_multiple_of(4);
    let kernel = match gpu.forced_variant("embedding").unwrap_or(&VEC4) {
        kernel if whole_vec4s => kernel,
        _ => &ANY,
    };
    let width = if kernel.name == VEC4.name { 4 } else { 1 };
    let workgroups = (rows * dim / width).div_ceil(LANES);
    gpu.dispatch(kernel, &params, &buffers, workgroups);
    Ok(())
}
