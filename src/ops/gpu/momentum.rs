//! Host side of `momentum.wgsl`: v ← μ·v + clip·g + λ·w, w ← w − rate·v.

use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::groups::{lengths, runs, shared};
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params, wgsl};
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::{Momentum, check};

params! {
    /// See `shaders/momentum.wgsl`.
    Params {
        len: u32,
        momentum: f32,
        weight_decay: f32,
        nesterov: u32,
    }
}

/// Lanes of a workgroup, four elements each.
const LANES: usize = 64;

static KERNEL: Kernel = Kernel::new::<Params>(
    "momentum",
    wgsl!("momentum"),
    &[
        ("gradient", Read),
        ("rate", Read),
        ("norm", Read),
        ("velocity", ReadWrite),
        ("weights", ReadWrite),
    ],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&KERNEL];

/// See [`crate::ops::Ops::momentum`].
pub fn momentum(
    gpu: &mut Gpu,
    weights: &mut [&mut GpuTensor],
    velocities: &mut [&mut GpuTensor],
    gradients: &[&GpuTensor],
    rate: &GpuTensor,
    norm: &GpuTensor,
    settings: Momentum,
) -> Result<()> {
    let op = "momentum";
    let (weights, velocities) = (shared(weights), shared(velocities));
    check::like_gradients(op, "weights", lengths(gradients), lengths(&weights))?;
    check::like_gradients(op, "velocities", lengths(gradients), lengths(&velocities))?;
    check::at_least(op, "rate", 1, rate.len())?;
    check::at_least(op, "norm", 2, norm.len())?;
    let (rate, norm) = (rate.whole(op, "rate")?, norm.whole(op, "norm")?);
    for run in runs(op, [gradients, &velocities, &weights])? {
        let params = Params {
            len: run.len as u32,
            momentum: settings.momentum as f32,
            weight_decay: settings.weight_decay as f32,
            nesterov: u32::from(settings.nesterov),
        };
        let [gradient, velocity, weights] = &run.buffers;
        let buffers = [gradient, rate, norm, velocity, weights];
        let workgroups = run.len.div_ceil(4 * LANES);
        let work = Work::of(4 * run.len, 5 * run.len);
        gpu.dispatch(&KERNEL, &params, &buffers, workgroups, work)?;
    }
    Ok(())
}
