//! `bptt inspect`: what is in a run, a checkpoint or a file of weights.

use std::path::PathBuf;
use std::process::ExitCode;

use super::progress::{duration, thousands};
use super::terminal::{complain, plain, print, print_json};
use crate::error::{Error, Result};
use crate::inspect::{Model, Report, Tensor, Training};

/// The flags of `bptt inspect`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A run, a checkpoint, or a safetensors file
    path: PathBuf,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Prints what there is; 1 if a file is not what was written.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let report = Report::of(&arguments.path)?;
    match arguments.json {
        true => print_json(&report)?,
        false => print(&plain(&text(&report)))?,
    }
    let mut sound = true;
    for (path, what) in report.damaged() {
        complain(&Error::run(path, what.to_owned()));
        sound = false;
    }
    Ok(ExitCode::from(u8::from(!sound)))
}

fn text(report: &Report) -> String {
    let written = report.bptt.as_ref();
    let written = written.map_or(String::new(), |v| format!(", written by bptt {v}"));
    let mut lines = vec![format!("{}{written}", report.path.display())];
    lines.extend(report.model.iter().flat_map(model));
    lines.extend(report.training.as_ref().map(training));
    lines.push(files(report));
    // A table for each file, with its sums.
    for tensors in report.tensors.chunk_by(|a, b| a.file == b.file) {
        lines.push(String::new());
        lines.extend(table(tensors));
    }
    lines.join("\n") + "\n"
}

fn model(model: &Model) -> [String; 2] {
    let Model { size, plan, .. } = model;
    let parameters = thousands(model.parameters as f64);
    let (sizes, batch, time_steps) = (size.describe(), size.batch, size.time_steps);
    [
        format!("model:   {parameters} parameters: {sizes}"),
        format!("memory:  {plan} (to train with N={batch} T={time_steps})"),
    ]
}

fn training(training: &Training) -> String {
    let best = match training.best {
        Some(best) => format!(
            "best validation loss {:.4} at step {}",
            best.loss, best.step
        ),
        None => "never validated".to_owned(),
    };
    format!(
        "trained: step {}, {} epochs done, {best}; {} on {}",
        training.step,
        training.epoch,
        duration(training.seconds),
        training.device
    )
}

fn files(report: &Report) -> String {
    let count = report.files.len();
    match (count, report.damaged().count()) {
        (0, _) => "files:   no manifest to compare with".to_owned(),
        (_, 0) => format!("files:   all {count} are as they were written (size, SHA-256)"),
        (_, damaged) => format!("files:   {damaged} of {count} damaged"),
    }
}

/// The tensors of a file, and the sums of what can be summed.
fn table(tensors: &[Tensor]) -> Vec<String> {
    let file = tensors.first().map_or("", |tensor| &tensor.file);
    let head = [
        file, "type", "shape", "count", "min", "max", "mean", "norm", "NaN", "Inf",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(tensors.iter().map(row));
    let values = || tensors.iter().filter_map(|t| t.values.as_ref());
    let squares: f64 = values().map(|v| v.norm * v.norm).sum();
    let count: usize = tensors.iter().map(|t| t.count).sum();
    let mut total = <[String; 10]>::default();
    total[0] = "total".to_owned();
    total[3] = thousands(count as f64);
    total[7] = number(Some(squares.sqrt()));
    total[8] = values().map(|v| v.nan).sum::<usize>().to_string();
    total[9] = values().map(|v| v.inf).sum::<usize>().to_string();
    rows.push(total);
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &[String; 10]| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, &width))| match column {
            // Names and shapes begin together, numbers end together.
            0..=2 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn row(tensor: &Tensor) -> [String; 10] {
    let values = tensor.values.as_ref();
    let float = |value: fn(&crate::inspect::Values) -> Option<f64>| number(values.and_then(value));
    let count = |count: Option<usize>| count.map_or("-".to_owned(), |count| count.to_string());
    [
        tensor.name.clone(),
        tensor.dtype.clone(),
        format!("{:?}", tensor.shape),
        thousands(tensor.count as f64),
        float(|v| v.min),
        float(|v| v.max),
        float(|v| v.mean),
        float(|v| Some(v.norm)),
        count(values.map(|v| v.nan)),
        count(values.map(|v| v.inf)),
    ]
}

/// Four digits, whatever the size; a dash for none.
fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value == 0.0 || (1e-3..1e4).contains(&value.abs()) => format!("{value:.4}"),
        Some(value) => format!("{value:.3e}"),
    }
}
