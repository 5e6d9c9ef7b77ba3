//! Host side of `softmax.wgsl`: probabilities at a temperature.

use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params, wgsl};
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::check;

use super::check_row;

params! {
    /// See `shaders/softmax.wgsl`.
    Params {
        rows: u32,
        vocab: u32,
        inverse_temperature: f32,
    }
}

/// Lanes of a workgroup, which share a row.
const LANES: usize = 256;

static KERNEL: Kernel = Kernel::new::<Params>(
    "softmax",
    wgsl!("softmax", "softmax_row"),
    &[("logits", Read), ("probs", ReadWrite)],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&KERNEL];

/// Longest row on an adapter that computes on the CPU, of the kernels whose workgroups make two passes over
/// one; see [`check_row`].
pub(super) const LONGEST_ON_SOFTWARE: usize = 8_000_000;

/// See [`crate::ops::Ops::softmax`].
pub fn softmax(
    gpu: &mut Gpu,
    logits: &GpuTensor,
    probs: &mut GpuTensor,
    vocab: usize,
    temperature: f32,
) -> Result<()> {
    let rows = check::rows("softmax", "logits", logits.len(), vocab)?;
    check::at_least("softmax", "probs", logits.len(), probs.len())?;
    check_row(gpu, "softmax", vocab, LONGEST_ON_SOFTWARE)?;
    let params = Params {
        rows: rows as u32,
        vocab: vocab as u32,
        inverse_temperature: 1.0 / temperature,
    };
    let work = Work::of(6 * logits.len(), 2 * logits.len());
    let logits = logits.whole("softmax", "logits")?;
    let probs = probs.whole("softmax", "probs")?;
    gpu.dispatch(&KERNEL, &params, &[logits, probs], rows, work)
}
