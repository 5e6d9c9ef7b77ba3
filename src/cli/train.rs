//! `bptt train`: a text in, a trained model out.

use std::borrow::Cow;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::generate::{Sample, TEMPERATURE};
use super::on_device::{Job, on_device};
use super::progress::Display;
use super::terminal::note;
use crate::checkpoint::{Checkpoint, NewFolder, Weights};
use crate::config::Config;
use crate::data::{Corpus, Level};
use crate::device::MemoryPlan;
use crate::error::{Error, Result};
use crate::generate::Sampling;
use crate::parity::Subject;
use crate::plot;
use crate::train::{Event, Trainer};

/// The log of a run, a JSON object a line.
const METRICS: &str = "metrics.jsonl";
/// The picture of a run.
const LOSS_CURVE: &str = "loss.svg";
/// Exit code after Ctrl-C (or a request to terminate), as shells have it: 128 + SIGINT.
const INTERRUPTED: u8 = 130;
/// Characters and words of the sample at the end.
const SAMPLE: (usize, usize) = (400, 80);

/// The flags of `bptt train`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: Config,
    /// Print sizes, memory and steps, and stop before training
    #[arg(long, help_heading = "Run")]
    dry_run: bool,
}

/// Trains, saves, and prints a sample.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let config = arguments.config;
    config.check()?;
    let corpus = Corpus::load(&config.source())?;
    let (windows, _) = corpus.windows(config.batch_size, config.bptt)?;
    let size = config.model_size(corpus.vocabulary.len());
    let plan = size.plan::<f32>()?;
    print_plan(&config, &corpus, windows.count(), &plan);
    if arguments.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let interrupted = catch_interrupts();
    let training = Training {
        config: &config,
        corpus: &corpus,
        interrupted: &interrupted,
    };
    on_device(&config.device, Some(&plan), training)
}

/// On stderr: text, model, steps, memory.
fn print_plan(config: &Config, corpus: &Corpus, windows: usize, plan: &MemoryPlan) {
    let vocab = corpus.vocabulary.len();
    let size = config.model_size(vocab);
    let text = match &config.data {
        Some(path) => path.display().to_string(),
        None => "the embedded Latin text".to_owned(),
    };
    let unit = config.level.tokens();
    let (train, valid) = (corpus.train.len(), corpus.valid.len());
    note(&format!(
        "text:   {text}: {train} {unit} to train on, {valid} to validate on, vocabulary {vocab}"
    ));
    if corpus.unknown != (0, 0) {
        let (train, valid) = corpus.unknown;
        note(&format!(
            "        {train} and {valid} of them are not in the vocabulary: <unk>"
        ));
    }
    note(&format!(
        "model:  {} parameters: V={vocab} D={} H={}",
        size.parameters(),
        size.embedding,
        size.hidden
    ));
    note(&format!(
        "steps:  {} epochs of {windows} windows: T={} time steps of N={} streams",
        config.epochs, size.time_steps, size.batch
    ));
    note(&format!("memory: {plan}"));
}

/// Takes the folder of `--out`, or the first free one of runs/NAME, runs/NAME-2, …
fn output_folder(config: &Config) -> Result<NewFolder> {
    if let Some(out) = &config.out {
        return NewFolder::prepare(out);
    }
    let name = text_name(config).unwrap_or("liber-primus".into());
    let mut number = 1;
    loop {
        let folder = match number {
            1 => name.to_string(),
            _ => format!("{name}-{number}"),
        };
        match NewFolder::prepare(&Path::new("runs").join(folder)) {
            Err(Error::Exists { .. }) => number += 1,
            prepared => return prepared,
        }
    }
}

/// A flag that Ctrl-C raises; a second Ctrl-C leaves at once.
fn catch_interrupts() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = flag.clone();
    let set = ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(INTERRUPTED));
        }
    });
    if let Err(e) = set {
        note(&format!("Ctrl-C will not be handled: {e}"));
    }
    flag
}

struct Training<'a> {
    config: &'a Config,
    corpus: &'a Corpus,
    interrupted: &'a AtomicBool,
}

impl Job for Training<'_> {
    type Output = ExitCode;

    fn run<O: Subject>(self, ops: &mut O) -> Result<ExitCode> {
        let folder = output_folder(self.config)?;
        let mut trainer = Trainer::new(ops, self.config, self.corpus)?;
        let (events, interrupted) = self.train(ops, &mut trainer, folder.files())?;
        let checkpoint = Checkpoint {
            config: self.config.clone(),
            vocabulary: self.corpus.vocabulary.clone(),
            weights: Weights::of(ops, &trainer.model)?,
        };
        let files = folder.files();
        checkpoint.write(files)?;
        plot::loss_curve(&files.join(LOSS_CURVE), &title(self.config), &events)?;
        let run = folder.publish()?;
        if interrupted {
            note(&format!(
                "interrupted; the model so far is in {}",
                run.display()
            ));
            return Ok(ExitCode::from(INTERRUPTED));
        }
        note(&format!(
            "saved in {run}; the loss curve is {curve}; for more text, bptt generate {run}",
            run = run.display(),
            curve = run.join(LOSS_CURVE).display()
        ));
        let (characters, words) = SAMPLE;
        let sample = Sample {
            checkpoint: &checkpoint,
            prompt: "",
            length: match self.config.level {
                Level::Char => characters,
                Level::Word => words,
            },
            sampling: Sampling {
                temperature: TEMPERATURE,
                top_k: 0,
                seed: self.config.seed,
            },
        };
        sample.run(ops)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Training<'_> {
    /// Trains and logs; returns the events, and whether Ctrl-C ended it.
    fn train<O: Subject>(
        &self,
        ops: &mut O,
        trainer: &mut Trainer<'_, O>,
        files: &Path,
    ) -> Result<(Vec<Event>, bool)> {
        let path = files.join(METRICS);
        let mut metrics = std::fs::File::create(&path).map_err(Error::write(&path))?;
        let display = Display::new(self.config.level, trainer.total_steps(), self.config.epochs);
        let mut events = Vec::new();
        let stop = || self.interrupted.load(Ordering::Relaxed);
        let interrupted = trainer.run(ops, stop, |event| {
            display.show(&event);
            let line = serde_json::to_string(&event).map_err(|e| Error::Run {
                path: path.clone(),
                what: e.to_string(),
            })?;
            writeln!(metrics, "{line}").map_err(Error::write(&path))?;
            events.push(event);
            Ok(())
        });
        display.finish();
        let synced = interrupted.and_then(|interrupted| {
            metrics.sync_all().map_err(Error::write(&path))?;
            Ok(interrupted)
        });
        Ok((events, synced?))
    }
}

/// The name of the text's file, without its extension; none for the embedded text.
fn text_name(config: &Config) -> Option<Cow<'_, str>> {
    let stem = config.data.as_deref()?.file_stem()?;
    Some(stem.to_string_lossy())
}

/// "tinyshakespeare: D=64 H=256 N=32 T=64, lr 1".
fn title(config: &Config) -> String {
    let name = text_name(config).unwrap_or("Liber Primus".into());
    let Config {
        emsize,
        nhid,
        batch_size,
        bptt,
        lr,
        ..
    } = config;
    format!("{name}: D={emsize} H={nhid} N={batch_size} T={bptt}, lr {lr}")
}
