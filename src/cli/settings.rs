//! Settings from a file or from a run, where the command line does not say otherwise.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command};
use toml::{Table, Value};

use crate::config::Config;
use crate::error::{Error, Result};

/// What a run cannot change when it goes on: what its checkpoint depends on.
const FIXED: &[&str] = &[
    "level",
    "tokenizer",
    "vocab_size",
    "emsize",
    "nhid",
    "rnn_biases",
    "batch_size",
    "bptt",
    "seed",
    "optimizer",
    "init_from",
];

/// `base`, with the settings that the command line gave taken from `given`.
///
/// # Errors
/// [`Error::Config`] for settings that cannot be combined.
pub fn combine(base: &Config, given: &Config, matches: &ArgMatches) -> Result<Config> {
    let (mut settings, values) = (table(base)?, table(given)?);
    for field in on_command_line(matches) {
        match values.get(&field) {
            Some(value) => settings.insert(field, value.clone()),
            None => settings.remove(&field),
        };
    }
    let mut config: Config = settings.try_into().map_err(|e| broken(&e))?;
    config.out.clone_from(&given.out);
    Ok(config)
}

/// The settings of a run that goes on: `base`, with those that the command line gave and that can
/// still change taken from `given`.
///
/// # Errors
/// [`Error::Fixed`] for one that cannot change.
pub fn combine_resumed(base: &Config, given: &Config, matches: &ArgMatches) -> Result<Config> {
    if let Some(out) = &given.out {
        return Err(Error::Fixed {
            field: "out".to_owned(),
            value: out.display().to_string(),
            reason: "a run goes on in its own folder".to_owned(),
        });
    }
    let (settings, values) = (table(base)?, table(given)?);
    for field in on_command_line(matches) {
        let (was, asked) = (settings.get(&field), values.get(&field));
        if FIXED.contains(&field.as_str()) && was != asked {
            let text = |value: Option<&Value>| value.map_or("none".to_owned(), Value::to_string);
            return Err(Error::Fixed {
                field: field.replace('_', "-"),
                value: text(asked),
                reason: format!("the run has {}; start a new one", text(was)),
            });
        }
    }
    combine(base, given, matches)
}

/// The names of the settings that the command line gave.
fn on_command_line(matches: &ArgMatches) -> Vec<String> {
    let command = Config::augment_args(Command::new("settings"));
    let ids = command.get_arguments().map(|arg| arg.get_id().to_string());
    ids.filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine))
        .collect()
}

fn table(config: &Config) -> Result<Table> {
    // Also refuses paths that TOML cannot hold.
    toml::from_str(&config.to_toml()?).map_err(|e| broken(&e))
}

fn broken(error: &toml::de::Error) -> Error {
    Error::Config {
        field: "config",
        value: error.message().to_owned(),
        expected: "settings as `bptt train` writes them".to_owned(),
    }
}
