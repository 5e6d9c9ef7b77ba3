//! Host side of `sgd.wgsl`: w ← w − rate·clip·g.

use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::groups::{lengths, runs, shared};
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params, wgsl};
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::check;

params! {
    /// See `shaders/sgd.wgsl`.
    Params {
        len: u32,
    }
}

/// Lanes of a workgroup, four elements each.
const LANES: usize = 64;

static KERNEL: Kernel = Kernel::new::<Params>(
    "sgd",
    wgsl!("sgd"),
    &[
        ("gradient", Read),
        ("rate", Read),
        ("norm", Read),
        ("weights", ReadWrite),
    ],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&KERNEL];

/// See [`crate::ops::Ops::sgd`].
pub fn sgd(
    gpu: &mut Gpu,
    weights: &mut [&mut GpuTensor],
    gradients: &[&GpuTensor],
    rate: &GpuTensor,
    norm: &GpuTensor,
) -> Result<()> {
    let weights = shared(weights);
    check::like_gradients("sgd", "weights", lengths(gradients), lengths(&weights))?;
    check::at_least("sgd", "rate", 1, rate.len())?;
    check::at_least("sgd", "norm", 2, norm.len())?;
    let (rate, norm) = (rate.whole("sgd", "rate")?, norm.whole("sgd", "norm")?);
    for run in runs("sgd", [gradients, &weights])? {
        let params = Params {
            len: run.len as u32,
        };
        let [gradient, weights] = &run.buffers;
        let buffers = [gradient, rate, norm, weights];
        let workgroups = run.len.div_ceil(4 * LANES);
        let work = Work::of(2 * run.len, 3 * run.len);
        gpu.dispatch(&KERNEL, &params, &buffers, workgroups, work)?;
    }
    Ok(())
}
