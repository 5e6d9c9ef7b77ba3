//! `bptt bench`: how fast a training step is, and where its time goes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValuesParser;

use super::on_device::{Job, Place, on_device};
use super::profile::table;
use super::terminal::{print, print_json};
use crate::bench::growth::{self, BASE, Growth};
use crate::bench::{Report, Timing, measure, size_of_workload, workloads};
use crate::error::{Error, Result, require};
use crate::fit::{Need, Use};
use crate::model::ModelSize;
use crate::optimizer::Rule;
use crate::parity::Subject;
use crate::plot;

/// How each point of a growth is timed.
const GROWTH: Timing = Timing {
    repetitions: 8,
    at_least: Duration::from_millis(800),
};

/// The flags of `bptt bench`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Sizes to begin with; each can be set by its own flag [default: char, with --growth sizes of
    /// its own]
    #[arg(long, value_name = "NAME", value_parser = names())]
    workload: Option<String>,
    /// Tokens in the vocabulary (V) [default: the workload's]
    #[arg(long, value_name = "V")]
    vocab_size: Option<usize>,
    /// Size of the embedding (D): numbers a token [default: the workload's]
    #[arg(long, value_name = "D")]
    emsize: Option<usize>,
    /// Hidden units (H) [default: the workload's]
    #[arg(long, value_name = "H")]
    nhid: Option<usize>,
    /// Parallel streams (N) [default: the workload's]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Time steps of a window (T) [default: the workload's]
    #[arg(long, value_name = "T")]
    bptt: Option<usize>,
    #[command(flatten)]
    place: Place,
    /// Time steps and memory as N, T, H and V each alone double five times, instead of single ops
    #[arg(long, conflicts_with = "roofline")]
    growth: bool,
    /// Draw every op's speed under the device's ceilings, as SVG [default: not drawn]
    #[arg(long, value_name = "FILE")]
    roofline: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

fn names() -> PossibleValuesParser {
    workloads().map(|w| w.name).collect::<Vec<_>>().into()
}

impl Arguments {
    /// The workload's sizes, where no flag sets another.
    fn size(&self) -> ModelSize {
        let default = match self.growth {
            true => Some(BASE),
            false => size_of_workload("char"),
        };
        let named = self.workload.as_deref().and_then(size_of_workload);
        // The names are those that the command line takes.
        let base = named.or(default).unwrap_or(BASE);
        ModelSize {
            vocab: self.vocab_size.unwrap_or(base.vocab),
            embedding: self.emsize.unwrap_or(base.embedding),
            hidden: self.nhid.unwrap_or(base.hidden),
            batch: self.batch_size.unwrap_or(base.batch),
            time_steps: self.bptt.unwrap_or(base.time_steps),
            ..base
        }
    }
}

/// Measures and prints.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let size = arguments.size();
    size.check()?;
    if arguments.growth {
        measure_growth(arguments, size)?;
    } else {
        measure_step(arguments, size)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn measure_step(arguments: &Arguments, size: ModelSize) -> Result<()> {
    if let Some(path) = &arguments.roofline {
        // Before minutes of measuring, not after.
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        let there = folder.is_none_or(Path::is_dir) && !path.is_dir();
        let expected = "a file in a folder that exists";
        require("roofline", path.display(), there, expected)?;
    }
    let report = on_device(&arguments.place, Some(&need(size)), Step(size))?;
    if let Some(path) = &arguments.roofline {
        plot::roofline(path, &report).map_err(Error::of_single_file)?;
    }
    match arguments.json {
        true => print_json(&report),
        false => print(&table(&report)),
    }
}

fn measure_growth(arguments: &Arguments, base: ModelSize) -> Result<()> {
    let mut largest: Option<(u64, ModelSize)> = None;
    for size in growth::largest(base) {
        size.check()?;
        let bytes = size.plan::<f32>()?.total();
        if largest.is_none_or(|(most, _)| bytes > most) {
            largest = Some((bytes, size));
        }
    }
    let need = largest.map(|(_, size)| Need {
        knobs: &[],
        ..need(size)
    });
    let growths = on_device(&arguments.place, need.as_ref(), Doublings(base))?;
    match arguments.json {
        true => print_json(&growths),
        false => print(&growth_table(base, &growths)),
    }
}

/// Training by plain gradient descent.
fn need(size: ModelSize) -> Need {
    Need {
        size,
        of: Use::Train(Box::default()),
        knobs: &["batch-size", "bptt", "nhid", "emsize", "vocab-size"],
    }
}

struct Step(ModelSize);

impl Job for Step {
    type Output = Report;

    fn run<O: Subject>(&mut self, ops: &mut O) -> Result<Report> {
        measure(ops, self.0, Rule::Sgd, None, Timing::THOROUGH)
    }
}

struct Doublings(ModelSize);

impl Job for Doublings {
    type Output = Vec<Growth>;

    fn run<O: Subject>(&mut self, ops: &mut O) -> Result<Vec<Growth>> {
        growth::measure(ops, self.0, GROWTH)
    }
}

/// A line a point, and the exponents of each size.
fn growth_table(base: ModelSize, growths: &[Growth]) -> String {
    let mut text = format!(
        "from V={} D={} H={} N={} T={}\n\n{:<8} {:>10} {:>7} {:>9} {:>10} {:>7}\n",
        base.vocab,
        base.embedding,
        base.hidden,
        base.batch,
        base.time_steps,
        "size",
        "ms a step",
        "times",
        "GFLOP/s",
        "MiB",
        "times"
    );
    for growth in growths {
        let mut before = None;
        for point in &growth.points {
            let size = format!("{}={}", growth.along, point.value);
            let (seconds, bytes) = (point.step_seconds, point.bytes as f64);
            let times = |now: f64, before: Option<f64>| match before {
                Some(before) => format!("{:.2}", now / before),
                None => "-".to_owned(),
            };
            text += &format!(
                "{size:<8} {:>10.3} {:>7} {:>9.1} {:>10.2} {:>7}\n",
                1e3 * seconds,
                times(seconds, before.map(|b: (f64, f64)| b.0)),
                point.flops / seconds / 1e9,
                bytes / f64::from(1 << 20),
                times(bytes, before.map(|b| b.1)),
            );
            before = Some((seconds, bytes));
        }
        text += &format!(
            "at last: time ∝ {along}^{:.2}, operations ∝ {along}^{:.2}, memory ∝ {along}^{:.2}\n\n",
            growth.time_exponent,
            growth.flops_exponent,
            growth.memory_exponent,
            along = growth.along,
        );
    }
    text
}
