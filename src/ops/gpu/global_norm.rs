//! Host side of `global_norm.wgsl` (partial sums of squares) and `global_norm_total.wgsl`.

use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::groups::{lengths, runs};
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params, wgsl};
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::{NORM_CHUNK, check, norm_partials};

params! {
    /// See `shaders/global_norm.wgsl`.
    PartialParams {
        len: u32,
        first: u32,
    }
}

params! {
    /// See `shaders/global_norm_total.wgsl`.
    TotalParams {
        len: u32,
        max_norm: f32,
    }
}

/// Lanes of a workgroup, which share a chunk.
const LANES: usize = 256;

static PARTIAL: Kernel = Kernel::new::<PartialParams>(
    "global_norm",
    wgsl!("global_norm", "workgroup_sum"),
    &[("x", Read), ("partials", ReadWrite)],
    &[
        ("WORKGROUP_SIZE", LANES as f64),
        ("CHUNK", NORM_CHUNK as f64),
    ],
);
static TOTAL: Kernel = Kernel::new::<TotalParams>(
    "global_norm_total",
    wgsl!("global_norm_total", "workgroup_sum"),
    &[("partials", Read), ("norm", ReadWrite)],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Both halves of the op.
pub static KERNELS: &[&Kernel] = &[&PARTIAL, &TOTAL];

/// See [`crate::ops::Ops::global_norm`].
pub fn global_norm(
    gpu: &mut Gpu,
    gradients: &[&GpuTensor],
    max_norm: Option<f32>,
    partials: &mut GpuTensor,
    norm: &mut GpuTensor,
) -> Result<()> {
    let needed = norm_partials(lengths(gradients));
    check::at_least("global_norm", "partials", needed, partials.len())?;
    check::at_least("global_norm", "norm", 2, norm.len())?;
    let runs = runs("global_norm", [gradients])?;
    // Padding to multiples of 64 elements does not need more partial sums: 64 divides their chunk.
    // Gradients that are cut may need some more than are there in any case.
    let chunks = runs.iter().map(|run| run.len.div_ceil(NORM_CHUNK)).sum();
    check::at_least("global_norm", "partials", chunks, partials.len())?;
    let partials = partials.whole("global_norm", "partials")?;
    let norm = norm.whole("global_norm", "norm")?;
    let mut first = 0;
    for run in runs {
        let params = PartialParams {
            len: run.len as u32,
            first: first as u32,
        };
        let chunks = run.len.div_ceil(NORM_CHUNK);
        let [gradients] = &run.buffers;
        let work = Work::of(2 * run.len, run.len);
        gpu.dispatch(&PARTIAL, &params, &[gradients, partials], chunks, work)?;
        first += chunks;
    }
    let params = TotalParams {
        len: first as u32,
        max_norm: max_norm.unwrap_or(0.0),
    };
    let work = Work::of(first, first);
    gpu.dispatch(&TOTAL, &params, &[partials, norm], 1, work)
}
