//! Host side of `softmax_backward.wgsl`: the gradient through a softmax.

use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params, wgsl};
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::check;

use super::check_row;
use super::softmax::LONGEST_ON_SOFTWARE;

params! {
    /// See `shaders/softmax_backward.wgsl`.
    Params {
        rows: u32,
        vocab: u32,
    }
}

/// Lanes of a workgroup, which share a row.
const LANES: usize = 256;

static KERNEL: Kernel = Kernel::new::<Params>(
    "softmax_backward",
    wgsl!("softmax_backward", "workgroup_sum"),
    &[("probs", Read), ("dprobs", Read), ("dlogits", ReadWrite)],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&KERNEL];

/// See [`crate::ops::Ops::softmax_backward`].
pub fn softmax_backward(
    gpu: &mut Gpu,
    probs: &GpuTensor,
    dprobs: &GpuTensor,
    dlogits: &mut GpuTensor,
    vocab: usize,
) -> Result<()> {
    let op = "softmax_backward";
    let rows = check::rows(op, "probs", probs.len(), vocab)?;
    check::exact(op, "dprobs", probs.len(), dprobs.len())?;
    check::at_least(op, "dlogits", probs.len(), dlogits.len())?;
    check_row(gpu, op, vocab, LONGEST_ON_SOFTWARE)?;
    let params = Params {
        rows: rows as u32,
        vocab: vocab as u32,
    };
    let work = Work::of(4 * probs.len(), 3 * probs.len());
    let (dprobs, dlogits) = (dprobs.whole(op, "dprobs")?, dlogits.whole(op, "dlogits")?);
    let buffers = [probs.whole(op, "probs")?, dprobs, dlogits];
    gpu.dispatch(&KERNEL, &params, &buffers, rows, work)
}
