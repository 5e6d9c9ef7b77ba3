//! Host side of `embedding.wgsl`, element by element or by vec4s: a row of the table for each token.

use crate::device::Gpu;
use crate::device::gpu::{GpuIds, GpuTensor, aligned_rows};
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Access, Kernel, params, wgsl};
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::{Matrix, check};

params! {
    /// See `shaders/embedding.wgsl`.
    Params {
        rows: u32,
        dim: u32,
        out_offset: u32,
        first_token: u32,
        tokens: u32,
    }
}

/// Lanes of a workgroup, one element or vec4 each.
const LANES: usize = 64;

const BINDINGS: &[(&str, Access)] = &[("table", Read), ("ids", Read), ("out", ReadWrite)];

static ANY: Kernel = Kernel::new::<Params>(
    "embedding",
    wgsl!("embedding", "element_f32"),
    BINDINGS,
    &[("WORKGROUP_SIZE", LANES as f64)],
);
static VEC4: Kernel = Kernel::new::<Params>(
    "embedding",
    wgsl!("embedding", "element_vec4"),
    BINDINGS,
    &[("WORKGROUP_SIZE", LANES as f64)],
)
.named("embedding_vec4");

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&ANY, &VEC4];

/// See [`crate::ops::Ops::embedding`].
pub fn embedding(
    gpu: &mut Gpu,
    table: &GpuTensor,
    ids: &GpuIds,
    (out, layout): (&mut GpuTensor, Matrix),
) -> Result<()> {
    let op = "embedding";
    let rows = ids.host.tokens.len();
    let dim = check::embedding(table.len(), (rows, ids.host.vocab()), (out.len(), layout))?;
    let whole_vec4s = dim.is_multiple_of(4) && layout.offset.is_multiple_of(4);
    let kernel = match gpu.forced_variant(op).unwrap_or(&VEC4) {
        kernel if whole_vec4s => kernel,
        _ => &ANY,
    };
    let width = if kernel.name == VEC4.name { 4 } else { 1 };
    let table_rows = Matrix::new(ids.host.vocab(), dim);
    let tables = table.row_windows((op, "table"), table_rows, aligned_rows(dim))?;
    for (first, end) in out.row_windows((op, "out"), layout, aligned_rows(1))? {
        let place = |row| layout.offset + row * dim;
        let (out, out_offset) = out.window(place(first), place(end));
        let tokens = ids.tokens.from((op, "ids"), first, end)?;
        // Each dispatch writes the rows whose tokens are among those that it has of the table.
        for &(first_token, end_token) in &tables {
            let table = table.from((op, "table"), first_token * dim, end_token * dim)?;
            let params = Params {
                rows: (end - first) as u32,
                dim: (dim / width) as u32,
                out_offset: (out_offset / width) as u32,
                first_token: first_token as u32,
                tokens: (end_token - first_token) as u32,
            };
            let elements = (end - first) * dim;
            let workgroups = (elements / width).div_ceil(LANES);
            let work = Work::of(0, 2 * elements);
            gpu.dispatch(kernel, &params, &[&table, &tokens, &out], workgroups, work)?;
        }
    }
    Ok(())
}
