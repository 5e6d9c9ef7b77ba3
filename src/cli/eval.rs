//! `bptt eval`: how well a saved model predicts a text.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::on_device::{Job, Place, on_device};
use super::terminal::{note, print, print_json};
use super::unknown::{Unknown, encode};
use crate::checkpoint::Checkpoint;
use crate::data::{Level, whole};
use crate::error::{Error, Result, require};
use crate::evaluate::{Dynamic, Score, Settings, default_streams, surprisals};
use crate::fit::{Need, Use};
use crate::model::ModelSize;
use crate::parity::Subject;
use crate::run;

/// Time steps of a window unless asked otherwise.
const TIME_STEPS: usize = 256;

/// The flags of `bptt eval`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder of the trained model, as `bptt train` names it at its end, or one of its checkpoints
    run: PathBuf,
    /// Text to predict, UTF-8; - for the standard input [default: the run's own validation text]
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// What to do about characters of the text that the model does not know
    #[arg(long, value_enum, default_value_t)]
    unknown: Unknown,
    /// Streams to read the text as, at once; 1 is exact [default: one for each 50,000 tokens, at
    /// most 32, and 1 with --dynamic]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Tokens that each stream reads before its own, without being scored on them
    #[arg(long, value_name = "K", default_value_t = 256)]
    overlap: usize,
    /// Time steps of a window; they change nothing but speed, unless with --dynamic [default: 256;
    /// with --dynamic those that the model was trained with]
    #[arg(long, value_name = "T")]
    bptt: Option<usize>,
    /// Go on learning while reading: a step of gradient descent after each window
    #[arg(long)]
    dynamic: bool,
    /// Learning rate of --dynamic
    #[arg(
        long,
        value_name = "RATE",
        default_value_t = 0.1,
        allow_negative_numbers = true,
        requires = "dynamic"
    )]
    dynamic_lr: f64,
    /// Write a JSON object a line for each token: its position, the token, its surprisal in nats; -
    /// for the standard output, which then holds nothing else [default: not written]
    #[arg(long, value_name = "FILE")]
    surprisal: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    score: Score,
    /// Characters of the text that were left out.
    skipped: usize,
    streams: usize,
    dynamic_lr: Option<f64>,
}

/// Evaluates and prints.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let checkpoint = Checkpoint::read(&run::model_of(&arguments.run)?)?;
    let (name, text) = text(arguments, &checkpoint)?;
    let vocabulary = &checkpoint.vocabulary;
    let (ids, unknown) = encode(vocabulary, &text, arguments.unknown)?;
    if ids.is_empty() {
        return Err(Error::EmptyText { path: name.into() });
    }
    if let Some(words) = unknown.describe("the text") {
        note(&words);
    }
    let settings = settings(arguments, &checkpoint, ids.len())?;
    let size = ModelSize {
        batch: settings.streams,
        time_steps: settings.time_steps,
        ..checkpoint.config.model_size(vocabulary.len())
    };
    size.check()?;
    let need = Need {
        size,
        of: Use::Evaluate {
            dynamic: arguments.dynamic,
        },
        knobs: &["batch-size", "bptt"],
    };
    let evaluation = Evaluation {
        checkpoint: &checkpoint,
        ids: &ids,
        settings,
    };
    let nats = on_device(&arguments.place, Some(&need), evaluation)?;
    let characters = text.chars().count() - unknown.skipped;
    let report = Report {
        score: Score::new(&nats, &ids, vocabulary.unknown(), characters),
        skipped: unknown.skipped,
        streams: settings.streams,
        dynamic_lr: settings.dynamic.map(|dynamic| dynamic.rate),
    };
    let to_stdout = arguments.surprisal.as_deref() == Some(Path::new("-"));
    if let Some(path) = &arguments.surprisal {
        let lines = surprisal_lines(&checkpoint, &ids, &nats);
        if to_stdout {
            print(&lines)?;
        } else {
            let written = std::fs::write(path, lines);
            written.map_err(|source| Error::WriteFile {
                path: path.clone(),
                source,
            })?;
        }
    }
    let words = summary(&report.score, vocabulary.level());
    match (to_stdout, arguments.json) {
        (true, _) => note(&words),
        (false, true) => print_json(&report)?,
        (false, false) => print(&format!("{words}\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The text and its name.
fn text(arguments: &Arguments, checkpoint: &Checkpoint) -> Result<(String, String)> {
    if let Some(path) = &arguments.data {
        return Ok((path.display().to_string(), whole::read(path)?));
    }
    let source = checkpoint.config.source();
    let valid = whole::validation(&source, checkpoint.vocabulary.level())?;
    let expected = "a text: the run has none of its own to validate on";
    require("data", "none", !valid.is_empty(), expected)?;
    Ok(("the run's validation text".to_owned(), valid))
}

fn settings(arguments: &Arguments, checkpoint: &Checkpoint, tokens: usize) -> Result<Settings> {
    let rate = arguments.dynamic_lr;
    let usable = rate.is_finite() && rate >= 0.0;
    require("dynamic-lr", rate, usable, "a positive number, or 0")?;
    let config = &checkpoint.config;
    let dynamic = arguments.dynamic.then(|| Dynamic {
        rate,
        max_norm: config.max_norm(),
    });
    let (time_steps, streams) = match dynamic {
        Some(_) => (config.bptt, 1),
        None => (TIME_STEPS, default_streams(tokens)),
    };
    let streams = arguments.batch_size.unwrap_or(streams);
    require("batch-size", streams, streams >= 1, "at least 1")?;
    Ok(Settings {
        // Not longer than the text with its overlap.
        time_steps: arguments.bptt.unwrap_or(time_steps.min(tokens)),
        streams: streams.min(tokens),
        overlap: arguments.overlap,
        dynamic,
    })
}

struct Evaluation<'a> {
    checkpoint: &'a Checkpoint,
    ids: &'a [u32],
    settings: Settings,
}

impl Job for Evaluation<'_> {
    type Output = Vec<f32>;

    fn run<O: Subject>(&mut self, ops: &mut O) -> Result<Vec<f32>> {
        surprisals(ops, self.checkpoint, self.ids, &self.settings)
    }
}

fn surprisal_lines(checkpoint: &Checkpoint, ids: &[u32], nats: &[f32]) -> String {
    let mut lines = String::new();
    for (position, (&id, nats)) in ids.iter().zip(nats).enumerate() {
        let token = checkpoint.vocabulary.token(id);
        let line = json!({"position": position, "token": token, "nats": nats});
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{line}");
    }
    lines
}

/// The figures in words.
fn summary(score: &Score, level: Level) -> String {
    let mut words = format!(
        "{} {}: loss {:.4} nats per token, perplexity {:.2}, {:.4} bits per character",
        score.tokens,
        level.tokens(),
        score.loss,
        score.perplexity,
        score.bits_per_character
    );
    if let Some(perplexity) = score.perplexity_without_unknown {
        let unknown = score.unknown;
        words += &format!("; perplexity {perplexity:.2} without the {unknown} <unk>");
    }
    words
}
