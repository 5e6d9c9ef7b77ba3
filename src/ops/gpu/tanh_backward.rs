//! Host side of `tanh_backward.wgsl`: dx = dy ⊙ (1 − y²).

use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params, wgsl};
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::check;

params! {
    /// See `shaders/tanh_backward.wgsl`.
    Params {
        len: u32,
    }
}

/// Lanes of a workgroup, one element each.
const LANES: usize = 64;

static KERNEL: Kernel = Kernel::new::<Params>(
    "tanh_backward",
    wgsl!("tanh_backward"),
    &[("y", Read), ("dy", Read), ("dx", ReadWrite)],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&KERNEL];

/// See [`crate::ops::Ops::tanh_backward`].
pub fn tanh_backward(
    gpu: &mut Gpu,
    y: &GpuTensor,
    dy: &GpuTensor,
    dx: &mut GpuTensor,
) -> Result<()> {
    check::exact("tanh_backward", "dy", y.len(), dy.len())?;
    check::at_least("tanh_backward", "dx", y.len(), dx.len())?;
    let params = Params {
        len: y.len() as u32,
    };
    let workgroups = y.len().div_ceil(LANES);
    let op = "tanh_backward";
    let buffers = [y.whole(op, "y")?, dy.whole(op, "dy")?, dx.whole(op, "dx")?];
    let work = Work::of(3 * y.len(), 3 * y.len());
    gpu.dispatch(&KERNEL, &params, &buffers, workgroups, work)
}
