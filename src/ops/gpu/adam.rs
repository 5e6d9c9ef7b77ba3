//! Host side of `adam.wgsl`: Adam, with weight decay in either form.

use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::groups::{lengths, runs, shared};
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params, wgsl};
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::{Adam, check};

params! {
    /// See `shaders/adam.wgsl`.
    Params {
        len: u32,
        one_minus_beta1: f32,
        one_minus_beta2: f32,
        eps: f32,
        l2: f32,
        weight_decay: f32,
    }
}

/// Lanes of a workgroup, four elements each.
const LANES: usize = 64;

static KERNEL: Kernel = Kernel::new::<Params>(
    "adam",
    wgsl!("adam"),
    &[
        ("gradient", Read),
        ("rate", Read),
        ("norm", Read),
        ("first", ReadWrite),
        ("second", ReadWrite),
        ("weights", ReadWrite),
    ],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&KERNEL];

/// See [`crate::ops::Ops::adam`].
pub fn adam(
    gpu: &mut Gpu,
    weights: &mut [&mut GpuTensor],
    [first, second]: [&mut [&mut GpuTensor]; 2],
    gradients: &[&GpuTensor],
    rate: &GpuTensor,
    norm: &GpuTensor,
    settings: Adam,
) -> Result<()> {
    let op = "adam";
    let (weights, first, second) = (shared(weights), shared(first), shared(second));
    check::like_gradients(op, "weights", lengths(gradients), lengths(&weights))?;
    check::like_gradients(op, "first moments", lengths(gradients), lengths(&first))?;
    check::like_gradients(op, "second moments", lengths(gradients), lengths(&second))?;
    check::at_least(op, "rate", 3, rate.len())?;
    check::at_least(op, "norm", 2, norm.len())?;
    let (l2, weight_decay) = settings.decays();
    let (rate, norm) = (rate.whole(op, "rate")?, norm.whole(op, "norm")?);
    for run in runs(op, [gradients, &first, &second, &weights])? {
        let params = Params {
            len: run.len as u32,
            one_minus_beta1: (1.0 - settings.beta1) as f32,
            one_minus_beta2: (1.0 - settings.beta2) as f32,
            eps: settings.eps as f32,
            l2: l2 as f32,
            weight_decay: weight_decay as f32,
        };
        let [gradient, first, second, weights] = &run.buffers;
        let buffers = [gradient, rate, norm, first, second, weights];
        let workgroups = run.len.div_ceil(4 * LANES);
        let work = Work::of(14 * run.len, 7 * run.len);
        gpu.dispatch(&KERNEL, &params, &buffers, workgroups, work)?;
    }
    Ok(())
}
