//! How fast a training step is, where its time goes, and what the device could do at best.

mod ceilings;
pub mod growth;
mod training;
mod workloads;

use std::time::{Duration, Instant};

use serde::Serialize;

pub use training::{Training, tokens};
pub use workloads::{EVERYDAY, FOR_LARGE_GPUS, Workload, size_of_workload, workloads};

use crate::device::profiled::{Call, Cost, Profiled};
use crate::device::stopwatch::{Clock, Stopwatch};
use crate::device::{Device as _, Element, MemoryPlan, Planner};
use crate::error::Result;
use crate::model::{ModelSize, RnnLm};
use crate::optimizer::{Optimizer, Rule};

/// Most rounds in which plain steps and profiled ones take turns.
const MAX_ROUNDS: usize = 20;
/// Fewest steps of a round, where there are as many: waiting for the device at its end counts.
const STEPS_A_ROUND: usize = 4;

/// How long each thing is timed.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Fewest repetitions; of the step, each plain and profiled.
    pub repetitions: usize,
    /// Shortest time, which adds repetitions.
    pub at_least: Duration,
}

impl Timing {
    /// For figures that are to be compared.
    pub const THOROUGH: Timing = Timing {
        repetitions: 5,
        at_least: Duration::from_millis(1500),
    };

    /// `steps` steps, and five repetitions of other things.
    pub const fn of_steps(steps: usize) -> Timing {
        Timing {
            repetitions: steps,
            at_least: Duration::ZERO,
        }
    }
}

/// What was measured. Times are medians, ceilings the best of some repetitions.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The device in words.
    pub device: String,
    /// What the ops were timed by.
    pub clock: Clock,
    /// The sizes.
    pub size: ModelSize,
    /// Steps that were profiled; as many were timed without.
    pub steps: usize,
    /// Bytes of the tensors of model and optimizer.
    pub memory: MemoryPlan,
    /// Seconds until the first step was done, everything compiled.
    pub first_step_seconds: f64,
    /// Seconds of a step that is not profiled, steps following each other without a wait.
    pub step_seconds: f64,
    /// Tokens per second.
    pub tokens_per_second: f64,
    /// Floating-point operations of a step's products, per second.
    pub gflops: f64,
    /// Speed of a large square product, in GFLOP/s.
    pub ceiling_gflops: f64,
    /// Speed of a large copy, in GB/s read and written.
    pub ceiling_gbytes: f64,
    /// Every op, the most expensive first.
    pub ops: Vec<OpTime>,
    /// The step's time less that of all ops: the host, uploads, launches and the gaps between
    /// ops. Below zero where timing an op costs more than that.
    pub outside_ops_seconds: f64,
}

/// What an op at one size takes of a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OpTime {
    /// The op.
    pub op: &'static str,
    /// The kernels that did it; none on the CPU.
    pub kernels: Vec<&'static str>,
    /// Its size, in words.
    pub size: String,
    /// Calls in a step.
    pub calls: f64,
    /// Dispatches in a step; 0 on the CPU.
    pub dispatches: f64,
    /// Seconds in a step.
    pub seconds: f64,
    /// Floating-point operations in a step: additions, multiplications, divisions and elementary
    /// functions, each counted as one; 0 for an op that only moves data.
    pub flops: f64,
    /// Bytes read and written in a step, each tensor counted once a call.
    pub bytes: f64,
    /// Operations per second.
    pub gflops: f64,
    /// Bytes per second.
    pub gbytes: f64,
    /// `gflops` as a share of the ceiling of products.
    pub of_products: f64,
    /// `gbytes` as a share of the ceiling of copies; beyond 1 where caches hold the tensors.
    pub of_copies: f64,
}

/// Measures training steps of a model of `size` on `ops`, updated by `rule`, with gradients clipped to
/// `clip` if there is one.
///
/// Plain steps and profiled ones take turns, so that whatever else slows the machine slows both.
///
/// # Errors
/// As [`crate::device::Device::alloc`] and the ops.
pub fn measure<O: Stopwatch>(
    ops: &mut O,
    size: ModelSize,
    rule: Rule,
    clip: Option<f32>,
    timing: Timing,
) -> Result<Report> {
    let mut ops = Profiled::new(ops);
    let begun = Instant::now();
    let mut training = Training::with_update(&mut ops, size, rule, clip)?;
    let compiling = training.seconds_a_step(&mut ops, 1)?;
    let first_step_seconds = begun.elapsed().as_secs_f64();
    let warm = training.seconds_a_step(&mut ops, 2)?.min(compiling);

    let steps = timing.repetitions.max(1);
    let steps = steps.max((timing.at_least.as_secs_f64() / warm) as usize);
    let rounds = steps.div_ceil(STEPS_A_ROUND).min(MAX_ROUNDS);
    let mut plain = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let block = steps * (round + 1) / rounds - steps * round / rounds;
        plain.push(training.seconds_a_step(&mut ops, block)?);
        ops.timing = true;
        for _ in 0..block {
            training.step(&mut ops)?;
            ops.end_step()?;
        }
        ops.timing = false;
    }
    drop(training);
    let costs = std::mem::take(&mut ops.costs);
    let repeated = Timing {
        repetitions: Timing::THOROUGH.repetitions,
        ..timing
    };
    let ceilings = (
        ceilings::of_products(&mut ops, repeated)?,
        ceilings::of_copies(&mut ops, repeated)?,
    );
    let time = |(call, cost)| op_time(call, cost, steps, ceilings);
    let mut times: Vec<OpTime> = costs.into_iter().map(time).collect();
    times.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let step_seconds = median(plain);
    let in_ops: f64 = times.iter().map(|op| op.seconds).sum();
    Ok(Report {
        device: ops.describe(),
        clock: ops.clock(),
        size,
        steps,
        memory: memory::<O::Elem>(size, rule, clip)?,
        first_step_seconds,
        step_seconds,
        tokens_per_second: size.rows() as f64 / step_seconds,
        gflops: size.flops_per_step() / step_seconds / 1e9,
        ceiling_gflops: ceilings.0,
        ceiling_gbytes: ceilings.1,
        ops: times,
        outside_ops_seconds: step_seconds - in_ops,
    })
}

/// What the model and its optimizer take.
fn memory<F: Element>(size: ModelSize, rule: Rule, clip: Option<f32>) -> Result<MemoryPlan> {
    let mut planner = Planner::<F>::default();
    let model = RnnLm::new(&mut planner, size, true)?;
    Optimizer::new(&mut planner, &model, rule, clip)?;
    Ok(planner.into_plan())
}

fn op_time(call: Call, cost: Cost, steps: usize, (products, copies): (f64, f64)) -> OpTime {
    let a_step = |total: f64| total / steps as f64;
    let steps_with = cost.seconds.len();
    let seconds = a_step(median(cost.seconds) * steps_with as f64);
    let (flops, bytes) = (a_step(cost.flops), a_step(cost.bytes));
    // A clock may be too coarse for the smallest ops.
    let rate = |amount: f64| match seconds > 0.0 {
        true => amount / seconds / 1e9,
        false => 0.0,
    };
    let (gflops, gbytes) = (rate(flops), rate(bytes));
    OpTime {
        op: call.op,
        kernels: cost.kernels,
        size: call.size,
        calls: a_step(cost.calls as f64),
        dispatches: a_step(cost.dispatches as f64),
        seconds,
        flops,
        bytes,
        gflops,
        gbytes,
        of_products: gflops / products,
        of_copies: gbytes / copies,
    }
}

/// The median; 0 of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
