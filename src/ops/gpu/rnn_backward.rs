//! Host side of `rnn_backward.wgsl`, `rnn_backward_sequence.wgsl` (for few rows) and
//! `rnn_backward_subgroup.wgsl` (for adapters that compute on the CPU, a step at a time or a sequence):
//! the last steps come first.

use super::rnn::{Params, SEQUENCE_SIZE, SUBGROUP_SEQUENCE, Schedule, WORKGROUP_SIZE};
use super::subgroup;
use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Access, Kernel, wgsl};
use crate::error::Result;
use crate::ops::{Recurrence, check};

const BINDINGS: &[(&str, Access)] = &[("hidden", Read), ("wh", Read), ("grad", ReadWrite)];

static ANY: Kernel = Kernel::new::<Params>(
    "rnn_backward",
    wgsl!("rnn_backward"),
    BINDINGS,
    WORKGROUP_SIZE,
);

/// By subgroups, a step at a time or a sequence.
const fn by_subgroups(overrides: &'static [(&'static str, f64)]) -> Kernel {
    let source = wgsl!("rnn_backward_subgroup", "subgroup_tile", "transposed");
    let kernel = Kernel::new::<Params>("rnn_backward_subgroup", source, BINDINGS, overrides);
    subgroup::by_subgroups(kernel)
}

static STEP_BY_SUBGROUPS: Kernel = by_subgroups(&[]);
static SEQUENCE_BY_SUBGROUPS: Kernel =
    by_subgroups(SUBGROUP_SEQUENCE).named("rnn_backward_subgroup_sequence");
static SEQUENCE: Kernel = Kernel::new::<Params>(
    "rnn_backward_sequence",
    wgsl!("rnn_backward_sequence"),
    BINDINGS,
    SEQUENCE_SIZE,
);

/// Every variant.
pub static KERNELS: &[&Kernel; 4] = &[&ANY, &SEQUENCE, &STEP_BY_SUBGROUPS, &SEQUENCE_BY_SUBGROUPS];

/// See [`crate::ops::Ops::rnn_backward`].
pub fn rnn_backward(
    gpu: &mut Gpu,
    grad: &mut GpuTensor,
    hidden: &GpuTensor,
    wh: &GpuTensor,
    size: Recurrence,
) -> Result<()> {
    let (op, step) = ("rnn_backward", size.batch * size.hidden);
    check::at_least(op, "grad", size.time_steps * step, grad.len())?;
    check::at_least(op, "hidden", (size.time_steps + 1) * step, hidden.len())?;
    check::exact(op, "wh", size.hidden * size.hidden, wh.len())?;
    let wh = wh.whole(op, "wh")?;
    let schedule = Schedule::new(gpu, op, KERNELS, size, &[hidden, grad])?;
    for piece in schedule.pieces().rev() {
        let hidden = schedule.slots(&piece, (op, "hidden"), hidden, piece.end() + 1)?;
        let grads = (piece.end() + 1).min(size.time_steps);
        let grad = schedule.slots(&piece, (op, "grad"), grad, grads)?;
        schedule.dispatch(gpu, piece.end() - 1, &piece, &[&hidden, wh, &grad])?;
    }
    Ok(())
}
