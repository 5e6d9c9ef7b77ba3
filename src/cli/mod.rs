//! The command line: one file a verb.

mod bench;
mod devices;
mod eval;
mod examples;
mod export;
mod generate;
mod import;
mod initial;
mod inspect;
mod interrupts;
mod on_device;
mod parity;
mod plot;
mod profile;
mod progress;
mod session;
mod settings;
mod terminal;
mod train;
mod unknown;

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use serde_json::json;

use self::on_device::Open;
use self::terminal::LogFormat;
use crate::device::{Gpu, GpuSettings};
use crate::error::{Error, Result};

/// Train recurrent language models on any GPU, or on the CPU.
#[derive(Debug, Parser)]
#[command(name = "bptt", version, after_help = examples::BPTT)]
struct Arguments {
    /// Say nothing but errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say what is done inside, too; RUST_LOG=bptt=trace says more
    #[arg(long, short, global = true)]
    verbose: bool,
    /// How stderr is written
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        global = true
    )]
    log_format: LogFormat,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Train a model on a text and save it; without arguments, on the embedded text
    #[command(after_help = examples::TRAIN)]
    Train(Box<train::Arguments>),
    /// Sample text from a saved model
    ///
    /// The prompt and what follows are printed on the standard output, everything else on stderr.
    #[command(after_help = examples::GENERATE)]
    Generate(generate::Arguments),
    /// Measure how well a saved model predicts a text
    #[command(after_help = examples::EVAL)]
    Eval(eval::Arguments),
    /// Make a run of weights that were trained in PyTorch
    #[command(after_help = examples::IMPORT)]
    Import(import::Arguments),
    /// Write a saved model for other programs
    #[command(after_help = examples::EXPORT)]
    Export(export::Arguments),
    /// Show what is in a saved model, and whether its files are as they were written
    ///
    /// The exit code is 1 if one is not.
    #[command(after_help = examples::INSPECT)]
    Inspect(inspect::Arguments),
    /// Draw runs over each other
    #[command(after_help = examples::PLOT)]
    Plot(plot::Arguments),
    /// List the devices that can be used
    #[command(after_help = examples::DEVICES)]
    Devices,
    /// Time a training step, and each op of it as a share of what the device can do
    #[command(after_help = examples::BENCH)]
    Bench(bench::Arguments),
    /// Print what makes a shell complete this command
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one a verb
    #[command(after_help = examples::MAN)]
    Man {
        /// The folder to write them into; it is made if there is none
        folder: PathBuf,
    },
    /// Check a device: every op and the whole training step, against the CPU at f64
    #[command(after_help = examples::PARITY)]
    Parity(parity::Arguments),
}

/// Runs the command line of this process. Errors are one line on stderr.
pub fn main() -> ExitCode {
    interrupts::catch_file_size_limit();
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    set_up(&arguments);
    match run(&arguments.verb, &matches, &mut Gpu::open_with) {
        Ok(code) => code,
        // Who reads the output has seen enough.
        Err(Error::Output { source }) if source.kind() == ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            terminal::complain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Where messages go: notes to stderr, and what the library logs, by RUST_LOG or --verbose.
fn set_up(arguments: &Arguments) {
    terminal::set_up(arguments.quiet, arguments.log_format);
    let filter = match (arguments.quiet, arguments.verbose) {
        (true, _) => "error",
        (_, true) => "bptt=debug,warn",
        // Drivers warn of what is no concern of a user's.
        _ => "bptt=warn,error",
    };
    let environment = env_logger::Env::default().default_filter_or(filter);
    let mut logger = env_logger::Builder::from_env(environment);
    logger.format_timestamp(None);
    if terminal::is_json() {
        logger.format(|to, record| {
            let (level, from) = (record.level().as_str(), record.target());
            let text = record.args().to_string();
            let line = json!({ "event": "log", "level": level, "from": from, "text": text });
            writeln!(to, "{line}")
        });
    }
    logger.init();
}

/// Runs a command line, the program's name first, with GPUs to train on opened by `open`. For programs
/// that have more to do with the device than [`main`].
///
/// # Errors
/// What [`main`] would print; [`Error::exit_code`] is its exit code.
pub fn run_with(
    arguments: &[&str],
    open: &mut dyn FnMut(&wgpu::Adapter, GpuSettings) -> Result<Gpu>,
) -> Result<ExitCode> {
    let matches = Arguments::command().try_get_matches_from(arguments);
    let matches = matches.map_err(|e| wrong_usage(&e))?;
    let arguments = Arguments::from_arg_matches(&matches).map_err(|e| wrong_usage(&e))?;
    terminal::set_up(arguments.quiet, arguments.log_format);
    run(&arguments.verb, &matches, open)
}

fn wrong_usage(error: &clap::Error) -> Error {
    Error::Config {
        field: "command line",
        value: error.kind().to_string(),
        expected: error.to_string(),
    }
}

fn run(verb: &Verb, matches: &ArgMatches, open: Open) -> Result<ExitCode> {
    let flags = matches.subcommand().map_or(matches, |(_, flags)| flags);
    match verb {
        Verb::Train(arguments) => train::run(arguments, flags, open),
        Verb::Generate(arguments) => generate::run(arguments),
        Verb::Eval(arguments) => eval::run(arguments),
        Verb::Import(arguments) => import::run(arguments),
        Verb::Export(arguments) => export::run(arguments),
        Verb::Inspect(arguments) => inspect::run(arguments),
        Verb::Plot(arguments) => plot::run(arguments),
        Verb::Devices => devices::run(),
        Verb::Bench(arguments) => bench::run(arguments),
        Verb::Completions { shell } => completions(*shell),
        Verb::Man { folder } => man(folder),
        Verb::Parity(arguments) => parity::run(arguments),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "bptt", &mut script);
    terminal::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

fn man(folder: &Path) -> Result<ExitCode> {
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), folder));
    let written = written.map_err(Error::write(folder));
    written.map_err(Error::of_single_file)?;
    Ok(ExitCode::SUCCESS)
}
