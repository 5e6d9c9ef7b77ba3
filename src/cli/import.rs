//! `bptt import`: weights that were trained in PyTorch become a run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::terminal::note;
use crate::checkpoint::{Checkpoint, NewFolder};
use crate::config::Config;
use crate::data::Tokenizer;
use crate::error::{Error, Result};
use crate::interchange::pytorch::{self, Imported, Rename};
use crate::run::Run;

/// The flags of `bptt import`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Weights of nn.Embedding, nn.RNN and nn.Linear, as safetensors: encoder.weight,
    /// rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0, rnn.bias_hh_l0, decoder.weight and
    /// decoder.bias
    weights: PathBuf,
    /// The vocabulary: a tokenizer.json as `bptt train` writes it
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    /// Folder of the run, which must not exist yet
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Put NEW for OLD at the beginning of tensors' names, as in --map lstm.=rnn. ; may be repeated
    /// [default: names as they are]
    #[arg(long, value_name = "OLD=NEW")]
    map: Vec<Rename>,
    /// What becomes of the two biases of nn.RNN: one, their sum, or both are kept, and trained as
    /// nn.RNN's are (--rnn-biases 2)
    #[arg(long, value_enum, default_value_t)]
    biases: Biases,
}

/// The value of `--biases`.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Biases {
    /// One: their sum.
    #[default]
    Sum,
    /// Both.
    Keep,
}

/// Makes the run.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let biases = match arguments.biases {
        Biases::Sum => 1,
        Biases::Keep => 2,
    };
    let Imported {
        weights,
        size,
        notes,
    } = read_weights(&arguments.weights, &arguments.map, biases)?;
    notes.iter().for_each(|line| note(line));
    let path = &arguments.tokenizer;
    let vocabulary = Tokenizer::read(path)?;
    if vocabulary.len() != size.vocab {
        let (found, needed) = (vocabulary.len(), size.vocab);
        let what = format!("it has {found} tokens, encoder.weight has {needed} rows");
        return Err(import(path, what));
    }
    let config = Config {
        level: vocabulary.level(),
        emsize: size.embedding,
        nhid: size.hidden,
        rnn_biases: size.biases,
        ..Config::default()
    };
    let folder = NewFolder::prepare(&arguments.out)?;
    let checkpoint = Checkpoint {
        config,
        vocabulary,
        weights,
        state: None,
    };
    let run = Run::create(folder, checkpoint)?;
    note(&format!(
        "model:  {} parameters: {}",
        size.parameters(),
        size.describe()
    ));
    let run = run.path().display();
    note(&format!(
        "saved in {run}; for text, bptt generate {run}; to train it, bptt train --init-from {run}"
    ));
    Ok(ExitCode::SUCCESS)
}

/// Reads weights of PyTorch's as those of a model with so many biases.
///
/// # Errors
/// [`Error::Read`], [`Error::Import`] for what is not such a model.
pub fn read_weights(path: &Path, renames: &[Rename], biases: usize) -> Result<Imported> {
    let bytes = std::fs::read(path).map_err(Error::read(path))?;
    pytorch::read(&bytes, renames, biases).map_err(|what| import(path, what))
}

fn import(path: &Path, what: String) -> Error {
    let path = path.to_owned();
    Error::Import { path, what }
}
