//! Text → ids, piece by piece.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow::Continue;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Tokenizer;
use super::ids::{self, Part, Size, TokenIds, Width};
use super::text::Text;
use super::vocabulary::{Level, UNKNOWN, Vocabulary};
use super::words::Words;
use crate::error::{Error, Result};

/// What to do about characters that are not in the vocabulary. (Words become `<unk>`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
#[non_exhaustive]
pub enum Unknown {
    /// Stop, and name the first
    #[default]
    Error,
    /// Leave them out, and say how many
    Skip,
}

/// Stands in a table for a character that has no id.
const NO_ID: u32 = u32::MAX;

/// Encodes a text that comes in pieces. What the pieces are does not change the ids.
#[derive(Debug)]
pub struct Encoder<'a> {
    kind: Kind<'a>,
    unknown: Found,
}

#[derive(Debug)]
enum Kind<'a> {
    /// The id of each code point up to the largest in the vocabulary.
    Characters(Vec<u32>),
    Words {
        vocabulary: &'a Vocabulary,
        /// Holds the word that goes on in the next piece.
        words: Words,
    },
    #[cfg(feature = "tokenizers")]
    Subwords(super::subwords::Pieces<'a>),
}

/// Tokens that are not in the vocabulary.
#[derive(Debug)]
struct Found {
    /// The id of `<unk>`, if there is one.
    id: Option<u32>,
    vocab: usize,
    /// Tokens that became `<unk>`.
    count: usize,
    /// What to do about others.
    unknown: Unknown,
    /// Those that were left out.
    skipped: usize,
}

impl Found {
    /// The id of `<unk>` for a token that begins at byte `offset`; none if it is left out.
    fn replace(&mut self, token: &str, offset: u64) -> Result<Option<u32>, Failure> {
        if self.id.is_some() {
            self.count += 1;
            return Ok(self.id);
        }
        if self.unknown == Unknown::Skip {
            self.skipped += 1;
            return Ok(None);
        }
        Err(Failure::Unknown {
            token: token.to_owned(),
            offset,
            vocab: self.vocab,
        })
    }
}

/// A text that has no ids.
#[derive(Debug)]
pub enum Failure {
    /// A token is not in the vocabulary, and neither is `<unk>`.
    Unknown {
        /// The character or word.
        token: String,
        /// Where it begins, in bytes.
        offset: u64,
        /// The size of the vocabulary.
        vocab: usize,
    },
    /// The tokenizer reported something else.
    #[cfg(feature = "tokenizers")]
    Tokenizer(String),
}

impl Failure {
    /// The error for a text in a file.
    pub fn in_text(self, path: &Path) -> Error {
        match self {
            Failure::Unknown {
                token,
                offset,
                vocab,
            } => Error::UnknownInText {
                path: path.to_owned(),
                token,
                offset,
                vocab,
            },
            #[cfg(feature = "tokenizers")]
            Failure::Tokenizer(what) => Error::Tokenizer { what },
        }
    }

    /// The error for a prompt, or another text that is not known by its file.
    pub fn in_prompt(self, prompt: &str) -> Error {
        match self {
            Failure::Unknown {
                token,
                offset,
                vocab,
            } => Error::UnknownToken {
                token,
                position: 1 + prompt[..offset as usize].chars().count(),
                vocab,
            },
            #[cfg(feature = "tokenizers")]
            Failure::Tokenizer(what) => Error::Tokenizer { what },
        }
    }
}

impl<'a> Encoder<'a> {
    /// An encoder for the characters or words of a vocabulary.
    pub fn new(vocabulary: &'a Vocabulary, unknown: Unknown) -> Self {
        let kind = if vocabulary.level() == Level::Char {
            Kind::Characters(ids_of_characters(vocabulary))
        } else {
            let words = Words::default();
            Kind::Words { vocabulary, words }
        };
        Encoder {
            kind,
            unknown: Found {
                id: vocabulary.id(UNKNOWN),
                vocab: vocabulary.len(),
                count: 0,
                unknown,
                skipped: 0,
            },
        }
    }

    /// An encoder by a tokenizer of Hugging Face's.
    #[cfg(feature = "tokenizers")]
    pub fn subwords(pieces: super::subwords::Pieces<'a>, vocab: usize) -> Self {
        Encoder {
            kind: Kind::Subwords(pieces),
            unknown: Found {
                id: None,
                vocab,
                count: 0,
                unknown: Unknown::Error,
                skipped: 0,
            },
        }
    }

    /// Appends the ids of the next piece, which begins at byte `offset`.
    ///
    /// # Errors
    /// [`Failure`] for a token that has no id.
    pub fn push(&mut self, piece: &str, offset: u64, ids: &mut Vec<u32>) -> Result<(), Failure> {
        let Encoder { kind, unknown } = self;
        match kind {
            Kind::Characters(table) => {
                for (at, c) in piece.char_indices() {
                    ids.extend(match table.get(c as usize) {
                        Some(&id) if id != NO_ID => Some(id),
                        _ => unknown.replace(c.encode_utf8(&mut [0; 4]), offset + at as u64)?,
                    });
                }
                Ok(())
            }
            Kind::Words { vocabulary, words } => words.push(piece, offset, |word, at| {
                push_word(vocabulary, unknown, word, at, ids)
            }),
            #[cfg(feature = "tokenizers")]
            Kind::Subwords(pieces) => {
                unknown.count += pieces.push(piece, ids)?;
                Ok(())
            }
        }
    }

    /// Ends what is under way, as the end of a file does, and appends its ids.
    ///
    /// # Errors
    /// As [`Encoder::push`].
    pub fn finish(&mut self, ids: &mut Vec<u32>) -> Result<(), Failure> {
        let Encoder { kind, unknown } = self;
        match kind {
            Kind::Characters(_) => Ok(()),
            Kind::Words { vocabulary, words } => {
                words.finish(|word, at| push_word(vocabulary, unknown, word, at, ids))
            }
            #[cfg(feature = "tokenizers")]
            Kind::Subwords(pieces) => {
                unknown.count += pieces.finish(ids)?;
                Ok(())
            }
        }
    }

    /// Tokens so far that became `<unk>`.
    pub fn unknown(&self) -> usize {
        self.unknown.count
    }

    /// Characters so far that were left out.
    pub fn skipped(&self) -> usize {
        self.unknown.skipped
    }
}

fn push_word(
    vocabulary: &Vocabulary,
    unknown: &mut Found,
    word: &str,
    offset: u64,
    ids: &mut Vec<u32>,
) -> Result<(), Failure> {
    ids.extend(match vocabulary.id(word) {
        Some(id) => Some(id),
        None => unknown.replace(word, offset)?,
    });
    Ok(())
}

fn ids_of_characters(vocabulary: &Vocabulary) -> Vec<u32> {
    let mut table = Vec::new();
    for (token, id) in vocabulary.tokens().iter().zip(0..) {
        let mut characters = token.chars();
        // Other tokens, `<unk>` for one, are not characters.
        if let (Some(c), None) = (characters.next(), characters.next()) {
            let at = c as usize;
            table.resize(table.len().max(at + 1), NO_ID);
            table[at] = id;
        }
    }
    table
}

/// A text, and the range of its bytes that counts.
pub type Span<'a> = (&'a Text, Range<u64>);

/// Encodes a text and hands its ids on as they come.
fn encode(
    tokenizer: &Tokenizer,
    unknown: Unknown,
    (text, range): Span,
    mut write: impl FnMut(&[u32]) -> Result<()>,
) -> Result<Size> {
    let vocab = tokenizer.len();
    let mut encoder = tokenizer.encoder(unknown);
    let mut size = Size::default();
    let mut hand_on = |ids: &mut Vec<u32>| {
        if let Some(position) = ids.iter().position(|&id| id as usize >= vocab) {
            let id = ids[position];
            return Err(Error::TokenId {
                id,
                position,
                vocab,
            });
        }
        write(ids)?;
        size.ids += ids.len() as u64;
        ids.clear();
        Ok(())
    };
    let mut ids = Vec::new();
    let mut file = PathBuf::new();
    text.read(range, |chunk| {
        if chunk.begins_file {
            encoder.finish(&mut ids).map_err(|e| e.in_text(&file))?;
            file = chunk.path.to_owned();
        }
        let pushed = encoder.push(chunk.text, chunk.offset, &mut ids);
        pushed.map_err(|e| e.in_text(&file))?;
        hand_on(&mut ids)?;
        Ok(Continue(()))
    })?;
    encoder.finish(&mut ids).map_err(|e| e.in_text(&file))?;
    hand_on(&mut ids)?;
    size.unknown = encoder.unknown();
    size.skipped = encoder.skipped();
    Ok(size)
}

/// Encodes a text in memory.
///
/// # Errors
/// [`Error::UnknownInText`], [`Error::Tokenizer`]; as [`Text::read`].
pub fn in_memory(tokenizer: &Tokenizer, unknown: Unknown, span: Span) -> Result<Part> {
    let mut all = Vec::new();
    let size = encode(tokenizer, unknown, span, |ids| {
        all.extend_from_slice(ids);
        Ok(())
    })?;
    Ok(Part {
        ids: TokenIds::Memory(all),
        unknown: size.unknown,
        skipped: size.skipped,
    })
}

/// Encodes texts one after the other into a file.
///
/// # Errors
/// `failed` of what the operating system said; as [`in_memory`].
pub fn into_file(
    tokenizer: &Tokenizer,
    unknown: Unknown,
    spans: [Span; 2],
    file: &File,
    width: Width,
    failed: &dyn Fn(std::io::Error) -> Error,
) -> Result<[Size; 2]> {
    let mut to = BufWriter::with_capacity(1 << 20, file);
    let mut sizes = [Size::default(); 2];
    for (size, span) in sizes.iter_mut().zip(spans) {
        *size = encode(tokenizer, unknown, span, |ids| {
            ids::write(&mut to, ids, width).map_err(failed)
        })?;
    }
    to.flush().map_err(failed)?;
    Ok(sizes)
}
