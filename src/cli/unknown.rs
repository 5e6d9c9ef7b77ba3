//! What a text holds that a model does not know: refused, left out, or read as `<unk>`, but never
//! without a word.

use std::borrow::Cow;

use crate::data::{Level, Tokenizer};
use crate::error::Result;

/// What to do about characters that are not in the vocabulary. (Words become `<unk>`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Unknown {
    /// Stop, and name the first
    #[default]
    Error,
    /// Leave them out, and say how many
    Skip,
}

/// What of a text is not in the vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Words, or other tokens, that became `<unk>`.
    pub words: usize,
    /// Characters that were left out.
    pub skipped: usize,
}

impl Found {
    /// A line for the user, if there is something to say about `text`.
    pub fn describe(&self, text: &str) -> Option<String> {
        match *self {
            Found {
                words: 0,
                skipped: 0,
            } => None,
            Found { words: 0, skipped } => Some(format!(
                "not in the vocabulary, and left out: {skipped} of {text}'s characters"
            )),
            Found { words, .. } => Some(format!(
                "not in the vocabulary, and read as <unk>: {words} of {text}'s words"
            )),
        }
    }
}

/// The ids of a text.
///
/// # Errors
/// [`crate::Error::UnknownToken`] for the first character that is unknown, unless it is to be
/// skipped.
pub fn encode(tokenizer: &Tokenizer, text: &str, unknown: Unknown) -> Result<(Vec<u32>, Found)> {
    let skip = unknown == Unknown::Skip && tokenizer.unknown().is_none();
    let known: Cow<str> = match tokenizer {
        Tokenizer::Vocabulary(vocabulary) if skip && vocabulary.level() == Level::Char => {
            let is_known = |c: &char| vocabulary.id(c.encode_utf8(&mut [0; 4])).is_some();
            text.chars().filter(is_known).collect()
        }
        _ => text.into(),
    };
    let skipped = text.chars().count() - known.chars().count();
    let (ids, words) = tokenizer.encode(&known)?;
    Ok((ids, Found { words, skipped }))
}
