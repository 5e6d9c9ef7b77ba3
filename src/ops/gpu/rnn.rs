//! Host side of `rnn.wgsl`, `rnn_sequence.wgsl` (for few rows) and `rnn_subgroup.wgsl` (for adapters
//! that compute on the CPU, a step at a time or a sequence); and what both directions of the
//! recurrence share: parameters, choice of kernel and grid.

use crate::device::Gpu;
use crate::device::gpu::{Buffer, GpuTensor, aligned_rows};
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Access, Kernel, params, wgsl};
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::{Recurrence, check};

use super::subgroup;

params! {
    /// Of every kernel of the recurrence. A dispatch takes `steps` time steps from `first_step` on,
    /// backwards in the backward pass; one step, but for the sequence kernels.
    Params {
        first_step: u32,
        steps: u32,
        time_steps: u32,
        batch: u32,
        hidden: u32,
        first_workgroup: u32,
    }
}

/// Rows of a tile, in the kernels without subgroups.
const ROWS: usize = 4;
/// Lanes of a workgroup, one tile of 4 columns each.
const LANES: usize = 64;
/// Lanes of a workgroup of a sequence kernel, one for each 4 columns: two states of 4 rows take all of
/// the 16 KiB of workgroup memory that every adapter has.
const SEQUENCE_LANES: usize = 128;

/// The `WORKGROUP_SIZE` of the kernels.
pub(super) const WORKGROUP_SIZE: &[(&str, f64)] = &[("WORKGROUP_SIZE", LANES as f64)];
/// The same of the sequence kernels.
pub(super) const SEQUENCE_SIZE: &[(&str, f64)] = &[("WORKGROUP_SIZE", SEQUENCE_LANES as f64)];

/// What makes a subgroup kernel one for a sequence.
pub(super) const SUBGROUP_SEQUENCE: &[(&str, f64)] = &[("SEQUENCE", 1.0)];

const BINDINGS: &[(&str, Access)] = &[("wh", Read), ("hidden", ReadWrite)];

static ANY: Kernel =
    Kernel::new::<Params>("rnn", wgsl!("rnn", "stable_tanh"), BINDINGS, WORKGROUP_SIZE);

/// By subgroups, a step at a time or a sequence.
const fn by_subgroups(overrides: &'static [(&'static str, f64)]) -> Kernel {
    let source = wgsl!("rnn_subgroup", "subgroup_tile", "stable_tanh");
    let kernel = Kernel::new::<Params>("rnn_subgroup", source, BINDINGS, overrides);
    subgroup::by_subgroups(kernel)
}

static STEP_BY_SUBGROUPS: Kernel = by_subgroups(&[]);
static SEQUENCE_BY_SUBGROUPS: Kernel =
    by_subgroups(SUBGROUP_SEQUENCE).named("rnn_subgroup_sequence");
static SEQUENCE: Kernel = Kernel::new::<Params>(
    "rnn_sequence",
    wgsl!("rnn_sequence", "stable_tanh"),
    BINDINGS,
    SEQUENCE_SIZE,
);

/// Every variant.
pub static KERNELS: &[&Kernel; 4] = &[&ANY, &SEQUENCE, &STEP_BY_SUBGROUPS, &SEQUENCE_BY_SUBGROUPS];

/// See [`crate::ops::Ops::rnn`].
pub fn rnn(gpu: &mut Gpu, hidden: &mut GpuTensor, wh: &GpuTensor, size: Recurrence) -> Result<()> {
    let slots = (size.time_steps + 1) * size.batch * size.hidden;
    check::at_least("rnn", "hidden", slots, hidden.len())?;
    check::exact("rnn", "wh", size.hidden * size.hidden, wh.len())?;
    let wh = wh.whole("rnn", "wh")?;
    let schedule = Schedule::new(gpu, "rnn", KERNELS, size, &[hidden])?;
    for piece in schedule.pieces() {
        let hidden = schedule.slots(&piece, ("rnn", "hidden"), hidden, piece.end() + 1)?;
        schedule.dispatch(gpu, piece.first, &piece, &[wh, &hidden])?;
    }
    Ok(())
}

/// How a recurrence is cut into dispatches of which kernel.
pub(super) struct Schedule {
    kernel: &'static Kernel,
    switches: u32,
    workgroups: usize,
    steps_a_dispatch: usize,
    /// Slots from whose multiples on bindings begin; none where tensors are bound as a whole.
    aligned_slots: Option<usize>,
    size: Recurrence,
}

/// The time steps of a dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub first: usize,
    pub steps: usize,
    /// The slot that bindings begin with.
    base: usize,
}

impl Piece {
    /// The step behind the last.
    pub fn end(&self) -> usize {
        self.first + self.steps
    }
}

/// Most rows that a sequence kernel is chosen for: 16 workgroups, which small GPUs run at once too.
///
/// A dispatch that depends on the one before costs about 5 µs on a large GPU, and a time step of few
/// rows is less work than that. A sequence kernel pays no dispatch, and as much for a step as one
/// compute unit takes to read Wh: at 64 bytes a cycle 2.5 µs for H = 256, 10 µs for H = 512, more
/// than which its workgroup memory does not hold. With more rows than fit the GPU at once, workgroups
/// take turns, and a step at a time, whose tiles are spread over all units, is the better use of it.
/// (Reckoned for a card of 132 units, not measured.)
const SEQUENCE_ROWS: usize = 64;

/// Most multiply-adds of a time step that a sequence by subgroups is chosen for: about what one core
/// does (at 10 a nanosecond) while the driver's threads wake for a dispatch, which takes some 50 µs.
const SUBGROUP_SEQUENCE_WORK: usize = 1 << 19;

/// Most iterations of a lane in a dispatch, of 64 multiply-adds each (by subgroups, 1,024). Drivers end
/// what takes 2 s, and lavapipe ends the loops of an invocation after 65,535 iterations without a word.
const MAX_ITERATIONS: usize = 1 << 12;

impl Schedule {
    /// For the kernels of one direction: a step at a time for any size, a sequence, and both by subgroups.
    /// All but the first take whole vec4s only. `slots` are the tensors of a slot a time step.
    ///
    /// # Errors
    /// [`crate::Error::Unbindable`] if a binding holds too few slots of one.
    pub fn new(
        gpu: &Gpu,
        op: &'static str,
        [any, sequence, step_by_subgroups, sequence_by_subgroups]: &[&'static Kernel; 4],
        size: Recurrence,
        slots: &[&GpuTensor],
    ) -> Result<Self> {
        let suited = if gpu.is_software() {
            if !gpu.can_run(step_by_subgroups) {
                any
            } else if size.batch * size.hidden * size.hidden <= SUBGROUP_SEQUENCE_WORK {
                sequence_by_subgroups
            } else {
                step_by_subgroups
            }
        } else if size.batch <= SEQUENCE_ROWS && size.time_steps > 1 {
            sequence
        } else {
            any
        };
        let name = gpu.forced_variant(op).unwrap_or(suited).name;
        let (rows, vec4s) = (size.batch.div_ceil(ROWS), size.hidden / 4);
        let whole_vec4s = size.hidden.is_multiple_of(4);
        // Of a sequence by subgroups, a step: sums, and rows that are stored.
        let across = subgroup::tiles(1, size.hidden);
        let iterations = across * (vec4s + subgroup::ROWS);
        let fits = iterations <= MAX_ITERATIONS;
        let (kernel, workgroups, steps_a_dispatch) =
            if name == step_by_subgroups.name && whole_vec4s {
                let tiles = subgroup::tiles(size.batch, size.hidden);
                (step_by_subgroups, tiles, 1)
            } else if name == sequence_by_subgroups.name && whole_vec4s && fits {
                let steps = MAX_ITERATIONS / iterations.max(1);
                (sequence_by_subgroups, subgroup::tiles(size.batch, 1), steps)
            } else if name == sequence.name && whole_vec4s && vec4s <= SEQUENCE_LANES {
                (sequence, rows, MAX_ITERATIONS / vec4s.max(1))
            } else {
                let tiles = rows * size.hidden.div_ceil(4);
                (any, tiles.div_ceil(LANES), 1)
            };
        let switches = kernel.setting(&subgroup::switches(size.batch));
        let mut schedule = Schedule {
            kernel,
            switches,
            workgroups,
            steps_a_dispatch,
            aligned_slots: None,
            size,
        };
        for tensor in slots.iter().filter(|t| t.whole(op, "slots").is_err()) {
            schedule.fit(op, tensor)?;
        }
        Ok(schedule)
    }

    /// Takes as many steps at once as can be bound of the slots of `tensor`: one more than them, and
    /// those before that alignment needs.
    fn fit(&mut self, op: &'static str, tensor: &GpuTensor) -> Result<()> {
        let slot = self.size.batch * self.size.hidden;
        let aligned = aligned_rows(slot);
        let steps = (tensor.bindable() / slot.max(1)).saturating_sub(aligned);
        if steps == 0 {
            return Err(tensor.unbindable(op, "time steps", (aligned + 1) * slot));
        }
        self.aligned_slots = Some(aligned);
        self.steps_a_dispatch = self.steps_a_dispatch.min(steps);
        Ok(())
    }

    /// The steps of each dispatch, in the order of time.
    pub fn pieces(&self) -> impl DoubleEndedIterator<Item = Piece> + use<> {
        let (all, most) = (self.size.time_steps, self.steps_a_dispatch);
        let aligned = self.aligned_slots;
        (0..all).step_by(most).map(move |first| Piece {
            first,
            steps: most.min(all - first),
            base: aligned.map_or(0, |slots| first / slots * slots),
        })
    }

    /// What binds the slots of a tensor from the base of `piece` to `end`.
    pub fn slots(
        &self,
        piece: &Piece,
        operand: (&'static str, &'static str),
        tensor: &GpuTensor,
        end: usize,
    ) -> Result<Buffer> {
        if self.aligned_slots.is_none() {
            return tensor.whole(operand.0, operand.1).cloned();
        }
        let slot = self.size.batch * self.size.hidden;
        tensor.from(operand, piece.base * slot, end * slot)
    }

    /// Records the dispatch of the steps of `piece`, of which the kernel begins with `first`.
    pub fn dispatch(
        &self,
        gpu: &mut Gpu,
        first: usize,
        piece: &Piece,
        buffers: &[&Buffer],
    ) -> Result<()> {
        let Recurrence {
            time_steps,
            batch,
            hidden,
        } = self.size;
        let params = Params {
            first_step: (first - piece.base) as u32,
            steps: piece.steps as u32,
            time_steps: (time_steps - piece.base) as u32,
            batch: batch as u32,
            hidden: hidden as u32,
            first_workgroup: 0,
        };
        let slot = batch * hidden;
        let flops = 2 * piece.steps * slot * (hidden + 1);
        let work = Work::of(flops, hidden * hidden + (2 * piece.steps + 1) * slot);
        let (kernel, switches) = (self.kernel, self.switches);
        gpu.dispatch_switched(kernel, switches, &params, buffers, self.workgroups, work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_of_a_schedule_cover_every_step_once() {
        for (time_steps, steps_a_dispatch) in [(0, 3), (1, 3), (3, 3), (7, 3), (64, 64), (5, 1)] {
            let schedule = Schedule {
                kernel: &ANY,
                switches: 0,
                workgroups: 1,
                steps_a_dispatch,
                aligned_slots: Some(2),
                size: Recurrence {
                    time_steps,
                    batch: 1,
                    hidden: 1,
                },
            };
            let mut next = 0;
            for piece in schedule.pieces() {
                assert_eq!(piece.first, next);
                assert!((1..=steps_a_dispatch).contains(&piece.steps));
                assert_eq!(piece.base, next - next % 2);
                next = piece.end();
            }
            assert_eq!(next, time_steps);
        }
    }
}
