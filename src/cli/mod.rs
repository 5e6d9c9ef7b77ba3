//! The command line: one file a verb.

mod bench;
mod devices;
mod generate;
mod interrupts;
mod on_device;
mod parity;
mod progress;
mod session;
mod settings;
mod terminal;
mod train;

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::error::{Error, Result};

/// Train recurrent language models on any GPU, or on the CPU.
#[derive(Debug, Parser)]
#[command(name = "bptt", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes: 0 success, 1 failure, 2 wrong usage; 130 interrupted by Ctrl-C, 143 asked to terminate \
(what was trained is saved)";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Train a model on a text and save it; without arguments, on the embedded Latin text
    Train(Box<train::Arguments>),
    /// Sample text from a saved model
    Generate(generate::Arguments),
    /// List the devices that can be used
    Devices,
    /// Time a training step, and each op of it as a share of what the device can do
    Bench(bench::Arguments),
    /// Check a device: every op and the whole training step, against the CPU at f64
    Parity(parity::Arguments),
}

/// Runs the command line of this process. Errors are one line on stderr.
pub fn main() -> ExitCode {
    quieten_mesa();
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    match run(&arguments.verb, &matches) {
        Ok(code) => code,
        // Who reads the output has seen enough.
        Err(Error::Output { source }) if source.kind() == ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            terminal::note(&format!("error: {error}"));
            ExitCode::from(if error.is_usage() { 2 } else { 1 })
        }
    }
}

/// Mesa's device-selection layer, which only reorders adapters, prints errors of its own where there
/// is no desktop session.
fn quieten_mesa() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the process has no other thread yet that could read the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

fn run(verb: &Verb, matches: &ArgMatches) -> Result<ExitCode> {
    let flags = matches.subcommand().map_or(matches, |(_, flags)| flags);
    match verb {
        Verb::Train(arguments) => train::run(arguments, flags),
        Verb::Generate(arguments) => generate::run(arguments),
        Verb::Devices => devices::run(),
        Verb::Bench(arguments) => bench::run(arguments),
        Verb::Parity(arguments) => parity::run(arguments),
    }
}
