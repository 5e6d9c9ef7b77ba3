//! Host side of `mean_loss.wgsl`: the mean over a window.

use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params, wgsl};
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::check;

params! {
    /// See `shaders/mean_loss.wgsl`.
    Params {
        rows: u32,
    }
}

/// Lanes of the one workgroup.
const LANES: usize = 256;

static KERNEL: Kernel = Kernel::new::<Params>(
    "mean_loss",
    wgsl!("mean_loss", "workgroup_sum"),
    &[("losses", Read), ("loss", ReadWrite)],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&KERNEL];

/// See [`crate::ops::Ops::mean_loss`].
pub fn mean_loss(gpu: &mut Gpu, losses: &GpuTensor, loss: &mut GpuTensor) -> Result<()> {
    check::at_least("mean_loss", "losses", 1, losses.len())?;
    check::at_least("mean_loss", "loss", 2, loss.len())?;
    let params = Params {
        rows: losses.len() as u32,
    };
    let work = Work::of(losses.len(), losses.len());
    let losses = losses.whole("mean_loss", "losses")?;
    let loss = loss.whole("mean_loss", "loss")?;
    gpu.dispatch(&KERNEL, &params, &[losses, loss], 1, work)
}
