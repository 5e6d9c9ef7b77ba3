//! Text → vocabulary → ids → time-major windows.
//!
//! A text is read at least twice, piece by piece: for the vocabulary, and to encode it. So memory does
//! not grow with the text: ids of a large one go into a file.

mod cache;
mod count;
mod encode;
mod files;
mod ids;
pub mod scratch;
mod split;
#[cfg(feature = "tokenizers")]
mod subwords;
#[cfg(test)]
mod tests;
mod text;
mod tokenizer;
pub mod unseen;
pub mod vocabulary;
pub mod windows;
mod words;

use std::ops::ControlFlow::Continue;
use std::path::PathBuf;

pub use encode::Unknown;
pub use files::Files;
pub use ids::{Ids, Part, TokenIds};
pub use tokenizer::{Decoder, Tokenizer};
pub use vocabulary::{Level, Vocabulary};
pub use windows::Windows;

use hmac_sha256::Hash;

use crate::error::{Result, require};
use cache::Origin;
use count::{CharacterSet, WordCounts};
use encode::Span;
use ids::Width;
use text::Text;

/// Bytes of the largest texts whose ids, up to four times as many bytes, are kept in memory.
const LARGEST_IN_MEMORY: u64 = 64 << 20;

/// Where a training text, and the text that it is validated on, come from, and what its tokens are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Source {
    /// Files of the training text, or a folder: see [`Files::find`]. None for the embedded text.
    pub data: Vec<PathBuf>,
    /// A validation text of its own.
    pub valid: Option<PathBuf>,
    /// Without one: the share of the training text, at its end, that is held out.
    pub valid_fraction: f64,
    /// What a token is.
    pub level: Level,
    /// Most words of a vocabulary; the rarest become `<unk>`.
    pub max_vocab: Option<usize>,
    /// A `tokenizer.json` to encode with instead.
    pub tokenizer: Option<PathBuf>,
    /// A file that keeps the ids for the next run.
    pub token_cache: Option<PathBuf>,
}

/// Texts as token ids.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Corpus {
    /// The tokens.
    pub vocabulary: Tokenizer,
    /// Where the texts are from.
    pub files: Files,
    /// The training part.
    pub train: Part,
    /// The validation part; empty if there is none.
    pub valid: Part,
}

impl Corpus {
    /// The training and, if there is one, the validation part, cut into windows.
    ///
    /// # Errors
    /// [`crate::Error::TextTooShort`] for a part of less than one window.
    pub fn windows(
        &self,
        streams: usize,
        time_steps: usize,
    ) -> Result<(Windows<'_>, Option<Windows<'_>>)> {
        let windows = |part, what| Windows::new(part, streams, time_steps, what);
        let train = windows(self.train.ids.view(), "the training text")?;
        let valid = match self.valid.is_empty() {
            true => None,
            false => Some(windows(self.valid.ids.view(), "the validation text")?),
        };
        Ok((train, valid))
    }

    /// Bytes of the file that holds the ids, if they are not in memory.
    pub fn bytes_in_file(&self) -> Option<usize> {
        let bytes = |part: &Part| part.ids.bytes_in_file();
        Some(bytes(&self.train)? + bytes(&self.valid)?)
    }

    /// Reads and encodes the texts. Unless a tokenizer is given, the characters of all of them make
    /// the vocabulary, but only the words of the training part do: others become `<unk>`, and are
    /// counted.
    ///
    /// # Errors
    /// [`crate::Error::Read`], [`crate::Error::NotUtf8`], [`crate::Error::EmptyText`], [`crate::Error::Folder`],
    /// [`crate::Error::TextChanged`] or [`crate::Error::UnknownInText`] for a text that cannot be used;
    /// [`crate::Error::Run`] for such a tokenizer; [`crate::Error::TokenCache`]; [`crate::Error::Scratch`].
    pub fn load(source: &Source) -> Result<Self> {
        Corpus::load_within(source, LARGEST_IN_MEMORY)
    }

    /// [`Corpus::load`], with ids in memory for texts of at most so many bytes.
    fn load_within(source: &Source, largest_in_memory: u64) -> Result<Self> {
        let files = Files::find(&source.data, source.valid.as_deref())?;
        let texts = Texts::open(&files)?;
        if texts.valid.is_some() {
            let share = source.valid_fraction;
            let expected = "0 where there is a validation text of its own";
            require("valid-fraction", share, share == 0.0, expected)?;
        }
        let given = source.tokenizer.as_deref().map(Tokenizer::read);
        let given = given.transpose()?;
        let (vocabulary, [train, valid]) = match &source.token_cache {
            Some(path) => {
                let origin = texts.origin(source, given.as_ref())?;
                if !path.exists() {
                    let (vocabulary, spans) = texts.vocabulary(source, given)?;
                    cache::write(path, origin.clone(), &vocabulary, spans)?;
                }
                cache::read(path, &origin)?
            }
            None => {
                let (vocabulary, spans) = texts.vocabulary(source, given)?;
                let parts = encode_parts(&vocabulary, Unknown::Error, spans, largest_in_memory)?;
                (vocabulary, parts)
            }
        };
        Ok(Corpus {
            vocabulary,
            files,
            train,
            valid,
        })
    }
}

/// The ids of files, read as one text, by a vocabulary that there is already.
///
/// # Errors
/// As [`Corpus::load`].
pub fn encode_files(vocabulary: &Tokenizer, paths: &[PathBuf]) -> Result<Part> {
    let text = Text::open(paths)?;
    text.require_content()?;
    encode_part(vocabulary, Unknown::Error, (&text, 0..text.len()))
}

/// The ids of a single text.
fn encode_part(vocabulary: &Tokenizer, unknown: Unknown, (text, range): Span) -> Result<Part> {
    let spans = [(text, range), (text, 0..0)];
    let [part, _] = encode_parts(vocabulary, unknown, spans, LARGEST_IN_MEMORY)?;
    Ok(part)
}

/// Ids in memory for texts of at most so many bytes, else in a temporary file.
fn encode_parts(
    vocabulary: &Tokenizer,
    unknown: Unknown,
    spans: [Span; 2],
    largest_in_memory: u64,
) -> Result<[Part; 2]> {
    let bytes: u64 = spans.iter().map(|(_, range)| range.end - range.start).sum();
    if bytes <= largest_in_memory {
        let [train, valid] = spans.map(|span| encode::in_memory(vocabulary, unknown, span));
        return Ok([train?, valid?]);
    }
    let file = scratch::file()?;
    let width = Width::of(vocabulary.len());
    let sizes = encode::into_file(vocabulary, unknown, spans, &file, width, &scratch::failed)?;
    let map = ids::map(&file).map_err(scratch::failed)?;
    Ok(ids::parts(map, 0, width, sizes))
}

/// The texts of a corpus, opened.
struct Texts {
    train: Text,
    valid: Option<Text>,
    test: Option<Text>,
}

impl Texts {
    fn open(files: &Files) -> Result<Self> {
        let open = |paths: &[PathBuf]| {
            let text = Text::open(paths)?;
            text.require_content()?;
            Ok(text)
        };
        let unless_none = |paths: &[PathBuf]| match paths {
            [] => Ok(None),
            paths => open(paths).map(Some),
        };
        Ok(Texts {
            train: match files.train.as_slice() {
                [] => Text::embedded(files::EMBEDDED, include_str!("keeper.txt")),
                paths => open(paths)?,
            },
            valid: unless_none(&files.valid)?,
            test: unless_none(&files.test)?,
        })
    }

    /// The tokens, and the training and the validation part.
    fn vocabulary(
        &self,
        source: &Source,
        given: Option<Tokenizer>,
    ) -> Result<(Tokenizer, [Span<'_>; 2])> {
        let level = given.as_ref().map_or(source.level, Tokenizer::level);
        let cut = split::split(&self.train, source.valid_fraction, level)?;
        require(
            "valid-fraction",
            source.valid_fraction,
            source.valid_fraction == 0.0 || cut < self.train.len(),
            "a share that holds something to validate on",
        )?;
        let train = (&self.train, 0..cut);
        let valid = match &self.valid {
            Some(text) => (text, 0..text.len()),
            None => (&self.train, cut..self.train.len()),
        };
        let vocabulary = match given {
            Some(tokenizer) => tokenizer,
            None if level == Level::Char => self.characters()?.into(),
            None => words(train.clone(), source.max_vocab)?.into(),
        };
        Ok((vocabulary, [train, valid]))
    }

    /// The characters of all texts.
    fn characters(&self) -> Result<Vocabulary> {
        let mut characters = CharacterSet::default();
        for text in [Some(&self.train), self.valid.as_ref(), self.test.as_ref()] {
            let Some(text) = text else { continue };
            text.read(0..text.len(), |chunk| {
                characters.add(chunk.text);
                Ok(Continue(()))
            })?;
        }
        Ok(characters.vocabulary())
    }

    /// What ids are made from.
    fn origin(&self, source: &Source, given: Option<&Tokenizer>) -> Result<Origin> {
        let of = Text::hash;
        let level = given.is_none().then_some(source.level);
        Ok(Origin {
            train: of(&self.train)?,
            valid: self.valid.as_ref().map(of).transpose()?,
            // The words of a test text are nowhere.
            test: match &self.test {
                Some(text) if level == Some(Level::Char) => Some(of(text)?),
                _ => None,
            },
            valid_fraction: source.valid_fraction.to_bits(),
            level,
            max_vocab: source.max_vocab,
            tokenizer: given.map(|tokenizer| Hash::hash(tokenizer.to_json().as_bytes())),
        })
    }
}

/// The words of a text.
fn words((text, range): Span, max: Option<usize>) -> Result<Vocabulary> {
    let mut counts = WordCounts::default();
    text.read(range, |chunk| {
        if chunk.begins_file {
            counts.end_word()?;
        }
        counts.add(chunk.text)?;
        Ok(Continue(()))
    })?;
    counts.vocabulary(max)
}
