//! `bptt generate`: text from a saved model.

use std::path::PathBuf;
use std::process::ExitCode;

use super::on_device::{Job, on_device};
use super::terminal::{note, print};
use crate::checkpoint::Checkpoint;
use crate::data::Level;
use crate::device::adapter::DeviceChoice;
use crate::error::Result;
use crate::generate::{Generator, Sampling};
use crate::parity::Subject;
use crate::run;

/// The temperature of samples unless asked otherwise.
pub const TEMPERATURE: f32 = 0.8;

/// The flags of `bptt generate`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder of the trained model, as `bptt train` names it at its end
    run: PathBuf,
    /// Text to go on from
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    prompt: String,
    /// Tokens to sample: characters, words or those of the tokenizer
    #[arg(long, default_value_t = 500)]
    length: usize,
    /// Below 1 the likely becomes likelier, above 1 less so
    #[arg(long, default_value_t = TEMPERATURE, allow_negative_numbers = true)]
    temperature: f32,
    /// Choose among the K likeliest tokens only; 0 for all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Seed of the choices: the same seed gives the same text
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to run: auto, cpu, gpu, gpu:N or gpu:NAME
    #[arg(long, default_value_t)]
    device: DeviceChoice,
}

/// Prints the prompt and what follows.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let checkpoint = Checkpoint::read(&run::model_of(&arguments.run)?)?;
    let sample = Sample {
        checkpoint: &checkpoint,
        prompt: &arguments.prompt,
        length: arguments.length,
        sampling: Sampling {
            temperature: arguments.temperature,
            top_k: arguments.top_k,
            seed: arguments.seed,
        },
    };
    let (_, unknown) = checkpoint.vocabulary.encode(&arguments.prompt)?;
    if unknown > 0 {
        note(&format!(
            "not in the vocabulary, and read as <unk>: {unknown} of the prompt's words"
        ));
    }
    on_device(&arguments.device, None, sample)?;
    Ok(ExitCode::SUCCESS)
}

/// A sample to print on stdout, token by token.
pub struct Sample<'a> {
    /// The model.
    pub checkpoint: &'a Checkpoint,
    /// What it goes on from.
    pub prompt: &'a str,
    /// Tokens to sample.
    pub length: usize,
    /// How they are chosen.
    pub sampling: Sampling,
}

impl Job for Sample<'_> {
    type Output = ();

    fn run<O: Subject>(self, ops: &mut O) -> Result<()> {
        let mut generator = Generator::new(ops, self.checkpoint, self.prompt, self.sampling)?;
        let vocabulary = &self.checkpoint.vocabulary;
        print(self.prompt)?;
        let between_words = self.prompt.is_empty() || self.prompt.ends_with(char::is_whitespace);
        if vocabulary.level() == Level::Word && !between_words {
            print(" ")?;
        }
        let mut decoder = vocabulary.decoder();
        // How the first token is spelt may depend on what it follows.
        for id in vocabulary.encode(self.prompt)?.0 {
            decoder.push(id)?;
        }
        for _ in 0..self.length {
            let token = generator.next_token(ops)?;
            print(&decoder.push(token)?)?;
        }
        print("\n")
    }
}
