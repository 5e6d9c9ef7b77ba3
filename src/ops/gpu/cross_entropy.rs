//! Host side of `cross_entropy.wgsl`: loss and gradient of given probabilities.

use crate::device::Gpu;
use crate::device::gpu::{GpuIds, GpuTensor};
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params, wgsl};
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::check;

params! {
    /// See `shaders/cross_entropy.wgsl`.
    Params {
        rows: u32,
        vocab: u32,
    }
}

/// Lanes of a workgroup, one element each.
const LANES: usize = 64;

static KERNEL: Kernel = Kernel::new::<Params>(
    "cross_entropy",
    wgsl!("cross_entropy"),
    &[
        ("probs", Read),
        ("labels", Read),
        ("losses", ReadWrite),
        ("dprobs", ReadWrite),
    ],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&KERNEL];

/// See [`crate::ops::Ops::cross_entropy`].
pub fn cross_entropy(
    gpu: &mut Gpu,
    probs: &GpuTensor,
    targets: &GpuIds,
    losses: &mut GpuTensor,
    dprobs: &mut GpuTensor,
    vocab: usize,
) -> Result<()> {
    let op = "cross_entropy";
    let rows = check::rows(op, "probs", probs.len(), vocab)?;
    check::exact(op, "vocabulary", vocab, targets.host.vocab())?;
    check::exact(op, "targets", rows, targets.host.tokens.len())?;
    check::at_least(op, "losses", rows, losses.len())?;
    check::at_least(op, "dprobs", probs.len(), dprobs.len())?;
    let params = Params {
        rows: rows as u32,
        vocab: vocab as u32,
    };
    let buffers = [
        probs.whole(op, "probs")?,
        targets.tokens.whole(op, "targets")?,
        losses.whole(op, "losses")?,
        dprobs.whole(op, "dprobs")?,
    ];
    let workgroups = probs.len().div_ceil(LANES);
    let work = Work::of(2 * rows, 2 * probs.len());
    gpu.dispatch(&KERNEL, &params, &buffers, workgroups, work)
}
