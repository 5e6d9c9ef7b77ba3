//! Texts that a trained model meets: a prompt, and a text to predict, which may be of any size.

use std::io::Read as _;
use std::ops::ControlFlow::Continue;
use std::path::{Path, PathBuf};

use super::encode::Span;
use super::text::{STANDARD_INPUT, Text};
use super::{Files, Part, Source, Texts, Tokenizer, Unknown, encode_part, split};
use crate::error::{Error, Result};

/// Stands for the standard input on the command line.
const DASH: &str = "-";

/// Reads a prompt, which may be empty; `-` is the standard input.
///
/// # Errors
/// [`Error::Read`] or [`Error::NotUtf8`] for a text that cannot be used.
pub fn prompt(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let (path, read) = if path == Path::new(DASH) {
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        (Path::new(STANDARD_INPUT), read.map(drop))
    } else {
        (path, std::fs::read(path).map(|all| bytes = all))
    };
    read.map_err(Error::read(path))?;
    let mut prompt = String::with_capacity(bytes.len());
    let text = Text::of_bytes(path, bytes.into());
    text.read(0..text.len(), |chunk| {
        prompt.push_str(chunk.text);
        Ok(Continue(()))
    })?;
    Ok(prompt)
}

/// A text to predict.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Unseen {
    /// Its tokens.
    pub part: Part,
    /// Its characters, without those that were left out.
    pub characters: usize,
}

impl Unseen {
    /// The text of a file; `-` is the standard input.
    ///
    /// # Errors
    /// [`Error::EmptyText`] for one without a token; [`Error::UnknownInText`]; as
    /// [`super::encode_files`].
    pub fn read(path: &Path, tokenizer: &Tokenizer, unknown: Unknown) -> Result<Self> {
        let text = if path == Path::new(DASH) {
            Text::standard_input()?
        } else {
            Text::open(&[PathBuf::from(path)])?
        };
        let unseen = Unseen::of((&text, 0..text.len()), tokenizer, unknown)?;
        if unseen.part.is_empty() {
            let path = path.to_owned();
            return Err(Error::EmptyText { path });
        }
        Ok(unseen)
    }

    /// What a training text is validated on; none if there is nothing.
    ///
    /// # Errors
    /// As [`super::Corpus::load`].
    pub fn validation(
        source: &Source,
        tokenizer: &Tokenizer,
        unknown: Unknown,
    ) -> Result<Option<Self>> {
        let files = Files::find(&source.data, source.valid.as_deref())?;
        let Texts { train, valid, .. } = Texts::open(&files)?;
        let (text, begin) = match valid {
            Some(text) => (text, 0),
            None => {
                let begin = split::split(&train, source.valid_fraction, tokenizer.level())?;
                (train, begin)
            }
        };
        let unseen = Unseen::of((&text, begin..text.len()), tokenizer, unknown)?;
        Ok(Some(unseen).filter(|unseen| !unseen.part.is_empty()))
    }

    fn of((text, range): Span, tokenizer: &Tokenizer, unknown: Unknown) -> Result<Self> {
        let mut characters = 0;
        text.read(range.clone(), |chunk| {
            characters += chunk.text.chars().count();
            Ok(Continue(()))
        })?;
        let part = encode_part(tokenizer, unknown, (text, range))?;
        characters -= part.skipped;
        Ok(Unseen { part, characters })
    }
}
