//! `bptt export`: a model for other programs.

use std::path::PathBuf;
use std::process::ExitCode;

use super::terminal::note;
use crate::checkpoint::{Checkpoint, folder};
use crate::device::plan::mebibytes;
use crate::error::{Error, Result};
use crate::interchange::onnx;
use crate::run;

/// The flags of `bptt export`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder of the trained model: a run, of which the best checkpoint is taken, or a checkpoint
    run: PathBuf,
    /// File to write as ONNX: token ids [T, N] and a state [1, N, H] in, logits [T, N, V] and the
    /// state after them out
    #[arg(long, value_name = "FILE")]
    onnx: PathBuf,
}

/// Writes the file.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let path = run::model_of(&arguments.run)?;
    let checkpoint = Checkpoint::read(&path)?;
    let file = &arguments.onnx;
    let bytes = onnx::model(&checkpoint, file)?;
    folder::replace(file, &bytes).map_err(|error| match error {
        Error::Write { path, source } => Error::Export { path, source },
        other => other,
    })?;
    note(&format!(
        "{} written to {} ({:.1} MiB)",
        path.display(),
        file.display(),
        mebibytes(bytes.len() as u64)
    ));
    Ok(ExitCode::SUCCESS)
}
