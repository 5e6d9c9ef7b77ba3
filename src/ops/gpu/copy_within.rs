//! Host side of `copy_within.wgsl`: a copy inside one tensor.

use crate::device::gpu::GpuTensor;
use crate::device::kernel::Access::ReadWrite;
use crate::device::kernel::{Kernel, params, wgsl};
use crate::device::work::Work;
use crate::device::{Gpu, check_range};
use crate::error::Result;

params! {
    /// See `shaders/copy_within.wgsl`.
    Params {
        source: u32,
        destination: u32,
        len: u32,
    }
}

/// Lanes of a workgroup, one element each.
const LANES: usize = 64;

static KERNEL: Kernel = Kernel::new::<Params>(
    "copy_within",
    wgsl!("copy_within"),
    &[("data", ReadWrite)],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&KERNEL];

/// See [`crate::ops::Ops::copy_within`].
pub fn copy_within(
    gpu: &mut Gpu,
    tensor: &mut GpuTensor,
    from: usize,
    to: usize,
    len: usize,
) -> Result<()> {
    check_range("copy_within", "source", tensor.len(), from, len)?;
    check_range("copy_within", "destination", tensor.len(), to, len)?;
    let params = Params {
        source: from as u32,
        destination: to as u32,
        len: len as u32,
    };
    match tensor.whole("copy_within", "tensor") {
        Ok(buffer) => {
            let work = Work::of(0, 2 * len);
            gpu.dispatch(&KERNEL, &params, &[buffer], len.div_ceil(LANES), work)
        }
        Err(_) => gpu.copy_through_scratch(tensor, from, to, len),
    }
}
