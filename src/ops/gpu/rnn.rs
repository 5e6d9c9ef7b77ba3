//! Host side of `rnn.wgsl` and `rnn_registers.wgsl` (for adapters that compute on the CPU): one dispatch a time step.

use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Access, Kernel, params};
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

/// Lanes of a workgroup, one tile each.
const LANES: usize = 64;
const REGISTERS_LANES: usize = 16;

const BINDINGS: &[(&str, Access)] = &[("wh", Read), ("hidden", ReadWrite)];

static ANY: Kernel = Kernel::new::<Params>(
    "rnn",
    include_str!("../../../shaders/rnn.wgsl"),
    BINDINGS,
    &[("WORKGROUP_SIZE", LANES as f64)],
);
static REGISTERS: Kernel = Kernel::new::<Params>(
    "rnn_registers",
    include_str!("../../../shaders/rnn_registers.wgsl"),
    BINDINGS,
    &[("WORKGROUP_SIZE", REGISTERS_LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&ANY, &REGISTERS];

/// See [`crate::ops::Ops::rnn`].
pub fn rnn(gpu: &mut Gpu, hidden: &mut GpuTensor, wh: &GpuTensor, size: Recurrence) -> Result<()> {
    let Recurrence {
        time_steps,
        batch: n,
        hidden: h,
    } = size;
    check::at_least("rnn", "hidden", (time_steps + 1) * n * h, hidden.len())?;
    check::exact("rnn", "wh", h * h, wh.len())?;
    let suited = if gpu.is_software() { &REGISTERS } else { &ANY };
    // The other variant takes whole vec4s only.
    let kernel = match gpu.forced_variant("rnn").unwrap_or(suited) {
        kernel if h.is_multiple_of(4) => kernel,
        _ => &ANY,
    };
    let workgroups = if kernel.name == ANY.name {
        (n.div_ceil(4) * h.div_ceil(4)).div_ceil(LANES)
    } else {
        (n.div_ceil(4) * h.div_ceil(16)).div_ceil(REGISTERS_LANES)
    };
    for t in 0..time_steps {
        let params = Params {
            time_step: t as u32,
            time_steps: time_steps as u32,
            batch: n as u32,
            hidden: h as u32,
        };
        let buffers = [&wh.buffer, &hidden.buffer];
        gpu.dispatch(kernel, &params, &buffers, workgroups);
    }
    Ok(())
}
