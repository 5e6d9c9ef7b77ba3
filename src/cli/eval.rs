//! `bptt eval`: how well a saved model predicts a text.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::on_device::{Job, Place, on_device};
use super::terminal::{note, print, print_json, warn};
use super::unknown::describe;
use crate::checkpoint::{Checkpoint, sha256_of_ids};
use crate::data::unseen::Unseen;
use crate::data::{Files, Ids, Level, Tokenizer, Unknown, scratch};
use crate::error::{Error, Result, require};
use crate::evaluate::{Dynamic, Score, Settings, Sums, default_streams, each_surprisal};
use crate::fit::{Need, Use};
use crate::model::ModelSize;
use crate::parity::Subject;
use crate::run;

/// Time steps of a window unless asked otherwise.
const TIME_STEPS: usize = 256;
/// Bytes of lines that are printed at once.
const PRINTED_AT_ONCE: usize = 1 << 16;

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
    /// Go on learning while reading: a step of gradient descent after each window (Mikolov et al.
    /// 2010); nothing of it is saved
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
    /// With --dynamic: share of the way back to the trained weights that each step goes, too (Krause
    /// et al. 2018, without their scaling of gradients by their root mean squares); from 0 to 1
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.0,
        allow_negative_numbers = true,
        requires = "dynamic"
    )]
    dynamic_decay: f64,
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
    dynamic_decay: Option<f64>,
}

/// Evaluates and prints.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let checkpoint = Checkpoint::read(&run::model_of(&arguments.run)?)?;
    let Unseen { part, characters } = text(arguments, &checkpoint)?;
    if let Some(words) = describe("the text", part.unknown, part.skipped) {
        note(&words);
    }
    let vocabulary = &checkpoint.vocabulary;
    let settings = settings(arguments, &checkpoint, part.len())?;
    let size = ModelSize {
        batch: settings.streams,
        time_steps: settings.time_steps,
        ..checkpoint.config.model_size(vocabulary.len())
    };
    size.check()?;
    let need = Need {
        size,
        of: Use::Evaluate {
            dynamic: settings.dynamic,
        },
        knobs: &["batch-size", "bptt"],
    };
    let surprisals = match arguments.surprisal {
        Some(_) => Some(Surprisals::new()?),
        None => None,
    };
    let mut evaluation = Evaluation {
        checkpoint: &checkpoint,
        ids: part.ids.view(),
        settings,
        surprisals,
    };
    let sums = on_device(&arguments.place, Some(&need), &mut evaluation)?;
    let report = Report {
        score: Score::new(&sums, characters),
        skipped: part.skipped,
        streams: settings.streams,
        dynamic_lr: settings.dynamic.map(|dynamic| dynamic.rate),
        dynamic_decay: settings.dynamic.map(|dynamic| dynamic.decay),
    };
    let to_stdout = arguments.surprisal.as_deref() == Some(Path::new("-"));
    if let (Some(path), Some(surprisals)) = (&arguments.surprisal, evaluation.surprisals) {
        let ids = evaluation.ids;
        if to_stdout {
            surprisals.lines(vocabulary, ids, print)?;
        } else {
            let failed = |source| Error::WriteFile {
                path: path.clone(),
                source,
            };
            let mut file = File::create(path).map_err(failed)?;
            let write = |lines: &str| file.write_all(lines.as_bytes()).map_err(failed);
            surprisals.lines(vocabulary, ids, write)?;
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

fn text(arguments: &Arguments, checkpoint: &Checkpoint) -> Result<Unseen> {
    let (vocabulary, unknown) = (&checkpoint.vocabulary, arguments.unknown);
    if let Some(path) = &arguments.data {
        return Unseen::read(path, vocabulary, unknown);
    }
    let none = || Error::Config {
        field: "data",
        value: "none".to_owned(),
        expected: "a text: the run has none of its own to validate on".to_owned(),
    };
    // Weights from elsewhere come without a text.
    let state = checkpoint.state.as_ref().ok_or_else(none)?;
    let source = checkpoint.config.source();
    let own = Unseen::validation(&source, vocabulary, unknown)?.ok_or_else(none)?;
    let files = Files::find(&source.data, source.valid.as_deref())?;
    note(&format!("text:   the validation part of {files}"));
    if sha256_of_ids(own.part.ids.view()) != state.progress.text.1 {
        warn("the text is another than the one that the run was validated on");
    }
    Ok(own)
}

fn settings(arguments: &Arguments, checkpoint: &Checkpoint, tokens: usize) -> Result<Settings> {
    let rate = arguments.dynamic_lr;
    let usable = rate.is_finite() && rate >= 0.0;
    require("dynamic-lr", rate, usable, "a positive number, or 0")?;
    let decay = arguments.dynamic_decay;
    let usable = (0.0..=1.0).contains(&decay);
    require("dynamic-decay", decay, usable, "from 0 to 1")?;
    let config = &checkpoint.config;
    let dynamic = arguments.dynamic.then(|| Dynamic {
        rate,
        decay,
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
    ids: Ids<'a>,
    settings: Settings,
    /// Of every token, if they are asked for.
    surprisals: Option<Surprisals>,
}

impl Job for &mut Evaluation<'_> {
    type Output = Sums;

    fn run<O: Subject>(&mut self, ops: &mut O) -> Result<Sums> {
        let Evaluation {
            checkpoint,
            ids,
            settings,
            surprisals,
        } = &mut **self;
        let unknown = checkpoint.vocabulary.unknown();
        let mut sums = Sums::default();
        let mut each = |first: usize, nats: &[f32]| {
            sums.add(nats, ids.range(first..first + nats.len()), unknown);
            match surprisals {
                Some(surprisals) => surprisals.write(first, nats),
                None => Ok(()),
            }
        };
        each_surprisal(ops, checkpoint, *ids, settings, &mut each)?;
        Ok(sums)
    }
}

/// The surprisals of a text of any size, in a temporary file: streams write them at many places, and
/// they are read from the first to the last.
struct Surprisals(File);

impl Surprisals {
    fn new() -> Result<Self> {
        scratch::file().map(Surprisals)
    }

    /// Keeps those of tokens from position `first` on.
    fn write(&mut self, first: usize, nats: &[f32]) -> Result<()> {
        let Surprisals(file) = self;
        let begin = SeekFrom::Start((first * size_of::<f32>()) as u64);
        let written = file.seek(begin);
        let written = written.and_then(|_| file.write_all(bytemuck::cast_slice(nats)));
        written.map_err(scratch::failed)
    }

    /// Hands them on as lines of JSON, some at a time.
    fn lines(
        self,
        vocabulary: &Tokenizer,
        ids: Ids<'_>,
        mut print: impl FnMut(&str) -> Result<()>,
    ) -> Result<()> {
        let Surprisals(mut file) = self;
        file.rewind().map_err(scratch::failed)?;
        let mut from = BufReader::new(file);
        let mut lines = String::new();
        for position in 0..ids.len() {
            let mut nats = [0; size_of::<f32>()];
            from.read_exact(&mut nats).map_err(scratch::failed)?;
            let nats = f32::from_ne_bytes(nats);
            let token = vocabulary.token(ids.get(position));
            let line = json!({"position": position, "token": token, "nats": nats});
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "{line}");
            if lines.len() >= PRINTED_AT_ONCE {
                print(&lines)?;
                lines.clear();
            }
        }
        print(&lines)
    }
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
