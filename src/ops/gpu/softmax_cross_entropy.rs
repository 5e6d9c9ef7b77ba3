//! Host side of `softmax_cross_entropy.wgsl` and `softmax_cross_entropy_rows.wgsl` (for adapters
//! that compute on the CPU): loss and gradient in one visit to a row.

use crate::device::Gpu;
use crate::device::gpu::{GpuIds, GpuTensor, aligned_rows};
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Access, Kernel, params, wgsl};
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::{Matrix, RowChunk, check};

use super::{check_row, softmax};

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

const BINDINGS: &[(&str, Access)] = &[
    ("labels", Read),
    ("logits", ReadWrite),
    ("losses", ReadWrite),
];
/// Lanes of a workgroup, which share a row.
const LANES: usize = 256;
/// Lanes of a workgroup, a row each.
const ROWS: usize = 8;
/// Longest row that one lane takes. llvmpipe ends every loop of an invocation, without a word, once
/// they have run 65,535 times in all; a row takes three passes, four elements at a time.
pub const LONGEST: usize = 1 << 16;
/// Exponentials that a lane sums, every fourth one by itself, before it adds them to those before.
pub const BLOCK: usize = 64;

static SHARED: Kernel = Kernel::new::<Params>(
    "softmax_cross_entropy",
    wgsl!("softmax_cross_entropy", "softmax_row"),
    BINDINGS,
    &[("WORKGROUP_SIZE", LANES as f64)],
);
static BY_ROW: Kernel = Kernel::new::<Params>(
    "softmax_cross_entropy_rows",
    wgsl!("softmax_cross_entropy_rows", "shifted"),
    BINDINGS,
    &[("WORKGROUP_SIZE", ROWS as f64), ("BLOCK", BLOCK as f64)],
)
.for_software();

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&SHARED, &BY_ROW];

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
    let targets = targets.tokens.whole(op, "targets")?;
    let losses = losses.whole(op, "losses")?;
    let suited = if gpu.is_software() { &BY_ROW } else { &SHARED };
    let kernel = match gpu.forced_variant(op).unwrap_or(suited) {
        kernel if vocab <= LONGEST => kernel,
        _ => &SHARED,
    };
    if kernel.name == SHARED.name {
        check_row(gpu, op, vocab, softmax::LONGEST_ON_SOFTWARE)?;
    }
    let layout = Matrix::new(rows, vocab);
    for (first, end) in logits.row_windows((op, "logits"), layout, aligned_rows(vocab))? {
        let rows = end - first;
        let logits = logits.from((op, "logits"), first * vocab, end * vocab)?;
        let params = Params {
            first_row: (first_row + first) as u32,
            rows: rows as u32,
            vocab: vocab as u32,
            gradient: u32::from(gradient),
            scale: 1.0 / total_rows as f32,
        };
        let workgroups = if kernel.name == SHARED.name {
            rows
        } else {
            rows.div_ceil(ROWS)
        };
        let work = Work::of(6 * rows * vocab, 3 * rows * vocab);
        gpu.dispatch(
            kernel,
            &params,
            &[targets, &logits, losses],
            workgroups,
            work,
        )?;
    }
    Ok(())
}
