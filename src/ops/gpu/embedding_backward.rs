//! Host side of `embedding_backward.wgsl` and `embedding_backward_total.wgsl`: scatter-add as a gather
//! by token, in two levels.

use crate::device::Gpu;
use crate::device::gpu::{GpuIds, GpuTensor};
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params};
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
    let tokens = dtable.row_windows((op, "dtable"), Matrix::new(vocab, dim), 1)?;
    for first_column in (0..dim).step_by(most) {
        let columns = most.min(dim - first_column);
        let elements = segments * columns;
        let params = Params {
            segments: segments as u32,
            dim: dim as u32,
            first_column: first_column as u32,
            columns: columns as u32,
        };
        let sums = partials.from((op, "partials"), 0, elements)?;
        let starts = index.starts.whole(op, "starts")?;
        let positions = index.positions.whole(op, "positions")?;
        let buffers = [dout.whole(op, "dout")?, starts, positions, &sums];
        let work = Work::of(rows * columns, rows * columns + elements);
        gpu.dispatch(&KERNEL, &params, &buffers, elements.div_ceil(LANES), work)?;
        for &(first_token, end_token) in &tokens {
            let (out, out_offset) = dtable.window(first_token * dim, end_token * dim);
            let params = TotalParams {
                tokens: (end_token - first_token) as u32,
                dim: dim as u32,
                first_token: first_token as u32,
                first_column: first_column as u32,
                columns: columns as u32,
                out_offset: out_offset as u32,
            };
            let written = (end_token - first_token) * columns;
            let of_token = index.of_token.whole(op, "segments of tokens")?;
            let work = Work::of(elements.min(written), elements + written);
            let workgroups = written.div_ceil(LANES);
            gpu.dispatch(&TOTAL, &params, &[&sums, of_token, &out], workgroups, work)?;
        }
    }
    Ok(())
}
