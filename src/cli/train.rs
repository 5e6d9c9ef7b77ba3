//! `bptt train`: a text in, a trained model out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ArgMatches;

use super::initial::Initial;
use super::interrupts::Interrupts;
use super::on_device::{Open, Place, choose, on_opened};
use super::profile;
use super::session::{Beginning, Retries, Session};
use super::settings;
use super::terminal::note;
use crate::checkpoint::{Checkpoint, NewFolder, VOCABULARY};
use crate::config::Config;
use crate::data::{Corpus, Level, scratch};
use crate::device::MemoryPlan;
use crate::device::plan::mebibytes;
use crate::error::{Error, Result};
use crate::fit::{Need, Use};
use crate::run::{self, Run};
use crate::train::State;

/// The flags of `bptt train`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: Config,
    /// Go on with a run: its folder, or one of its checkpoints, and later ones are removed. Other flags
    /// change its settings, where they still can change [default: begin a new run]
    #[arg(
        long,
        value_name = "RUN",
        help_heading = "Run",
        conflicts_with = "settings"
    )]
    resume: Option<PathBuf>,
    /// Settings of a run, as its config.toml; other flags change them, and another optimizer or schedule
    /// comes with its own defaults [default: those of the flags]
    #[arg(long = "config", value_name = "FILE", help_heading = "Run")]
    settings: Option<PathBuf>,
    /// Print sizes, memory by purpose, steps, floating-point operations and the device; train nothing
    #[arg(long, help_heading = "Run")]
    dry_run: bool,
    /// Before training, profile as many steps of a model of these sizes: a table, and profile.json
    /// and roofline.svg in the run's folder [default: no profile; 20 steps without a number]
    #[arg(
        long,
        value_name = "STEPS",
        num_args = 0..=1,
        default_missing_value = profile::STEPS,
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Run"
    )]
    profile: Option<u32>,
}

/// Trains, saves, and prints a sample. `matches` tells which flags were given, `open` opens a GPU.
pub fn run(arguments: &Arguments, matches: &ArgMatches, open: Open) -> Result<ExitCode> {
    let given = &arguments.config;
    if let Some(path) = &arguments.resume {
        return resume(arguments, path, matches, open);
    }
    let mut config = match &arguments.settings {
        Some(path) => settings::combine(&read_settings(path)?, given, matches)?,
        None => given.clone(),
    };
    settings::check_schedule_uses(&config, matches)?;
    let path = config.init_from.as_deref();
    let initial = path.map(|path| Initial::read(path, config.rnn_biases));
    let initial = initial.transpose()?;
    if let Some(initial) = &initial {
        if arguments.settings.is_none() {
            config = settings::combine(&initial.adapt(given), given, matches)?;
        }
        initial.check_sizes(&config)?;
        initial.check_given(given, |id| settings::is_given(matches, id))?;
    }
    let config = config.resolved();
    let corpus = planned(&config, initial.as_ref())?;
    let need = need(&config, &corpus, changeable(&config));
    if arguments.dry_run {
        return fits(&config, &need);
    }
    train(
        &config,
        &corpus,
        &need,
        (arguments.profile, open),
        |config| {
            let weights = initial.map(|initial| initial.weights);
            Ok(Beginning::New(output_folder(config)?, weights))
        },
    )
}

/// Goes on with the run, or the checkpoint, of `path`.
fn resume(
    arguments: &Arguments,
    path: &Path,
    matches: &ArgMatches,
    open: Open,
) -> Result<ExitCode> {
    let folder = match run::last_of(path)? == path {
        true => run::of_checkpoint(path),
        false => path.to_owned(),
    };
    let run = Run::open(&folder)?;
    let path = run::last_of(path)?;
    let mut checkpoint = Checkpoint::read(&path)?;
    let mut config = settings::combine_resumed(&checkpoint.config, &arguments.config, matches)?;
    settings::check_schedule_uses(&config, matches)?;
    config = config.resolved();
    if config.tokenizer.is_some() {
        // The file that it was read from may be gone.
        config.tokenizer = Some(folder.join(VOCABULARY));
    }
    // What a checkpoint names outside of its run is read, but never made.
    let asked = &arguments.config.token_cache;
    if let Some(path) = config
        .token_cache
        .take_if(|path| asked.is_none() && !path.exists())
    {
        let path = path.display();
        note(&format!(
            "{path} is gone; --token-cache {path} keeps the tokens again"
        ));
    }
    let corpus = planned(&config, None)?;
    let need = need(&config, &corpus, &[]);
    if arguments.dry_run {
        return fits(&config, &need);
    }
    if let Some(State { progress, .. }) = &checkpoint.state {
        note(&format!(
            "resumed at step {} from {}",
            progress.step,
            path.display()
        ));
    }
    checkpoint.config = config.clone();
    train(&config, &corpus, &need, (arguments.profile, open), |_| {
        Ok(Beginning::Resumed(run, Box::new(checkpoint)))
    })
}

/// The text, once the plan has been printed.
fn planned(config: &Config, initial: Option<&Initial>) -> Result<Corpus> {
    config.check()?;
    let corpus = Corpus::load(&config.source())?;
    if let Some(initial) = initial {
        initial.check_vocabulary(&corpus.vocabulary)?;
    }
    let (windows, _) = corpus.windows(config.batch_size, config.bptt)?;
    let plan = crate::train::plan(config, corpus.vocabulary.len())?;
    print_plan(config, &corpus, windows.count(), &plan);
    Ok(corpus)
}

/// The end of a dry run: on which device, and that it fits there.
fn fits(config: &Config, need: &Need) -> Result<ExitCode> {
    choose(&place(config), Some(need))?;
    Ok(ExitCode::SUCCESS)
}

fn place(config: &Config) -> Place {
    Place {
        device: config.device.clone(),
        limits: config.limits,
    }
}

fn train(
    config: &Config,
    corpus: &Corpus,
    need: &Need,
    (profile, open): (Option<u32>, Open),
    begin: impl FnOnce(&Config) -> Result<Beginning>,
) -> Result<ExitCode> {
    let session = Session {
        config,
        corpus,
        title: title(config),
        interrupts: &Interrupts::catch(),
        profile,
        beginning: Some(begin(config)?),
        run: None,
        retries: Retries::default(),
    };
    on_opened(&place(config), Some(need), session, open)
}

/// What has to fit; `knobs` are the sizes that could be others.
fn need(config: &Config, corpus: &Corpus, knobs: &'static [&'static str]) -> Need {
    Need {
        size: config.model_size(corpus.vocabulary.len()),
        of: Use::Train(Box::new(config.clone())),
        knobs,
    }
}

/// The sizes that a new run may have.
fn changeable(config: &Config) -> &'static [&'static str] {
    let words = config.level == Level::Word && config.tokenizer.is_none();
    match (&config.init_from, words) {
        // The others are those of the weights.
        (Some(_), _) => &["batch-size", "bptt"],
        (None, false) => &["batch-size", "bptt", "nhid", "emsize"],
        (None, true) => &["batch-size", "bptt", "nhid", "emsize", "vocab-size"],
    }
}

fn read_settings(path: &Path) -> Result<Config> {
    let toml = std::fs::read(path).map_err(Error::read(path))?;
    Config::from_toml(&toml).map_err(|what| Error::run(path, what))
}

/// On stderr: text, model, steps, memory.
fn print_plan(config: &Config, corpus: &Corpus, windows: usize, plan: &MemoryPlan) {
    let vocab = corpus.vocabulary.len();
    let size = config.model_size(vocab);
    let text = &corpus.files;
    let unit = corpus.vocabulary.level().tokens();
    let (train, valid) = (corpus.train.len(), corpus.valid.len());
    note(&format!(
        "text:   {text}: {train} {unit} to train on, {valid} to validate on, vocabulary {vocab}"
    ));
    if let Some(bytes) = corpus.bytes_in_file() {
        let place = match &config.token_cache {
            Some(path) => path.display().to_string(),
            None => format!("a temporary file in {}", scratch::folder().display()),
        };
        let mib = mebibytes(bytes as u64);
        note(&format!("        tokens are in {place}, {mib:.1} MiB"));
    }
    let (train, valid) = (corpus.train.unknown, corpus.valid.unknown);
    if (train, valid) != (0, 0) {
        note(&format!(
            "        {train} and {valid} of them are not in the vocabulary: <unk>"
        ));
    }
    note(&format!(
        "model:  {} parameters: {}",
        size.parameters(),
        size.describe()
    ));
    note(&format!(
        "steps:  {} in {} epochs of {windows} windows: T={} time steps of N={} streams",
        crate::train::total_steps(config, windows),
        config.epochs,
        size.time_steps,
        size.batch
    ));
    note(&format!(
        "work:   {:.3} MFLOP a token, forward and backward; {:.3} TFLOP in all",
        size.flops_per_step() / size.rows() as f64 / 1e6,
        size.flops_per_step() * (config.epochs * windows) as f64 / 1e12
    ));
    note(&format!("memory: {plan}"));
}

/// Takes the folder of `--out`, or the first free one of runs/NAME, runs/NAME-2, …
fn output_folder(config: &Config) -> Result<NewFolder> {
    if let Some(out) = &config.out {
        return NewFolder::prepare(out);
    }
    let name = text_name(config).unwrap_or("keeper".into());
    let mut number = 1;
    loop {
        let folder = match number {
            1 => name.clone(),
            _ => format!("{name}-{number}"),
        };
        match NewFolder::prepare(&Path::new("runs").join(folder)) {
            Err(Error::Exists { .. }) => number += 1,
            prepared => return prepared,
        }
    }
}

/// The name of the text's first file, without its extension, or of its folder; none for the embedded
/// text.
fn text_name(config: &Config) -> Option<String> {
    let path = config.data.first()?;
    // "." and ".." have names too.
    let named = match path.file_stem() {
        Some(_) => path.clone(),
        None => path.canonicalize().unwrap_or_default(),
    };
    let stem = named.file_stem().unwrap_or("text".as_ref());
    Some(stem.to_string_lossy().into_owned())
}

/// "tinyshakespeare: D=64 H=256 N=32 T=64, lr 1".
fn title(config: &Config) -> String {
    let name = text_name(config).unwrap_or("The Keeper of Grey Holm".into());
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
