//! Every setting of a training run: its name on the command line, its default, its check.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use serde::{Deserialize, Serialize};

use crate::data::{Level, Source};
use crate::device::adapter::{DeviceChoice, LimitsChoice};
use crate::error::{Error, Result, place, require};
use crate::model::ModelSize;
use crate::ops::{Adam, Momentum};
use crate::optimizer::Rule;
pub use crate::schedule::LrSchedule;
use crate::schedule::{Schedule, Shape};

/// Most epochs: the number of all steps fits 64 bits.
const MAX_EPOCHS: usize = 1_000_000_000;
/// Bytes of the largest settings; while they are read they take a hundred times as much memory.
const LARGEST_TOML: usize = 1 << 18;
/// Most windows whose gradients are averaged.
const MAX_ACCUMULATE: usize = 1 << 16;
/// Epochs that the plateau schedule waits for, unless asked otherwise.
const PATIENCE: usize = 1;
/// The share of the embedded text that is held out unless asked otherwise.
const EMBEDDED_VALID_FRACTION: f64 = 0.1;

/// How gradients change weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OptimizerChoice {
    /// Stochastic gradient descent.
    #[default]
    Sgd,
    /// Stochastic gradient descent with momentum.
    Momentum,
    /// Adam; weight decay is part of the gradient.
    Adam,
    /// Adam with decoupled weight decay.
    Adamw,
}

/// The value of `--on-nan`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OnNan {
    /// Stop.
    #[default]
    Stop,
    /// Go on from the last good checkpoint at half the learning rate.
    Rollback,
}

/// The value of `--on-save-error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OnSaveError {
    /// Stop.
    #[default]
    Stop,
    /// Warn, go on, and try again at the next save.
    Continue,
}

/// The value of `--on-device-lost`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OnDeviceLost {
    /// Stop.
    #[default]
    Stop,
    /// Open the device again, and go on from the last checkpoint.
    Retry,
}

/// The settings of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Text to train on, UTF-8: a file, files in this order, or a folder with train*.txt, valid*.txt
    /// and test*.txt, or else any *.txt [default: the embedded one, The Keeper of Grey Holm]
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = "Data")]
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "one_or_more")]
    pub data: Vec<PathBuf>,
    /// Text to validate on after each epoch [default: what the folder of --data has, or
    /// --valid-fraction]
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid: Option<PathBuf>,
    /// Without --valid: share of the text, at its end, to hold out and validate on
    /// [default: 0 for --data, 0.1 for the embedded text]
    #[arg(
        allow_negative_numbers = true,
        long,
        value_name = "SHARE",
        help_heading = "Data",
        conflicts_with = "valid"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_fraction: Option<f64>,
    /// What a token is
    #[arg(long, value_enum, default_value_t, help_heading = "Data")]
    pub level: Level,
    /// For words: size of the vocabulary; rarer words become `<unk>` [default: no bound]
    #[arg(long, value_name = "V", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocab_size: Option<usize>,
    /// Encode with this tokenizer.json: of another run, or (if built with the feature `tokenizers`)
    /// any of Hugging Face's [default: a vocabulary of the text]
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Data",
        conflicts_with_all = ["level", "vocab_size"]
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// Keep the tokens in this file, and take them from there if it is of the same text; while a run
    /// uses it, nothing else may change it [default: not kept]
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_cache: Option<PathBuf>,

    /// Size of the embedding (D): numbers a token
    #[arg(long, value_name = "D", default_value_t = 64, help_heading = "Model")]
    pub emsize: usize,
    /// Hidden units (H)
    #[arg(long, value_name = "H", default_value_t = 256, help_heading = "Model")]
    pub nhid: usize,
    /// Biases of the recurrence: 1, or 2 as nn.RNN has them, which are added, and each trained
    #[arg(
        long,
        value_name = "1|2",
        default_value_t = 1,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=2),
        help_heading = "Model"
    )]
    #[serde(default = "one")]
    pub rnn_biases: usize,

    /// Parallel streams of the text (N)
    #[arg(
        long,
        value_name = "N",
        default_value_t = 20,
        help_heading = "Training"
    )]
    pub batch_size: usize,
    /// Time steps of a window, through which gradients flow (T)
    #[arg(
        long,
        value_name = "T",
        default_value_t = 35,
        help_heading = "Training"
    )]
    pub bptt: usize,
    /// Passes over the text
    #[arg(
        long,
        value_name = "EPOCHS",
        default_value_t = 20,
        help_heading = "Training"
    )]
    pub epochs: usize,
    /// Windows whose gradients are averaged before an update, which is a step then; the state is
    /// carried on through them
    #[arg(
        long,
        value_name = "WINDOWS",
        default_value_t = 1,
        help_heading = "Training"
    )]
    #[serde(default = "one")]
    pub accumulate: usize,
    /// How gradients change weights
    #[arg(long, value_enum, default_value_t, help_heading = "Training")]
    #[serde(default)]
    pub optimizer: OptimizerChoice,
    /// Learning rate: how far an update goes along the gradient [with momentum: 0.05; with adam or
    /// adamw: 0.002]
    #[arg(
        allow_negative_numbers = true,
        long,
        value_name = "RATE",
        default_value_t = 0.5,
        default_value_ifs = [
            ("optimizer", "momentum", "0.05"),
            ("optimizer", "adam", "0.002"),
            ("optimizer", "adamw", "0.002"),
        ],
        help_heading = "Training"
    )]
    pub lr: f64,
    /// For momentum: what is kept of the velocity [default: 0.9]
    #[arg(
        allow_negative_numbers = true,
        long,
        value_name = "SHARE",
        help_heading = "Training"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// For momentum: look ahead, as Nesterov's method does
    #[arg(long, help_heading = "Training")]
    #[serde(default)]
    pub nesterov: bool,
    /// For Adam: what is kept of the mean of gradients [default: 0.9]
    #[arg(
        allow_negative_numbers = true,
        long,
        value_name = "SHARE",
        help_heading = "Training"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta1: Option<f64>,
    /// For Adam: what is kept of the mean of their squares [default: 0.999]
    #[arg(
        allow_negative_numbers = true,
        long,
        value_name = "SHARE",
        help_heading = "Training"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta2: Option<f64>,
    /// For Adam: added to the root of that mean [default: 1e-8]
    #[arg(
        allow_negative_numbers = true,
        long,
        value_name = "NUMBER",
        help_heading = "Training"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eps: Option<f64>,
    /// For momentum and Adam: share of the weights, times the rate, that decays with each update
    /// [default: 0; 0.01 for adamw]
    #[arg(
        allow_negative_numbers = true,
        long,
        value_name = "SHARE",
        help_heading = "Training"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// How the learning rate goes on
    #[arg(long, value_enum, default_value_t, help_heading = "Training")]
    pub lr_schedule: LrSchedule,
    /// For the step and plateau schedules: factor of each reduction [for plateau: 0.25]
    #[arg(
        allow_negative_numbers = true,
        long,
        value_name = "FACTOR",
        default_value_t = 0.5,
        default_value_if("lr_schedule", "plateau", "0.25"),
        help_heading = "Training"
    )]
    pub lr_decay: f64,
    /// For the step schedule: last epoch at the full rate [default: 85 % of --epochs]
    #[arg(long, value_name = "EPOCH", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_decay_after: Option<usize>,
    /// For the plateau schedule: epochs without a better validation loss before a reduction
    /// [default: 1]
    #[arg(long, value_name = "EPOCHS", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_patience: Option<usize>,
    /// First updates, during which the rate rises to the schedule's in a straight line
    #[arg(
        long,
        value_name = "STEPS",
        default_value_t = 0,
        help_heading = "Training"
    )]
    #[serde(default)]
    pub warmup: u64,
    /// Stop after so many epochs without a better validation loss [default: never]
    #[arg(long, value_name = "EPOCHS", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stop: Option<usize>,
    /// Largest norm of all gradients together; longer ones are scaled to it; 0 for no bound
    #[arg(
        allow_negative_numbers = true,
        long,
        value_name = "NORM",
        default_value_t = 2.0,
        help_heading = "Training"
    )]
    pub clip: f64,
    /// Seed of the initial weights and of samples: the same seed gives the same bits on the same
    /// device and driver
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1,
        help_heading = "Training"
    )]
    pub seed: u64,

    /// Where to train: auto, cpu, gpu, gpu:N or gpu:NAME (see `bptt devices`); auto takes a
    /// hardware GPU if there is one, else the CPU
    #[arg(long, default_value_t, help_heading = "Run")]
    pub device: DeviceChoice,
    /// What of a GPU is used: all that it has, or only what every GPU has (WebGPU's default limits)
    #[arg(long, value_enum, default_value_t, help_heading = "Run")]
    #[serde(default)]
    pub limits: LimitsChoice,
    /// Steps between two lines of the log
    #[arg(
        long,
        value_name = "STEPS",
        default_value_t = 200,
        help_heading = "Run"
    )]
    pub log_interval: usize,
    /// Steps between two validations, beside the one after each epoch; 0 for none
    #[arg(long, value_name = "STEPS", default_value_t = 0, help_heading = "Run")]
    pub eval_interval: usize,
    /// Steps between two checkpoints, beside the one after each validation; 0 for none
    #[arg(long, value_name = "STEPS", default_value_t = 0, help_heading = "Run")]
    pub save_interval: usize,
    /// When the loss is no longer a number: stop, or go on from the last good checkpoint at half the
    /// learning rate
    #[arg(long, value_enum, default_value_t, help_heading = "Run")]
    #[serde(default)]
    pub on_nan: OnNan,
    /// When a checkpoint or the log cannot be written: stop, or warn, go on and try again at the next
    /// save; if the last one fails, too, that is an error
    #[arg(long, value_enum, default_value_t, help_heading = "Run")]
    #[serde(default)]
    pub on_save_error: OnSaveError,
    /// When the GPU is lost (its driver was reset, or hung): stop, or open it again and go on from the
    /// last checkpoint
    #[arg(long, value_enum, default_value_t, help_heading = "Run")]
    #[serde(default)]
    pub on_device_lost: OnDeviceLost,
    /// Newest checkpoints to keep; the last and the best are kept anyway
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Run")]
    pub keep: usize,
    /// Begin with the weights of a run, a checkpoint, or a safetensors file of PyTorch's. Sizes and
    /// vocabulary must be the same: unless given, they are taken from there [default: random weights,
    /// by --seed]
    #[arg(long, value_name = "RUN", help_heading = "Run")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_from: Option<PathBuf>,
    /// Folder of the run, which must not exist yet [default: runs/NAME-OF-THE-TEXT]
    #[arg(long, value_name = "FOLDER", help_heading = "Run")]
    #[serde(skip)]
    pub out: Option<PathBuf>,
}

/// The settings that `bptt train` has without a flag.
impl Default for Config {
    fn default() -> Self {
        #[derive(clap::Parser)]
        struct NoArguments {
            #[command(flatten)]
            config: Config,
        }
        <NoArguments as clap::Parser>::parse_from(["bptt"]).config
    }
}

impl Config {
    /// Checks every setting that can be checked without the text.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for the first that cannot be used.
    pub fn check(&self) -> Result<()> {
        // The vocabulary comes from the text, which has at least one token.
        self.model_size(1).check()?;
        let at_least_one = |field, value| require(field, value, value >= 1, "at least 1");
        let epochs = (1..=MAX_EPOCHS).contains(&self.epochs);
        require("epochs", self.epochs, epochs, &format!("1 to {MAX_EPOCHS}"))?;
        at_least_one("log-interval", self.log_interval)?;
        if let Some(size) = self.vocab_size {
            require("vocab-size", size, size >= 2, "at least 2")?;
            let words = self.level == Level::Word;
            require("vocab-size", size, words, "only with --level word")?;
        }
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let usable = self.lr > 0.0 && (self.lr as f32).is_normal();
        let expected = "a positive number that f32 can hold";
        require("lr", self.lr, usable, expected)?;
        let factor = positive(self.lr_decay) && self.lr_decay <= 1.0;
        require("lr-decay", self.lr_decay, factor, "above 0 and at most 1")?;
        // One that f32 takes for 0 would not bound anything.
        let bound = self.clip == 0.0 || self.clip > 0.0 && (self.clip as f32).is_normal();
        require(
            "clip",
            self.clip,
            bound,
            "a positive number, or 0 for no bound",
        )?;
        self.check_optimizer()?;
        self.check_schedule()?;
        if let Some(share) = self.valid_fraction {
            let usable = (0.0..1.0).contains(&share);
            require("valid-fraction", share, usable, "at least 0 and below 1")?;
        }
        let bytes = self.to_toml()?.len();
        let expected = format!("paths of at most {LARGEST_TOML} bytes in all");
        let value = format!("{bytes} bytes of settings");
        require("data", value, bytes <= LARGEST_TOML, &expected)
    }

    fn check_optimizer(&self) -> Result<()> {
        let windows = (1..=MAX_ACCUMULATE).contains(&self.accumulate);
        let expected = format!("1 to {MAX_ACCUMULATE}");
        require("accumulate", self.accumulate, windows, &expected)?;
        let choice = self.optimizer;
        let momentum = choice == OptimizerChoice::Momentum;
        let adam = matches!(choice, OptimizerChoice::Adam | OptimizerChoice::Adamw);
        let of_momentum = (momentum, "only with --optimizer momentum");
        let of_adam = (adam, "only with --optimizer adam or adamw");
        let of_both = (
            momentum || adam,
            "only with --optimizer momentum (--momentum 0 for plain SGD), adam or adamw",
        );
        let shares = [
            ("momentum", self.momentum, of_momentum),
            ("beta1", self.beta1, of_adam),
            ("beta2", self.beta2, of_adam),
            ("weight-decay", self.weight_decay, of_both),
        ];
        for (field, share, (fits, only)) in shares {
            if let Some(share) = share {
                require(field, share, fits, only)?;
                let usable = (0.0..1.0).contains(&share);
                require(field, share, usable, "at least 0 and below 1")?;
            }
        }
        if let Some(eps) = self.eps {
            require("eps", eps, adam, of_adam.1)?;
            let usable = eps > 0.0 && (eps as f32).is_normal();
            require("eps", eps, usable, "a positive number that f32 can hold")?;
        }
        let nesterov = momentum || !self.nesterov;
        require("nesterov", self.nesterov, nesterov, of_momentum.1)
    }

    fn check_schedule(&self) -> Result<()> {
        let plateau = self.lr_schedule == LrSchedule::Plateau;
        if let Some(epochs) = self.lr_patience {
            let only = "only with --lr-schedule plateau";
            require("lr-patience", epochs, plateau, only)?;
            require("lr-patience", epochs, epochs >= 1, "at least 1")?;
        }
        if let Some(epochs) = self.early_stop {
            require("early-stop", epochs, epochs >= 1, "at least 1")?;
        }
        let validated = self.valid.is_some() || self.source().valid_fraction > 0.0;
        let with = "a validation loss to follow, by --valid or --valid-fraction";
        if plateau {
            require("lr-schedule", "plateau", validated, with)?;
        }
        let stops = self.early_stop.unwrap_or_default();
        require("early-stop", stops, validated || stops == 0, with)
    }

    /// The settings as TOML, which can be read again. Where the run is does not belong to them.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for a path that is not UTF-8.
    pub fn to_toml(&self) -> Result<String> {
        let others = [
            &self.valid,
            &self.tokenizer,
            &self.token_cache,
            &self.init_from,
        ];
        toml::to_string(self).map_err(|_| Error::Config {
            field: "data, valid, tokenizer, token-cache or init-from",
            value: format!("{:?}, {others:?}", self.data),
            expected: "paths that are UTF-8".to_owned(),
        })
    }

    /// Settings from what [`Config::to_toml`] wrote.
    ///
    /// # Errors
    /// What is wrong, in words, and where.
    pub fn from_toml(toml: &[u8]) -> Result<Self, String> {
        let bytes = toml.len();
        if bytes > LARGEST_TOML {
            return Err(format!(
                "has {bytes} bytes, where {LARGEST_TOML} are the most there can be"
            ));
        }
        let text = std::str::from_utf8(toml).map_err(|e| e.to_string())?;
        toml::from_str(text).map_err(|e| {
            let what = e.message().replace('\n', ", ");
            let at = e.span().map_or(0, |span| span.start);
            format!("{what} {}", place(toml, at))
        })
    }

    /// Where the texts come from.
    pub fn source(&self) -> Source {
        // Only the embedded text is short of one, and only if there is none.
        let held_out = self.data.is_empty() && self.valid.is_none();
        let default = if held_out {
            EMBEDDED_VALID_FRACTION
        } else {
            0.0
        };
        Source {
            data: self.data.clone(),
            valid: self.valid.clone(),
            valid_fraction: self.valid_fraction.unwrap_or(default),
            level: self.level,
            max_vocab: self.vocab_size,
            tokenizer: self.tokenizer.clone(),
            token_cache: self.token_cache.clone(),
        }
    }

    /// The sizes of the model for a vocabulary of `vocab` tokens.
    pub fn model_size(&self, vocab: usize) -> ModelSize {
        ModelSize {
            vocab,
            embedding: self.emsize,
            hidden: self.nhid,
            batch: self.batch_size,
            time_steps: self.bptt,
            biases: self.rnn_biases,
        }
    }

    /// The bound on the gradients' norm, if there is one.
    pub fn max_norm(&self) -> Option<f32> {
        (self.clip > 0.0).then_some(self.clip as f32)
    }

    /// How gradients change weights.
    pub fn rule(&self) -> Rule {
        let adam = |decoupled, weight_decay| {
            let default = Adam::default();
            Rule::Adam(Adam {
                beta1: self.beta1.unwrap_or(default.beta1),
                beta2: self.beta2.unwrap_or(default.beta2),
                eps: self.eps.unwrap_or(default.eps),
                weight_decay: self.weight_decay.unwrap_or(weight_decay),
                decoupled,
            })
        };
        match self.optimizer {
            OptimizerChoice::Sgd => Rule::Sgd,
            OptimizerChoice::Momentum => {
                let default = Momentum::default();
                Rule::Momentum(Momentum {
                    momentum: self.momentum.unwrap_or(default.momentum),
                    weight_decay: self.weight_decay.unwrap_or(default.weight_decay),
                    nesterov: self.nesterov,
                })
            }
            OptimizerChoice::Adam => adam(false, 0.0),
            OptimizerChoice::Adamw => adam(true, 0.01),
        }
    }

    /// The same settings, with the defaults that belong to the optimizer and the schedule written out, but
    /// for the step schedule's last epoch at the full rate, which goes with the epochs: a later version,
    /// whose defaults may be others, reads the same.
    pub fn resolved(mut self) -> Self {
        match self.rule() {
            Rule::Sgd => {}
            Rule::Momentum(Momentum {
                momentum,
                weight_decay,
                nesterov: _,
            }) => {
                self.momentum = Some(momentum);
                self.weight_decay = Some(weight_decay);
            }
            Rule::Adam(adam) => {
                self.beta1 = Some(adam.beta1);
                self.beta2 = Some(adam.beta2);
                self.eps = Some(adam.eps);
                self.weight_decay = Some(adam.weight_decay);
            }
        }
        if self.lr_schedule == LrSchedule::Plateau {
            self.lr_patience.get_or_insert(PATIENCE);
        }
        self
    }

    /// The course of the learning rate over `updates`.
    pub fn schedule(&self, updates: u64) -> Schedule {
        let shape = match self.lr_schedule {
            LrSchedule::Constant => Shape::Constant,
            LrSchedule::Cosine => Shape::Cosine { updates },
            LrSchedule::Step => Shape::Step {
                full_epochs: self.lr_decay_after.unwrap_or(self.epochs * 17 / 20).max(1),
                factor: self.lr_decay,
            },
            LrSchedule::Plateau => Shape::Plateau {
                patience: self.lr_patience.unwrap_or(PATIENCE),
                factor: self.lr_decay,
            },
        };
        Schedule::new(self.lr, shape, self.warmup)
    }
}

fn one() -> usize {
    1
}

/// One path as a string, several as a list.
mod one_or_more {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
        match paths {
            [one] => one.serialize(to),
            more => more.serialize(to),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMore {
            One(PathBuf),
            More(Vec<PathBuf>),
        }
        Ok(match OneOrMore::deserialize(from)? {
            OneOrMore::One(path) => vec![path],
            OneOrMore::More(paths) => paths,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        config: Config,
    }

    fn config(arguments: &[&str]) -> Config {
        let arguments = std::iter::once("bptt").chain(arguments.iter().copied());
        Arguments::try_parse_from(arguments).unwrap().config
    }

    #[test]
    fn the_defaults_are_usable_and_survive_a_round_trip() {
        let config = config(&["--device", "gpu:1"]);
        config.check().unwrap();
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
    }

    #[test]
    fn one_text_or_several_are_read_again() {
        for (arguments, line) in [
            (&["--data", "a.txt"][..], "data = \"a.txt\"\n"),
            (
                &["--data", "a.txt", "b.txt"],
                "data = [\"a.txt\", \"b.txt\"]\n",
            ),
            (&["--data", "a", "--data", "b"], "data = [\"a\", \"b\"]\n"),
        ] {
            let config = config(arguments);
            let text = config.to_toml().unwrap();
            assert!(text.starts_with(line), "{text}");
            assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
        }
    }

    #[test]
    fn a_tokenizer_says_itself_what_a_token_is() {
        for other in [["--level", "char"], ["--vocab-size", "9"]] {
            let arguments = [&["bptt", "--tokenizer", "t.json"][..], &other].concat();
            let error = Arguments::try_parse_from(arguments).map(drop).unwrap_err();
            assert!(error.to_string().contains("cannot be used with"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (flag, value) in [
            ("--emsize", "0"),
            ("--nhid", "100000"),
            ("--batch-size", "0"),
            ("--bptt", "0"),
            ("--epochs", "0"),
            ("--log-interval", "0"),
            ("--lr", "0"),
            ("--lr", "NaN"),
            ("--lr-decay", "1.5"),
            ("--early-stop", "0"),
            ("--accumulate", "0"),
            ("--clip", "inf"),
            ("--valid-fraction", "1"),
            ("--vocab-size", "100"),
        ] {
            let error = config(&[flag, value]).check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{} = ", &flag[2..])), "{error}");
        }
        // As runs with the vocabulary of another were saved once.
        let mut old = config(&["--level", "word", "--vocab-size", "20"]);
        old.tokenizer = Some("tokenizer.json".into());
        old.check().unwrap();
        // As a file may have it.
        for biases in [0, 3] {
            let mut config = config(&["--rnn-biases", "2"]);
            config.rnn_biases = biases;
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with("rnn-biases = "), "{error}");
        }
    }

    #[test]
    fn settings_of_another_optimizer_or_schedule_are_named() {
        for arguments in [
            &["--momentum", "0.9"][..],
            &["--nesterov"],
            &["--weight-decay", "0.1"],
            &["--beta1", "0.9", "--optimizer", "momentum"],
            &["--momentum", "0.9", "--optimizer", "adam"],
            &["--lr-patience", "2"],
        ] {
            let error = config(arguments).check().unwrap_err().to_string();
            assert!(error.starts_with(&arguments[0][2..]), "{error}");
            assert!(error.contains("only with --"), "{error}");
        }
        for (flag, value) in [
            ("--beta1", "1"),
            ("--beta2", "-0.1"),
            ("--eps", "0"),
            ("--eps", "1e-60"),
            ("--weight-decay", "NaN"),
        ] {
            let config = config(&["--optimizer", "adamw", flag, value]);
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{} = ", &flag[2..])), "{error}");
        }
    }

    #[test]
    fn what_follows_the_validation_loss_needs_one() {
        for flag in [["--lr-schedule", "plateau"], ["--early-stop", "2"]] {
            let none = ["--data", "text", flag[0], flag[1]];
            let error = config(&none).check().unwrap_err().to_string();
            assert!(error.contains("--valid-fraction"), "{error}");
            config(&flag).check().unwrap();
            let valid = ["--data", "text", "--valid", "more", flag[0], flag[1]];
            config(&valid).check().unwrap();
        }
    }

    #[test]
    fn defaults_depend_on_what_they_are_for() {
        let rate = |arguments: &[&str]| config(arguments).lr;
        assert_eq!(rate(&[]), 0.5);
        assert_eq!(rate(&["--optimizer", "momentum"]), 0.05);
        assert_eq!(rate(&["--optimizer", "adam"]), 0.002);
        assert_eq!(rate(&["--lr", "0.1", "--optimizer", "adamw"]), 0.1);
        assert_eq!(config(&["--lr-schedule", "plateau"]).lr_decay, 0.25);
        assert_eq!(config(&["--lr-schedule", "step"]).lr_decay, 0.5);
        let Rule::Adam(adamw) = config(&["--optimizer", "adamw"]).rule() else {
            panic!("adamw is Adam");
        };
        assert_eq!((adamw.weight_decay, adamw.decoupled), (0.01, true));
        assert_eq!(config(&[]).rule(), Rule::Sgd);
    }

    /// Settings that were written before there were optimizers and biases to choose from.
    #[test]
    fn settings_without_optimizer_are_read() {
        let config = config(&[]);
        let text = toml::to_string(&config).unwrap();
        let added = [
            "optimizer",
            "nesterov",
            "accumulate",
            "warmup",
            "rnn_biases",
        ];
        let is_old = |line: &&str| !added.iter().any(|name| line.starts_with(name));
        let old: Vec<&str> = text.lines().filter(is_old).collect();
        assert_eq!(old.len() + added.len(), text.lines().count());
        assert_eq!(toml::from_str::<Config>(&old.join("\n")).unwrap(), config);
    }
}
