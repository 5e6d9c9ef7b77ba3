//! Host side of `accumulate.wgsl`: a mean of gradients.

use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::groups::{lengths, runs, shared};
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params, wgsl};
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::{Write, check};

params! {
    /// See `shaders/accumulate.wgsl`.
    Params {
        len: u32,
        scale: f32,
        accumulate: u32,
    }
}

/// Lanes of a workgroup, four elements each.
const LANES: usize = 64;

static KERNEL: Kernel = Kernel::new::<Params>(
    "accumulate",
    wgsl!("accumulate"),
    &[("gradient", Read), ("sum", ReadWrite)],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&KERNEL];

/// See [`crate::ops::Ops::accumulate`].
pub fn accumulate(
    gpu: &mut Gpu,
    sums: &mut [&mut GpuTensor],
    gradients: &[&GpuTensor],
    scale: f64,
    write: Write,
) -> Result<()> {
    let sums = shared(sums);
    check::like_gradients("accumulate", "sums", lengths(gradients), lengths(&sums))?;
    for run in runs("accumulate", [gradients, &sums])? {
        let params = Params {
            len: run.len as u32,
            scale: scale as f32,
            accumulate: u32::from(write == Write::Accumulate),
        };
        let [gradient, sum] = &run.buffers;
        let workgroups = run.len.div_ceil(4 * LANES);
        let work = Work::of(2 * run.len, 3 * run.len);
        gpu.dispatch(&KERNEL, &params, &[gradient, sum], workgroups, work)?;
    }
    Ok(())
}
