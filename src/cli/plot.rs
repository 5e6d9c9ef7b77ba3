//! `bptt plot`: runs over each other.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::terminal::{note, print};
use crate::error::{Error, Result};
use crate::plot::{self, Curves};
use crate::run;

/// The flags of `bptt plot`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folders of runs
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// SVG file to draw losses, learning rate, gradient norm and speed into [default: plot.svg,
    /// without --terminal]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Draw the losses in the terminal
    #[arg(long)]
    terminal: bool,
}

/// Draws.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let names = names(&arguments.runs);
    let curves = arguments.runs.iter().map(|run| curves(run));
    let curves = curves.collect::<Result<Vec<_>>>()?;
    let runs: Vec<_> = names.into_iter().zip(curves).collect();
    if arguments.terminal {
        print(&plot::in_characters(&runs))?;
    }
    let file = match &arguments.out {
        None if arguments.terminal => None,
        out => Some(out.as_deref().unwrap_or(Path::new("plot.svg"))),
    };
    if let Some(file) = file {
        plot::panels(file, &runs)?;
        note(&format!("drawn to {}", file.display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn curves(run: &Path) -> Result<Curves> {
    match run::read_log(run)?.as_slice() {
        [] => {
            let what = "its log holds nothing yet to draw";
            Err(Error::run(run, what.to_owned()))
        }
        events => Ok(Curves::of(events)),
    }
}

/// The names of the folders; whole paths, where a name would stand for two.
fn names(runs: &[PathBuf]) -> Vec<String> {
    let short = |run: &PathBuf| run.file_name().unwrap_or(run.as_os_str()).to_owned();
    let name = |run: &PathBuf| {
        let same = runs.iter().filter(|other| short(other) == short(run));
        match same.count() {
            1 => short(run).to_string_lossy().into_owned(),
            _ => run.display().to_string(),
        }
    };
    runs.iter().map(name).collect()
}
