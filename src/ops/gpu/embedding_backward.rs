//! Host side of `embedding_backward.wgsl` and `embedding_backward_total.wgsl`, element by element or by
//! vec4s: scatter-add as a gather by token, in two levels.

use crate::device::Gpu;
use crate::device::gpu::{GpuIds, GpuTensor};
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Access, Kernel, params, wgsl};
use crate::device::tokens::Segments;
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::{Matrix, check};

params! {
    /// See `shaders/embedding_backward.wgsl`.
    Params {
        segments: u32,
        dim: u32,
        first_column: u32,
        columns: u32,
    }
}

params! {
    /// See `shaders/embedding_backward_total.wgsl`.
    TotalParams {
        tokens: u32,
        dim: u32,
        first_token: u32,
        first_column: u32,
        columns: u32,
        out_offset: u32,
    }
}

/// Lanes of a workgroup, one element or vec4 each.
const LANES: usize = 64;

const BINDINGS: &[(&str, Access)] = &[
    ("dout", Read),
    ("starts", Read),
    ("positions", Read),
    ("partials", ReadWrite),
];
const TOTAL_BINDINGS: &[(&str, Access)] = &[
    ("partials", Read),
    ("of_token", Read),
    ("dtable", ReadWrite),
];
const WORKGROUP_SIZE: &[(&str, f64)] = &[("WORKGROUP_SIZE", LANES as f64)];

static ANY: Kernel = Kernel::new::<Params>(
    "embedding_backward",
    wgsl!("embedding_backward", "element_f32"),
    BINDINGS,
    WORKGROUP_SIZE,
);
static VEC4: Kernel = Kernel::new::<Params>(
    "embedding_backward",
    wgsl!("embedding_backward", "element_vec4"),
    BINDINGS,
    WORKGROUP_SIZE,
)
.named("embedding_backward_vec4");
static ANY_TOTAL: Kernel = Kernel::new::<TotalParams>(
    "embedding_backward_total",
    wgsl!("embedding_backward_total", "element_f32"),
    TOTAL_BINDINGS,
    WORKGROUP_SIZE,
);
static VEC4_TOTAL: Kernel = Kernel::new::<TotalParams>(
    "embedding_backward_total",
    wgsl!("embedding_backward_total", "element_vec4"),
    TOTAL_BINDINGS,
    WORKGROUP_SIZE,
)
.named("embedding_backward_total_vec4");

/// The first level of every variant.
pub static VARIANTS: &[&Kernel] = &[&ANY, &VEC4];

/// Both levels of every variant.
pub static KERNELS: &[&Kernel] = &[&ANY, &VEC4, &ANY_TOTAL, &VEC4_TOTAL];

/// See [`crate::ops::Ops::embedding_backward`].
pub fn embedding_backward(
    gpu: &mut Gpu,
    dout: &GpuTensor,
    ids: &GpuIds,
    dtable: &mut GpuTensor,
    partials: &mut GpuTensor,
    dim: usize,
) -> Result<()> {
    let op = "embedding_backward";
    let (rows, vocab) = (ids.host.tokens.len(), ids.host.vocab());
    check::embedding_backward((rows, vocab), dout.len(), dtable.len(), partials.len(), dim)?;
    let Some(index) = &ids.index else {
        return check::exact(op, "index by token", rows, 0);
    };
    // As many as any window has: the same dispatch serves all of them.
    let segments = Segments::most(rows, vocab);
    // As many columns at once as can be bound of the sums of all segments.
    let most = partials.bindable() / segments.max(1);
    if most == 0 {
        return Err(partials.unbindable(op, "partials", segments));
    }
    let by_vec4s = dim.is_multiple_of(4) && most >= 4;
    let (kernel, total, width) = match gpu.forced_variant(op).unwrap_or(&VEC4) {
        kernel if by_vec4s && kernel.name == VEC4.name => (&VEC4, &VEC4_TOTAL, 4),
        _ => (&ANY, &ANY_TOTAL, 1),
    };
    let in_elements = |count: usize| (count / width) as u32;
    let tokens = dtable.row_windows((op, "dtable"), Matrix::new(vocab, dim), 1)?;
    for first_column in (0..dim).step_by(most / width * width) {
        let columns = (most / width * width).min(dim - first_column);
        let elements = segments * columns;
        let params = Params {
            segments: segments as u32,
            dim: in_elements(dim),
            first_column: in_elements(first_column),
            columns: in_elements(columns),
        };
        let sums = partials.from((op, "partials"), 0, elements)?;
        let starts = index.starts.whole(op, "starts")?;
        let positions = index.positions.whole(op, "positions")?;
        let buffers = [dout.whole(op, "dout")?, starts, positions, &sums];
        let work = Work::of(rows * columns, rows * columns + elements);
        let workgroups = (elements / width).div_ceil(LANES);
        gpu.dispatch(kernel, &params, &buffers, workgroups, work)?;
        for &(first_token, end_token) in &tokens {
            let (out, out_offset) = dtable.window(first_token * dim, end_token * dim);
            let params = TotalParams {
                tokens: (end_token - first_token) as u32,
                dim: in_elements(dim),
                first_token: first_token as u32,
                first_column: in_elements(first_column),
                columns: in_elements(columns),
                out_offset: in_elements(out_offset),
            };
            let written = (end_token - first_token) * columns;
            let of_token = index.of_token.whole(op, "segments of tokens")?;
            let work = Work::of(elements.min(written), elements + written);
            let workgroups = (written / width).div_ceil(LANES);
            gpu.dispatch(total, &params, &[&sums, of_token, &out], workgroups, work)?;
        }
    }
    Ok(())
}
