//! Host side of `rnn.wgsl`: one dispatch a time step.

use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params};
use crate::error::Result;
use crate::ops::{Recurrence, check};

params! {
    /// See `shaders/rnn.wgsl`.
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
    "rnn",
    include_str!("../../../shaders/rnn.wgsl"),
    &[("wh", Read), ("hidden", ReadWrite)],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&KERNEL];

/// See [`crate::ops::Ops::rnn`].
pub fn rnn(gpu: &mut Gpu, hidden: &mut GpuTensor, wh: &GpuTensor, size: Recurrence) -> Result<()> {
    let Recurrence {
        time_steps,
        batch: n,
        hidden: h,
    } = size;
    check::at_least("rnn", "hidden", (time_steps + 1) * n * h, hidden.len())?;
    check::exact("rnn", "wh", h * h, wh.len())?;
    let tiles = n.div_ceil(TILE) * h.div_ceil(TILE);
    for t in 0..time_steps {
        let params = Params {
            time_step: t as u32,
            time_steps: time_steps as u32,
            batch: n as u32,
            hidden: h as u32,
        };
        let buffers = [&wh.buffer, &hidden.buffer];
        gpu.dispatch(&KERNEL, &params, &buffers, tiles.div_ceil(LANES));
    }
    Ok(())
}
