//! The table of a profile, and the profile of a training run.

use std::path::Path;

use super::progress::thousands;
use super::terminal::note;
use crate::bench::{OpTime, Report, Timing, measure};
use crate::checkpoint::folder;
use crate::config::Config;
use crate::data::Corpus;
use crate::device::stopwatch::Stopwatch;
use crate::error::Result;
use crate::plot;

/// Steps that are profiled unless asked otherwise.
pub const STEPS: &str = "20";
/// The files of a profile in the folder of a run.
const PROFILE: &str = "profile.json";
const ROOFLINE: &str = "roofline.svg";

/// Profiles `steps` steps, if any, of a model of a run's sizes, on text and weights of its own: the
/// run itself is what it would have been. Prints the table.
pub fn of_twin<O: Stopwatch>(
    ops: &mut O,
    config: &Config,
    corpus: &Corpus,
    steps: Option<u32>,
) -> Result<Option<Report>> {
    let Some(steps) = steps else { return Ok(None) };
    note(&format!("profile of {steps} steps, before training:"));
    let size = config.model_size(corpus.vocabulary.len());
    let timing = Timing::of_steps(steps as usize);
    let report = measure(ops, size, config.rule(), config.max_norm(), timing)?;
    note(&table(&report));
    Ok(Some(report))
}

/// Writes the profile and its picture into the folder of a run.
pub fn write(report: &Report, run: &Path) -> Result<()> {
    folder::replace_json(&run.join(PROFILE), report)?;
    plot::roofline(&run.join(ROOFLINE), report)
}

/// The report in words: the step, the ceilings, memory, and a line an op.
pub fn table(report: &Report) -> String {
    let names: Vec<String> = report.ops.iter().map(name).collect();
    let width = |texts: &mut dyn Iterator<Item = &str>| {
        let widths = texts.map(|text| text.chars().count());
        widths.max().unwrap_or(0).max(OUTSIDE.len())
    };
    let widths = (
        width(&mut names.iter().map(String::as_str)),
        width(&mut report.ops.iter().map(|op| op.size.as_str())),
    );
    let mut text = format!(
        "step {:.3} ms, {} tokens/s, {:.1} GFLOP/s; first step after {:.2} s\n\
         ceilings: a large product {:.1} GFLOP/s, a large copy {:.1} GB/s\n\
         memory: {}\n\
         ops timed by {}, in {} steps\n\n",
        1e3 * report.step_seconds,
        thousands(report.tokens_per_second),
        report.gflops,
        report.first_step_seconds,
        report.ceiling_gflops,
        report.ceiling_gbytes,
        report.memory,
        report.clock,
        report.steps,
    );
    let head = ["calls", "dispatches", "ms", "of step"];
    let rates = ["GFLOP/s", "of product", "GB/s", "of copy"];
    text += &row(
        widths,
        ("op", "size"),
        head.map(str::to_owned),
        rates.map(str::to_owned),
    );
    for (op, name) in report.ops.iter().zip(&names) {
        text += &line(widths, name, op, report.step_seconds);
    }
    let [ms, share] = time(report.outside_ops_seconds, report.step_seconds);
    let dash = || "-".to_owned();
    let cells = [dash(), dash(), ms, share];
    text + &row(
        widths,
        (OUTSIDE, ""),
        cells,
        [dash(), dash(), dash(), dash()],
    )
}

/// What is left of the step.
const OUTSIDE: &str = "outside the ops";

/// The kernels that did an op; the op where there are none.
fn name(op: &OpTime) -> String {
    match op.kernels.as_slice() {
        [] => op.op.to_owned(),
        kernels => kernels.join("+"),
    }
}

fn line(widths: (usize, usize), name: &str, op: &OpTime, step_seconds: f64) -> String {
    let [ms, share] = time(op.seconds, step_seconds);
    // An op that some steps do without has no whole number of calls.
    let count = |count: f64| match count {
        0.0 => "-".to_owned(),
        whole if whole.fract() == 0.0 => format!("{whole:.0}"),
        part => format!("{part:.2}"),
    };
    let rate = |rate: f64, share: f64| match rate {
        0.0 => ["-".to_owned(), "-".to_owned()],
        _ => [format!("{rate:.1}"), format!("{:.1}%", 100.0 * share)],
    };
    let [gflops, of_products] = rate(op.gflops, op.of_products);
    let [gbytes, of_copies] = rate(op.gbytes, op.of_copies);
    let cells = [count(op.calls), count(op.dispatches), ms, share];
    row(
        widths,
        (name, &op.size),
        cells,
        [gflops, of_products, gbytes, of_copies],
    )
}

fn time(seconds: f64, step_seconds: f64) -> [String; 2] {
    let share = 100.0 * seconds / step_seconds;
    [format!("{:.3}", 1e3 * seconds), format!("{share:.1}%")]
}

fn row(
    (name_width, size_width): (usize, usize),
    (name, size): (&str, &str),
    [calls, dispatches, ms, share]: [String; 4],
    [gflops, of_products, gbytes, of_copies]: [String; 4],
) -> String {
    format!(
        "{name:<name_width$} {size:<size_width$} {calls:>5} {dispatches:>10} {ms:>9} {share:>7} \
         {gflops:>9} {of_products:>10} {gbytes:>7} {of_copies:>8}\n"
    )
}
