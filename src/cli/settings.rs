//! Settings from a file or from a run, where the command line does not say otherwise.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command};
use serde_json::{Map, Value};

use crate::config::Config;
use crate::error::{Error, Result, require};
use crate::schedule::LrSchedule;

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
    "accumulate",
    "seed",
    "optimizer",
    "init_from",
];

/// Settings with what belongs to one value of them: another value comes with its own defaults.
const CHOICES: [(&str, &[&str]); 2] = [
    (
        "optimizer",
        &[
            "lr",
            "momentum",
            "nesterov",
            "beta1",
            "beta2",
            "eps",
            "weight_decay",
        ],
    ),
    (
        "lr_schedule",
        &["lr_decay", "lr_decay_after", "lr_patience"],
    ),
];

/// `base`, with the settings that the command line gave taken from `given`, and what belongs to those of
/// them that are changed.
///
/// # Errors
/// [`Error::Config`] for settings that cannot be combined.
pub fn combine(base: &Config, given: &Config, matches: &ArgMatches) -> Result<Config> {
    let (mut settings, values) = (table(base)?, table(given)?);
    let mut fields = on_command_line(matches);
    for (choice, belonging) in CHOICES {
        let changed = settings.get(choice) != values.get(choice);
        if changed && fields.iter().any(|field| field == choice) {
            fields.extend(belonging.iter().map(|field| (*field).to_owned()));
        }
    }
    for field in fields {
        match values.get(&field) {
            Some(value) => settings.insert(field, value.clone()),
            None => settings.remove(&field),
        };
    }
    let config = serde_json::from_value(Value::Object(settings));
    let mut config: Config = config.map_err(|e| broken(&e))?;
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

/// Refuses what the command line gave and the schedule of the learning rate would not use. What a file or an
/// earlier run says of it is taken: a factor is always written.
///
/// # Errors
/// [`Error::Config`] for such a setting.
pub fn check_schedule_uses(config: &Config, matches: &ArgMatches) -> Result<()> {
    let step = config.lr_schedule == LrSchedule::Step;
    let decays = step || config.lr_schedule == LrSchedule::Plateau;
    let fits = decays || !is_given(matches, "lr_decay");
    let only = "only with --lr-schedule step or plateau";
    require("lr-decay", config.lr_decay, fits, only)?;
    let fits = step || !is_given(matches, "lr_decay_after");
    let epoch = config.lr_decay_after.unwrap_or_default();
    let only = "only with --lr-schedule step";
    require("lr-decay-after", epoch, fits, only)
}

/// The names of the settings that the command line gave.
fn on_command_line(matches: &ArgMatches) -> Vec<String> {
    let command = Config::augment_args(Command::new("settings"));
    let ids = command.get_arguments().map(|arg| arg.get_id().to_string());
    ids.filter(|id| is_given(matches, id)).collect()
}

/// Did the command line give the setting of this name?
pub fn is_given(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// By their names, as JSON: TOML's own values hold no number from 2⁶³ on, as a seed may be.
fn table(config: &Config) -> Result<Map<String, Value>> {
    // Also refuses paths that TOML cannot hold.
    config.to_toml()?;
    match serde_json::to_value(config) {
        Ok(Value::Object(settings)) => {
            // What JSON has no number for, and no setting may be. One that is not given is left out.
            if let Some((name, _)) = settings.iter().find(|(_, value)| value.is_null()) {
                config.check()?;
                return Err(not_settings(name.clone()));
            }
            Ok(settings)
        }
        Ok(other) => Err(not_settings(other.to_string())),
        Err(error) => Err(broken(&error)),
    }
}

fn broken(error: &serde_json::Error) -> Error {
    not_settings(error.to_string())
}

fn not_settings(value: String) -> Error {
    Error::Config {
        field: "config",
        value,
        expected: "settings as `bptt train` writes them, finite numbers".to_owned(),
    }
}
