//! `bptt bench`: how fast a training step is, and where its time goes.

use std::process::ExitCode;

use super::on_device::{Job, on_device};
use super::progress::thousands;
use super::terminal::{print, print_json};
use crate::bench::{OpTime, Report, measure};
use crate::device::adapter::DeviceChoice;
use crate::error::Result;
use crate::model::ModelSize;
use crate::parity::Subject;

/// The flags of `bptt bench`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Vocabulary (V)
    #[arg(long, value_name = "V", default_value_t = 65)]
    vocab_size: usize,
    /// Size of the embedding (D)
    #[arg(long, value_name = "D", default_value_t = 64)]
    emsize: usize,
    /// Hidden units (H)
    #[arg(long, value_name = "H", default_value_t = 256)]
    nhid: usize,
    /// Parallel streams (N)
    #[arg(long, value_name = "N", default_value_t = 32)]
    batch_size: usize,
    /// Time steps of a window (T)
    #[arg(long, value_name = "T", default_value_t = 64)]
    bptt: usize,
    /// Where to run: auto, cpu, gpu, gpu:N or gpu:NAME
    #[arg(long, default_value_t)]
    device: DeviceChoice,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let size = ModelSize {
        vocab: arguments.vocab_size,
        embedding: arguments.emsize,
        hidden: arguments.nhid,
        batch: arguments.batch_size,
        time_steps: arguments.bptt,
    };
    size.check()?;
    let plan = size.plan::<f32>()?;
    let report = on_device(&arguments.device, Some(&plan), Measurement(size))?;
    if arguments.json {
        print_json(&report)?;
    } else {
        print(&table(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}

struct Measurement(ModelSize);

impl Job for Measurement {
    type Output = Report;

    fn run<O: Subject>(self, ops: &mut O) -> Result<Report> {
        measure(ops, self.0)
    }
}

fn table(report: &Report) -> String {
    let mut text = format!(
        "step {:.3} ms, {} tokens/s, {:.1} GFLOP/s; first step after {:.2} s\n\
         ceilings: a large product {:.1} GFLOP/s, a large copy {:.1} GB/s\n\n\
         {:<22} {:<28} {:>5} {:>9} {:>6} {:>9} {:>7} {:>10}\n",
        1e3 * report.step_seconds,
        thousands(report.tokens_per_second),
        report.gflops,
        report.first_step_seconds,
        report.ceiling_gflops,
        report.ceiling_gbytes,
        "op",
        "size",
        "calls",
        "ms",
        "share",
        "GFLOP/s",
        "GB/s",
        "of ceiling"
    );
    let total: f64 = report.ops.iter().map(|op| op.seconds).sum();
    for op in &report.ops {
        text += &line(op, total);
    }
    text
}

fn line(op: &OpTime, total: f64) -> String {
    format!(
        "{:<22} {:<28} {:>5.0} {:>9.3} {:>5.1}% {:>9.1} {:>7.1} {:>9.0}%\n",
        op.op,
        op.size,
        op.calls,
        1e3 * op.seconds,
        100.0 * op.seconds / total,
        op.gflops,
        op.gbytes,
        100.0 * op.of_ceiling
    )
}
