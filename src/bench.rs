//! How fast a training step is, where its time goes, and what the device could do at best.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::device::Purpose;
use crate::device::profiled::{Call, Cost, Profiled};
use crate::error::Result;
use crate::model::{ModelSize, RnnLm};
use crate::ops::{Matrix, Ops, Write};
use crate::optimizer::Sgd;

/// How long each thing is timed.
const TIMED: Duration = Duration::from_millis(1500);
/// Fewest repetitions of a timing.
const REPETITIONS: usize = 5;
/// Side of the square product whose speed counts as the ceiling of products.
const CEILING_SIDE: usize = 1024;
/// Elements of the copy whose speed counts as the ceiling of memory: 32 MiB from and to.
const CEILING_COPY: usize = 8 << 20;
/// Different windows that the steps take in turn.
const WINDOWS: usize = 8;

/// What was measured. Times are medians.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The device in words.
    pub device: String,
    /// Seconds until the first step was done, everything compiled.
    pub first_step_seconds: f64,
    /// Seconds of a step, steps following each other without a wait.
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
}

/// What an op at one size takes of a step.
#[derive(Debug, Clone, Serialize)]
pub struct OpTime {
    /// The op.
    pub op: &'static str,
    /// Its size, in words.
    pub size: String,
    /// Calls in a step.
    pub calls: f64,
    /// Seconds in a step, waiting for each call.
    pub seconds: f64,
    /// Of its products; 0 for an op without.
    pub gflops: f64,
    /// Bytes read and written, each tensor counted once.
    pub gbytes: f64,
    /// The larger of its shares of the two ceilings.
    pub of_ceiling: f64,
}

/// Measures training steps of a model of `size` on `ops`.
///
/// # Errors
/// As [`crate::device::Device::alloc`] and the ops.
pub fn measure<O: Ops>(ops: &mut O, size: ModelSize) -> Result<Report> {
    let begun = Instant::now();
    let mut training = Training::new(ops, size)?;
    training.step(ops)?;
    ops.finish()?;
    let first_step_seconds = begun.elapsed().as_secs_f64();
    let step_seconds = training.seconds_a_step(ops)?;
    drop(training);
    let ceiling_gflops = ceiling_of_products(ops)?;
    let ceiling_gbytes = ceiling_of_copies(ops)?;

    let device = ops.describe();
    let mut profiled = Profiled::new(ops);
    let mut training = Training::new(&mut profiled, size)?;
    training.step(&mut profiled)?;
    profiled.costs.clear();
    let steps = training.steps;
    training.seconds_a_step(&mut profiled)?;
    let steps = (training.steps - steps) as f64;
    let time = |(call, cost)| op_time(call, cost, steps, ceiling_gflops, ceiling_gbytes);
    let mut times: Vec<OpTime> = profiled.costs.into_iter().map(time).collect();
    times.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    Ok(Report {
        device,
        first_step_seconds,
        step_seconds,
        tokens_per_second: size.rows() as f64 / step_seconds,
        gflops: size.flops_per_step() / step_seconds / 1e9,
        ceiling_gflops,
        ceiling_gbytes,
        ops: times,
    })
}

/// A model under training on text that needs no source.
#[derive(Debug)]
pub struct Training<O: Ops> {
    model: RnnLm<O>,
    sgd: Sgd<O>,
    windows: Vec<Vec<u32>>,
    steps: usize,
}

impl<O: Ops> Training<O> {
    /// A model of `size` with initial weights.
    ///
    /// # Errors
    /// As [`crate::device::Device::alloc`].
    pub fn new(ops: &mut O, size: ModelSize) -> Result<Self> {
        let mut model = RnnLm::new(ops, size, true)?;
        model.init(ops, 1)?;
        let mut sgd = Sgd::new(ops, &model, None)?;
        sgd.set_rate(ops, 0.1)?;
        Ok(Training {
            model,
            sgd,
            windows: (0..=WINDOWS).map(|salt| tokens(size, salt)).collect(),
            steps: 0,
        })
    }

    /// One step, submitted but not waited for.
    ///
    /// # Errors
    /// As the ops.
    pub fn step(&mut self, ops: &mut O) -> Result<()> {
        let window = self.steps % WINDOWS;
        self.steps += 1;
        let (inputs, targets) = (&self.windows[window], &self.windows[window + 1]);
        self.model.forward(ops, inputs, targets)?;
        self.model.backward(ops)?;
        self.sgd.step(ops, &mut self.model)?;
        ops.submit()
    }

    /// The median over blocks of steps, each block waited for at its end.
    fn seconds_a_step(&mut self, ops: &mut O) -> Result<f64> {
        let begun = Instant::now();
        self.step(ops)?;
        ops.finish()?;
        let estimate = begun.elapsed().as_secs_f64();
        let block = (TIMED.as_secs_f64() / 20.0 / estimate).ceil().max(1.0) as usize;
        let seconds = median_seconds(|| {
            for _ in 0..block {
                self.step(ops)?;
            }
            ops.finish()
        })?;
        Ok(seconds / block as f64)
    }
}

/// Tokens that depend on `salt` and position alone.
pub fn tokens(size: ModelSize, salt: usize) -> Vec<u32> {
    let token = |i: usize| ((i * 7919 + salt * 104_729 + i * i % 31) % size.vocab) as u32;
    (0..size.rows()).map(token).collect()
}

/// The median time of `work`, repeated for a while.
fn median_seconds(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    let mut times = Vec::new();
    while times.len() < REPETITIONS || begun.elapsed() < TIMED {
        let begun = Instant::now();
        work()?;
        times.push(begun.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn ceiling_of_products<O: Ops>(ops: &mut O) -> Result<f64> {
    let square = Matrix::new(CEILING_SIDE, CEILING_SIDE);
    let len = CEILING_SIDE * CEILING_SIDE;
    let a = ops.alloc(Purpose::Scratch, "ceiling", len)?;
    let b = ops.alloc(Purpose::Scratch, "ceiling", len)?;
    let mut c = ops.alloc(Purpose::Scratch, "ceiling", len)?;
    let seconds = median_seconds(|| {
        ops.matmul(
            (&a, square),
            (&b, square),
            None,
            (&mut c, square),
            Write::Overwrite,
        )?;
        ops.finish()
    })?;
    Ok(2.0 * (len * CEILING_SIDE) as f64 / seconds / 1e9)
}

fn ceiling_of_copies<O: Ops>(ops: &mut O) -> Result<f64> {
    let mut tensor = ops.alloc(Purpose::Scratch, "ceiling", 2 * CEILING_COPY)?;
    let seconds = median_seconds(|| {
        ops.copy_within(&mut tensor, 0, CEILING_COPY, CEILING_COPY)?;
        ops.finish()
    })?;
    Ok((2 * CEILING_COPY * size_of::<O::Elem>()) as f64 / seconds / 1e9)
}

fn op_time(call: Call, cost: Cost, steps: f64, gflops: f64, gbytes: f64) -> OpTime {
    let seconds = cost.time.as_secs_f64();
    let (flop_rate, byte_rate) = (cost.flops / seconds / 1e9, cost.bytes / seconds / 1e9);
    OpTime {
        op: call.op,
        size: call.size,
        calls: cost.calls as f64 / steps,
        seconds: seconds / steps,
        gflops: flop_rate,
        gbytes: byte_rate,
        of_ceiling: (flop_rate / gflops).max(byte_rate / gbytes),
    }
}
