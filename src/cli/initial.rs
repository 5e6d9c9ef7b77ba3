//! Weights that a new run begins with, instead of random ones: `--init-from`.

use std::path::{Path, PathBuf};

use super::import::read_weights;
use super::terminal::note;
use crate::checkpoint::{Checkpoint, VOCABULARY, Weights};
use crate::config::Config;
use crate::data::Tokenizer;
use crate::error::{Error, Result, require};
use crate::model::ModelSize;
use crate::run;

/// Weights that were trained before.
pub struct Initial {
    /// The weights.
    pub weights: Weights,
    path: PathBuf,
    size: ModelSize,
    /// Of a checkpoint: its settings and its tokens.
    trained: Option<(Config, Tokenizer)>,
}

impl Initial {
    /// Reads the weights of a run, a checkpoint, or a safetensors file of PyTorch's. Such a file has
    /// two biases, which serve `biases` of either number.
    ///
    /// # Errors
    /// As [`read_weights`] and [`Checkpoint::read`].
    pub fn read(path: &Path, biases: usize) -> Result<Self> {
        if path.is_file() {
            let imported = read_weights(path, &[], biases)?;
            imported.notes.iter().for_each(|line| note(line));
            return Ok(Initial {
                weights: imported.weights,
                path: path.to_owned(),
                size: imported.size,
                trained: None,
            });
        }
        let path = run::model_of(path)?;
        let checkpoint = Checkpoint::read(&path)?;
        let size = checkpoint.config.model_size(checkpoint.vocabulary.len());
        Ok(Initial {
            weights: checkpoint.weights,
            path,
            size,
            trained: Some((checkpoint.config, checkpoint.vocabulary)),
        })
    }

    /// `config` with the sizes of the weights and, unless it names another tokenizer, with theirs.
    pub fn adapt(&self, config: &Config) -> Config {
        let mut config = Config {
            emsize: self.size.embedding,
            nhid: self.size.hidden,
            rnn_biases: self.size.biases,
            ..config.clone()
        };
        if let Some((trained, _)) = &self.trained {
            config.level = trained.level;
            config.tokenizer.get_or_insert(self.path.join(VOCABULARY));
        }
        config
    }

    /// Checks that the sizes are those of the weights, and says where these are from.
    ///
    /// # Errors
    /// [`Error::InitSize`] for the first that is not.
    pub fn check_sizes(&self, config: &Config) -> Result<()> {
        let sizes = [
            ("emsize", config.emsize, self.size.embedding),
            ("nhid", config.nhid, self.size.hidden),
            ("rnn-biases", config.rnn_biases, self.size.biases),
        ];
        for (field, asked, found) in sizes {
            if asked != found {
                return Err(Error::InitSize {
                    field,
                    asked,
                    found,
                    path: self.path.clone(),
                });
            }
        }
        note(&format!("weights: from {}", self.path.display()));
        Ok(())
    }

    /// Checks what `is_given` says the command line gave of the text's tokens, where the weights are of a
    /// checkpoint: these come with their vocabulary.
    ///
    /// # Errors
    /// [`Error::Config`] for what does not go with it.
    pub fn check_given(&self, given: &Config, is_given: impl Fn(&str) -> bool) -> Result<()> {
        let Some((_, vocabulary)) = &self.trained else {
            return Ok(());
        };
        let (asked, found) = (given.level.tokens(), vocabulary.level().tokens());
        let same = !is_given("level") || asked == found;
        require(
            "level",
            asked,
            same,
            &format!("{found}, as the weights are for"),
        )?;
        let size = given.vocab_size.unwrap_or_default();
        let expected = "only with a vocabulary of the text's own";
        require("vocab-size", size, !is_given("vocab_size"), expected)
    }

    /// Checks that the text has the vocabulary that the weights are for. Of a file without one only
    /// the number of tokens can be checked.
    ///
    /// # Errors
    /// [`Error::InitVocabulary`] with what differs.
    pub fn check_vocabulary(&self, text: &Tokenizer) -> Result<()> {
        let what = match &self.trained {
            Some((_, trained)) => trained.difference(text),
            None if self.size.vocab == text.len() => None,
            None => Some(format!(
                "the weights are for {} tokens, the text has {}",
                self.size.vocab,
                text.len()
            )),
        };
        match what {
            None => Ok(()),
            Some(what) => Err(Error::InitVocabulary {
                path: self.path.clone(),
                what,
            }),
        }
    }
}
