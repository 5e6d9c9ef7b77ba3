//! Texts that are read as a whole: a prompt, a text to predict.

use std::io::Read as _;
use std::ops::ControlFlow::Continue;
use std::path::Path;

use super::{Files, Level, Source, Texts, split};
use crate::error::{Error, Result};

/// Reads a text, which may be empty; `-` is the standard input.
///
/// # Errors
/// [`Error::Read`] or [`Error::NotUtf8`] for a text that cannot be used.
pub fn read(path: &Path) -> Result<String> {
    if path != Path::new("-") {
        return decode(path, std::fs::read(path));
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut bytes);
    decode(Path::new("the standard input"), read.map(|_| bytes))
}

fn decode(path: &Path, bytes: std::io::Result<Vec<u8>>) -> Result<String> {
    let text = String::from_utf8(bytes.map_err(Error::read(path))?);
    let text = text.map_err(|e| Error::NotUtf8 {
        path: path.to_owned(),
        offset: e.utf8_error().valid_up_to() as u64,
    })?;
    // A byte-order mark is not part of the text.
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// What a training text is validated on, for tokens of this level; empty if there is nothing.
///
/// # Errors
/// As [`super::Corpus::load`].
pub fn validation(source: &Source, level: Level) -> Result<String> {
    let files = Files::find(&source.data, source.valid.as_deref())?;
    let Texts { train, valid, .. } = Texts::open(&files)?;
    let (text, begin) = match valid {
        Some(text) => (text, 0),
        None => {
            let begin = split::split(&train, source.valid_fraction, level)?;
            (train, begin)
        }
    };
    let mut whole = String::new();
    text.read(begin..text.len(), |chunk| {
        whole.push_str(chunk.text);
        Ok(Continue(()))
    })?;
    Ok(whole)
}
