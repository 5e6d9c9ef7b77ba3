//! Host side of `tanh.wgsl`: y = tanh x.

use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params, wgsl};
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::check;

params! {
    /// See `shaders/tanh.wgsl`.
    Params {
        len: u32,
    }
}

/// Lanes of a workgroup, one element each.
const LANES: usize = 64;

static KERNEL: Kernel = Kernel::new::<Params>(
    "tanh",
    wgsl!("tanh", "stable_tanh"),
    &[("x", Read), ("y", ReadWrite)],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&KERNEL];

/// See [`crate::ops::Ops::tanh`].
pub fn tanh(gpu: &mut Gpu, x: &GpuTensor, y: &mut GpuTensor) -> Result<()> {
    check::at_least("tanh", "y", x.len(), y.len())?;
    let params = Params {
        len: x.len() as u32,
    };
    let workgroups = x.len().div_ceil(LANES);
    let work = Work::of(x.len(), 2 * x.len());
    let buffers = [x.whole("tanh", "x")?, y.whole("tanh", "y")?];
    gpu.dispatch(&KERNEL, &params, &buffers, workgroups, work)
}
