//! Host side of `rnn_backward.wgsl`: one dispatch a time step, the last step first.

use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params};
use crate::error::Result;
use crate::ops::{Recurrence, check};

params! {
    /// See `shaders/rnn_backward.wgsl`.
    Params {
        time_step: u32,
        time_steps: u32,
        batch: u32,
        hidden: u32,
    }
}

/// Rows and columns of the tile that a lane computes.
const TILE: usize = 4;
/// Lanes of a workgroup, one tile each.
const LANES: usize = 64;

static KERNEL: Kernel = Kernel::new::<Params>(
    "rnn_backward",
    include_str!("../../../shaders/rnn_backward.wgsl"),
    &[("hidden", Read), ("wh", Read), ("grad", ReadWrite)],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&KERNEL];

/// See [`crate::ops::Ops::rnn_backward`].
pub fn rnn_backward(
    gpu: &mut Gpu,
    grad: &mut GpuTensor,
    hidden: &GpuTensor,
    wh: &GpuTensor,
    size: Recurrence,
) -> Result<()> {
    let Recurrence {
        time_steps,
        batch: n,
        hidden: h,
    } = size;
    check::at_least("rnn_backward", "grad", time_steps * n * h, grad.len())?;
    check::at_least(
        "rnn_backward",
        "hidden",
        (time_steps + 1) * n * h,
        hidden.len(),
    )?;
    check::exact("rnn_backward", "wh", h * h, wh.len())?;
    let tiles = n.div_ceil(TILE) * h.div_ceil(TILE);
    for t in (0..time_steps).rev() {
        let params = Params {
            time_step: t as u32,
            time_steps: time_steps as u32,
            batch: n as u32,
            hidden: h as u32,
        };
        let buffers = [&hidden.buffer, &wh.buffer, &grad.buffer];
        gpu.dispatch(&KERNEL, &params, &buffers, tiles.div_ceil(LANES));
    }
    Ok(())
}
