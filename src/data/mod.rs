//! Text → vocabulary → ids → time-major windows.

pub mod vocabulary;
pub mod windows;

use std::path::{Path, PathBuf};

pub use vocabulary::{Level, Vocabulary};
pub use windows::Windows;

use crate::error::{Error, Result, require};

/// The text to train on where none is given: the log of an invented lighthouse keeper, 48,676
/// characters of 63 kinds, written for this crate.
const EMBEDDED: &str = include_str!("keeper.txt");

/// Where a training text, and the text that it is validated on, come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The training text; the embedded one if not given.
    pub train: Option<PathBuf>,
    /// A validation text of its own.
    pub valid: Option<PathBuf>,
    /// Without one: the share of the training text, at its end, that is held out.
    pub valid_fraction: f64,
    /// What a token is.
    pub level: Level,
    /// Most words of a vocabulary; the rarest become `<unk>`.
    pub max_vocab: Option<usize>,
}

/// Texts as token ids.
#[derive(Debug, Clone)]
pub struct Corpus {
    /// The tokens.
    pub vocabulary: Vocabulary,
    /// The training part.
    pub train: Vec<u32>,
    /// The validation part; empty if there is none.
    pub valid: Vec<u32>,
    /// Words that are not in the vocabulary, in the training and in the validation part.
    pub unknown: (usize, usize),
}

impl Corpus {
    /// The training and, if there is one, the validation part, cut into windows.
    ///
    /// # Errors
    /// [`Error::TextTooShort`] for a part of less than one window.
    pub fn windows(
        &self,
        streams: usize,
        time_steps: usize,
    ) -> Result<(Windows<'_>, Option<Windows<'_>>)> {
        let train = Windows::new(&self.train, streams, time_steps, "the training text")?;
        let valid = match self.valid.as_slice() {
            [] => None,
            ids => Some(Windows::new(
                ids,
                streams,
                time_steps,
                "the validation text",
            )?),
        };
        Ok((train, valid))
    }

    /// Reads and encodes the texts. Characters of all of them make the vocabulary, but only the
    /// words of the training part do: others become `<unk>`, and are counted.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::NotUtf8`] or [`Error::EmptyText`] for a text that cannot be used.
    pub fn load(source: &Source) -> Result<Self> {
        let text = match &source.train {
            Some(path) => read_text(path)?,
            None => EMBEDDED.to_owned(),
        };
        let (train, valid) = match &source.valid {
            Some(path) => (text.as_str(), read_text(path)?),
            None => {
                let (train, valid) = split(&text, source.valid_fraction, source.level);
                (train, valid.to_owned())
            }
        };
        let asked = source.valid.is_some() || source.valid_fraction > 0.0;
        require(
            "valid-fraction",
            source.valid_fraction,
            !asked || !valid.is_empty(),
            "a share that holds something to validate on",
        )?;
        let vocabulary = match source.level {
            Level::Char => Vocabulary::of_characters(train.chars().chain(valid.chars())),
            Level::Word => Vocabulary::of_words(train, source.max_vocab),
        };
        let (train, unknown_train) = vocabulary.encode(train)?;
        let (valid, unknown_valid) = vocabulary.encode(&valid)?;
        Ok(Corpus {
            vocabulary,
            train,
            valid,
            unknown: (unknown_train, unknown_valid),
        })
    }
}

/// Reads a text that has something in it.
fn read_text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(Error::read(path))?;
    let text = String::from_utf8(bytes).map_err(|e| Error::NotUtf8 {
        path: path.to_owned(),
        offset: e.utf8_error().valid_up_to(),
    })?;
    if text.trim().is_empty() {
        return Err(Error::EmptyText {
            path: path.to_owned(),
        });
    }
    // A byte-order mark is not part of the text.
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// Cuts off the last `fraction` of a text: by characters; for words at a line's end, or between two
/// words of the last line.
fn split(text: &str, fraction: f64, level: Level) -> (&str, &str) {
    let count = text.chars().count();
    let keep = count - (count as f64 * fraction) as usize;
    let mut at = text.char_indices().nth(keep).map_or(text.len(), |(i, _)| i);
    if level == Level::Word && !text[..at].ends_with('\n') {
        let rest = &text[at..];
        let end = rest.find('\n').or_else(|| rest.find(char::is_whitespace));
        at = end.map_or(text.len(), |end| at + end + 1);
    }
    text.split_at(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_by_characters_or_at_the_end_of_a_line() {
        assert_eq!(split("aébc", 0.25, Level::Char), ("aéb", "c"));
        assert_eq!(split("abc", 0.0, Level::Char), ("abc", ""));
        let text = "one two\nthree\nfour\n";
        assert_eq!(
            split(text, 0.4, Level::Word),
            ("one two\nthree\n", "four\n")
        );
        let line = "one line only";
        assert_eq!(split(line, 0.5, Level::Word), ("one line ", "only"));
    }

    #[test]
    fn words_of_the_validation_part_do_not_enter_the_vocabulary() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        std::fs::write(&path, "a b\na c\n").unwrap();
        let mut source = Source {
            train: Some(path),
            valid: None,
            valid_fraction: 0.5,
            level: Level::Word,
            max_vocab: None,
        };
        let corpus = Corpus::load(&source).unwrap();
        assert_eq!((corpus.train.len(), corpus.valid.len()), (3, 3));
        assert_eq!(corpus.unknown, (0, 1));
        source.level = Level::Char;
        let corpus = Corpus::load(&source).unwrap();
        assert_eq!(corpus.vocabulary.len(), 5);
        assert_eq!(corpus.unknown, (0, 0));
    }
}
