//! Every setting of a training run: its name on the command line, its default, its check.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::{Level, Source};
use crate::device::adapter::DeviceChoice;
use crate::error::{Error, Result, require};
use crate::model::ModelSize;

/// Most epochs: the number of all steps fits 64 bits.
const MAX_EPOCHS: usize = 1_000_000_000;
/// The share of the embedded text that is held out unless asked otherwise.
const EMBEDDED_VALID_FRACTION: f64 = 0.1;

/// How the learning rate goes on from `--lr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LrSchedule {
    /// It stays.
    #[default]
    Constant,
    /// After epoch --lr-decay-after it is multiplied by --lr-decay before each epoch.
    Step,
    /// It falls to zero along half a cosine over the whole run.
    Cosine,
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
    /// Text to validate on after each epoch
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
    /// any of Hugging Face's
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Data",
        conflicts_with_all = ["level", "vocab_size"]
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// Keep the tokens in this file, and take them from there if it is of the same text; while a run
    /// uses it, nothing else may change it
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_cache: Option<PathBuf>,

    /// Size of the embedding (D)
    #[arg(long, value_name = "D", default_value_t = 64, help_heading = "Model")]
    pub emsize: usize,
    /// Hidden units (H)
    #[arg(long, value_name = "H", default_value_t = 256, help_heading = "Model")]
    pub nhid: usize,

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
    #[arg(long, default_value_t = 20, help_heading = "Training")]
    pub epochs: usize,
    /// Learning rate of stochastic gradient descent
    #[arg(
        allow_negative_numbers = true,
        long,
        default_value_t = 0.5,
        help_heading = "Training"
    )]
    pub lr: f64,
    /// How the learning rate goes on
    #[arg(long, value_enum, default_value_t, help_heading = "Training")]
    pub lr_schedule: LrSchedule,
    /// For the step schedule: factor per epoch
    #[arg(
        allow_negative_numbers = true,
        long,
        value_name = "FACTOR",
        default_value_t = 0.5,
        help_heading = "Training"
    )]
    pub lr_decay: f64,
    /// For the step schedule: last epoch at the full rate [default: 85 % of --epochs]
    #[arg(long, value_name = "EPOCH", help_heading = "Training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_decay_after: Option<usize>,
    /// Largest norm of all gradients together; longer ones are scaled to it; 0 for no bound
    #[arg(
        allow_negative_numbers = true,
        long,
        value_name = "NORM",
        default_value_t = 2.0,
        help_heading = "Training"
    )]
    pub clip: f64,
    /// Seed of the initial weights and of samples
    #[arg(long, default_value_t = 1, help_heading = "Training")]
    pub seed: u64,

    /// Where to train: auto, cpu, gpu, gpu:N or gpu:NAME (see `bptt devices`); auto takes a
    /// hardware GPU if there is one, else the CPU
    #[arg(long, default_value_t, help_heading = "Run")]
    pub device: DeviceChoice,
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
    /// Newest checkpoints to keep; the last and the best are kept anyway
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Run")]
    pub keep: usize,
    /// Folder of the run, which must not exist yet [default: runs/NAME-OF-THE-TEXT]
    #[arg(long, value_name = "FOLDER", help_heading = "Run")]
    #[serde(skip_serializing)]
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
        require("lr", self.lr, positive(self.lr), "a positive number")?;
        let factor = positive(self.lr_decay) && self.lr_decay <= 1.0;
        require("lr-decay", self.lr_decay, factor, "above 0 and at most 1")?;
        let bound = self.clip.is_finite() && self.clip >= 0.0;
        require(
            "clip",
            self.clip,
            bound,
            "a positive number, or 0 for no bound",
        )?;
        if let Some(share) = self.valid_fraction {
            let usable = (0.0..1.0).contains(&share);
            require("valid-fraction", share, usable, "at least 0 and below 1")?;
        }
        self.to_toml().map(drop)
    }

    /// The settings as TOML, which can be read again. Where the run is does not belong to them.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for a path that is not UTF-8.
    pub fn to_toml(&self) -> Result<String> {
        let others = [&self.valid, &self.tokenizer, &self.token_cache];
        toml::to_string(self).map_err(|_| Error::Config {
            field: "data, valid, tokenizer, or token-cache",
            value: format!("{:?}, {others:?}", self.data),
            expected: "paths that are UTF-8".to_owned(),
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
        }
    }

    /// The bound on the gradients' norm, if there is one.
    pub fn max_norm(&self) -> Option<f32> {
        (self.clip > 0.0).then_some(self.clip as f32)
    }

    /// The learning rate in `epoch` (from 0), `progress` of the whole run (0 to 1) being done.
    pub fn rate(&self, epoch: usize, progress: f64) -> f64 {
        match self.lr_schedule {
            LrSchedule::Constant => self.lr,
            LrSchedule::Cosine => self.lr * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            LrSchedule::Step => {
                let full = self.lr_decay_after.unwrap_or(self.epochs * 17 / 20).max(1);
                let decays = (epoch + 1).saturating_sub(full);
                self.lr
                    * self
                        .lr_decay
                        .powi(i32::try_from(decays).unwrap_or(i32::MAX))
            }
        }
    }
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
            ("--clip", "inf"),
            ("--valid-fraction", "1"),
            ("--vocab-size", "100"),
        ] {
            let error = config(&[flag, value]).check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{} = ", &flag[2..])), "{error}");
        }
    }

    #[test]
    fn the_rate_follows_its_schedule() {
        let step = config(&[
            "--lr-schedule",
            "step",
            "--lr",
            "8",
            "--lr-decay-after",
            "2",
        ]);
        let rates = [0, 1, 2, 3].map(|epoch| step.rate(epoch, 0.0));
        assert_eq!(rates, [8.0, 8.0, 4.0, 2.0]);
        let cosine = config(&["--lr-schedule", "cosine", "--lr", "2"]);
        let rates = [0.0, 0.5, 1.0].map(|progress| cosine.rate(0, progress));
        assert!((rates[0] - 2.0).abs() + (rates[1] - 1.0).abs() + rates[2].abs() < 1e-15);
        let constant = config(&[]);
        assert_eq!(constant.rate(39, 0.99), constant.lr);
    }
}
