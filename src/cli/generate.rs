//! `bptt generate`: text from a saved model.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::RangedU64ValueParser;
use serde_json::json;

use super::on_device::{Job, Place, on_device};
use super::terminal::{note, print};
use super::unknown::describe;
use crate::checkpoint::Checkpoint;
use crate::data::{Decoder, Level, Unknown, unseen};
use crate::error::Result;
use crate::fit::{Need, Use};
use crate::generate::{Generator, MAX_SAMPLES, Sampling};
use crate::model::ModelSize;
use crate::ops::Choice;
use crate::parity::Subject;
use crate::run;

/// The temperature of samples unless asked otherwise.
const TEMPERATURE: f32 = 0.8;

/// How tokens are chosen unless asked otherwise.
pub const CHOICE: Choice = Choice {
    temperature: TEMPERATURE,
    top_k: 0,
    top_p: 1.0,
};

/// What stands between two samples.
const SEPARATOR: &str = "---\n";

/// The flags of `bptt generate`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder of the trained model, as `bptt train` names it at its end, or one of its checkpoints
    run: PathBuf,
    /// Text to go on from [default: none, as at the beginning of a line]
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    prompt: String,
    /// File with the text to go on from; - for the standard input [default: --prompt]
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    prompt_file: Option<PathBuf>,
    /// What to do about characters of the prompt that the model does not know
    #[arg(long, value_enum, default_value_t)]
    unknown: Unknown,
    /// Tokens to sample: characters, words or those of the tokenizer
    #[arg(long, value_name = "TOKENS", default_value_t = 500)]
    length: usize,
    /// Below 1 the likely becomes likelier, above 1 less so; 0 always takes the likeliest
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = TEMPERATURE,
        allow_negative_numbers = true
    )]
    temperature: f32,
    /// Choose among the K likeliest tokens only; 0 for all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Choose among the likeliest tokens only, as few as have the probability P together
    #[arg(
        long,
        value_name = "P",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    top_p: f32,
    /// Seed of the choices: the same seed gives the same text
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Texts to sample, all at once
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=MAX_SAMPLES as u64)
    )]
    samples: usize,
    #[command(flatten)]
    place: Place,
    /// Print a JSON object a line for each text
    #[arg(long)]
    json: bool,
}

/// Prints the prompt and what follows.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let checkpoint = Checkpoint::read(&run::model_of(&arguments.run)?)?;
    let prompt = match &arguments.prompt_file {
        Some(path) => unseen::prompt(path)?,
        None => arguments.prompt.clone(),
    };
    let vocabulary = &checkpoint.vocabulary;
    let (ids, words, skipped) = vocabulary.encode_prompt(&prompt, arguments.unknown)?;
    if let Some(words) = describe("the prompt", words, skipped) {
        note(&words);
    }
    let sample = Sample {
        checkpoint: &checkpoint,
        prompt: &prompt,
        prompt_ids: &ids,
        length: arguments.length,
        samples: arguments.samples,
        sampling: Sampling {
            choice: Choice {
                temperature: arguments.temperature,
                top_k: arguments.top_k,
                top_p: arguments.top_p,
            },
            seed: arguments.seed,
        },
        json: arguments.json,
    };
    let size = ModelSize {
        batch: arguments.samples,
        time_steps: 1,
        ..checkpoint.config.model_size(checkpoint.vocabulary.len())
    };
    let need = Need {
        size,
        of: Use::Generate,
        knobs: &["samples"],
    };
    on_device(&arguments.place, Some(&need), sample)?;
    Ok(ExitCode::SUCCESS)
}

/// Samples to print on stdout; a single one token by token.
pub struct Sample<'a> {
    /// The model.
    pub checkpoint: &'a Checkpoint,
    /// What it goes on from.
    pub prompt: &'a str,
    /// The same as tokens.
    pub prompt_ids: &'a [u32],
    /// Tokens to sample.
    pub length: usize,
    /// Texts to sample.
    pub samples: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// As JSON?
    pub json: bool,
}

impl Job for Sample<'_> {
    type Output = ();

    fn run<O: Subject>(&mut self, ops: &mut O) -> Result<()> {
        let generator = Generator::new(
            ops,
            self.checkpoint,
            self.prompt_ids,
            self.samples,
            self.sampling,
        )?;
        if self.samples == 1 && !self.json {
            self.stream(ops, generator)
        } else {
            self.gather(ops, generator)
        }
    }
}

impl Sample<'_> {
    /// The prompt, and a space if a word is to follow it at once.
    fn beginning(&self) -> String {
        let between_words = self.prompt.is_empty() || self.prompt.ends_with(char::is_whitespace);
        match self.checkpoint.vocabulary.level() {
            Level::Word if !between_words => format!("{} ", self.prompt),
            _ => self.prompt.to_owned(),
        }
    }

    /// A decoder that has the prompt behind it: how a token is spelt may depend on what it follows.
    fn decoder(&self) -> Result<Decoder<'_>> {
        let mut decoder = self.checkpoint.vocabulary.decoder();
        for &id in self.prompt_ids {
            decoder.push(id)?;
        }
        Ok(decoder)
    }

    fn stream<O: Subject>(&self, ops: &mut O, mut generator: Generator<O>) -> Result<()> {
        print(&self.beginning())?;
        let mut decoder = self.decoder()?;
        for _ in 0..self.length {
            for &token in generator.next_tokens(ops)? {
                print(&decoder.push(token)?)?;
            }
        }
        print(&decoder.finish()?)?;
        print("\n")
    }

    fn gather<O: Subject>(&self, ops: &mut O, mut generator: Generator<O>) -> Result<()> {
        let begin = |_| Ok((self.decoder()?, String::new()));
        let mut texts: Vec<_> = (0..self.samples).map(begin).collect::<Result<_>>()?;
        for _ in 0..self.length {
            let tokens = generator.next_tokens(ops)?;
            for ((decoder, text), &token) in texts.iter_mut().zip(tokens) {
                text.push_str(&decoder.push(token)?);
            }
        }
        for (number, (decoder, mut text)) in texts.into_iter().enumerate() {
            text.push_str(&decoder.finish()?);
            if self.json {
                let line = json!({"sample": number, "prompt": self.prompt, "text": text});
                print(&format!("{line}\n"))?;
            } else {
                let separator = if number == 0 { "" } else { SEPARATOR };
                print(&format!("{separator}{}{text}\n", self.beginning()))?;
            }
        }
        Ok(())
    }
}
