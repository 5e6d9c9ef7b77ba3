//! What makes ids of a text, and text of ids.

use std::path::Path;

use super::encode::{Encoder, Unknown};
#[cfg(feature = "tokenizers")]
use super::subwords::{Subwords, TextStream};
use super::vocabulary::{Level, UNKNOWN, Vocabulary};
use crate::error::{Error, Result};

/// A vocabulary of characters or words or, with the feature `tokenizers`, a tokenizer of any kind
/// that Hugging Face's library knows.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Tokenizer {
    /// Characters or words.
    Vocabulary(Vocabulary),
    /// What that library makes of a text.
    #[cfg(feature = "tokenizers")]
    Subwords(Subwords),
}

impl From<Vocabulary> for Tokenizer {
    fn from(vocabulary: Vocabulary) -> Self {
        Tokenizer::Vocabulary(vocabulary)
    }
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Run`] with what is wrong with it.
    pub fn read(path: &Path) -> Result<Self> {
        let json = std::fs::read(path).map_err(Error::read(path))?;
        Tokenizer::from_json(&json).map_err(|what| Error::Run {
            path: path.to_owned(),
            what,
        })
    }

    /// A tokenizer from the content of its `tokenizer.json`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        match Vocabulary::from_json(json)? {
            Some(vocabulary) => Ok(Tokenizer::Vocabulary(vocabulary)),
            #[cfg(feature = "tokenizers")]
            None => Subwords::from_json(json).map(Tokenizer::Subwords),
            #[cfg(not(feature = "tokenizers"))]
            None => Err(
                "not a tokenizer of bptt's own characters or words, by its normalizer, pre_tokenizer, added_tokens or model; for other kinds build bptt with the cargo feature `tokenizers`: cargo install --locked --path . --features tokenizers"
                    .to_owned(),
            ),
        }
    }

    /// The content of its `tokenizer.json`: what it was read from, byte for byte, for other
    /// tokenizers than characters and words.
    pub fn to_json(&self) -> String {
        match self {
            Tokenizer::Vocabulary(vocabulary) => vocabulary.to_json().to_string(),
            #[cfg(feature = "tokenizers")]
            Tokenizer::Subwords(subwords) => subwords.json().to_owned(),
        }
    }

    /// How `text`, what a text is encoded with, differs from this one, in words; none if it does not.
    pub fn difference(&self, text: &Tokenizer) -> Option<String> {
        match (self, text) {
            (Tokenizer::Vocabulary(this), Tokenizer::Vocabulary(text)) => this.difference(text),
            #[cfg(feature = "tokenizers")]
            _ => (self != text).then(|| "the text is encoded by another tokenizer".to_owned()),
        }
    }

    /// What a token is.
    pub fn level(&self) -> Level {
        match self {
            Tokenizer::Vocabulary(vocabulary) => vocabulary.level(),
            #[cfg(feature = "tokenizers")]
            Tokenizer::Subwords(_) => Level::Token,
        }
    }

    /// V: every id is below.
    pub fn len(&self) -> usize {
        match self {
            Tokenizer::Vocabulary(vocabulary) => vocabulary.len(),
            #[cfg(feature = "tokenizers")]
            Tokenizer::Subwords(subwords) => subwords.len(),
        }
    }

    /// Has it no tokens?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The token that a text without a beginning is taken to follow: the end of a line.
    pub fn start(&self) -> u32 {
        match self {
            Tokenizer::Vocabulary(vocabulary) => vocabulary.start(),
            #[cfg(feature = "tokenizers")]
            Tokenizer::Subwords(subwords) => subwords.start(),
        }
    }

    /// The id of `<unk>`, if there is one.
    pub fn unknown(&self) -> Option<u32> {
        match self {
            Tokenizer::Vocabulary(vocabulary) => vocabulary.id(UNKNOWN),
            #[cfg(feature = "tokenizers")]
            Tokenizer::Subwords(subwords) => subwords.unknown(),
        }
    }

    /// The token of an id, as the vocabulary has it. Empty for an id out of range.
    pub fn token(&self, id: u32) -> String {
        match self {
            Tokenizer::Vocabulary(vocabulary) => {
                let token = vocabulary.tokens().get(id as usize);
                token.cloned().unwrap_or_default()
            }
            #[cfg(feature = "tokenizers")]
            Tokenizer::Subwords(subwords) => subwords.token(id),
        }
    }

    /// Begins to encode a text.
    pub(super) fn encoder(&self, unknown: Unknown) -> Encoder<'_> {
        match self {
            Tokenizer::Vocabulary(vocabulary) => Encoder::new(vocabulary, unknown),
            #[cfg(feature = "tokenizers")]
            Tokenizer::Subwords(subwords) => Encoder::subwords(subwords.pieces(), subwords.len()),
        }
    }

    /// The ids of a prompt, and how many of its tokens are not in the vocabulary.
    ///
    /// # Errors
    /// [`Error::UnknownToken`] for such a token where there is no `<unk>`.
    pub fn encode(&self, prompt: &str) -> Result<(Vec<u32>, usize)> {
        let (ids, words, _) = self.encode_prompt(prompt, Unknown::Error)?;
        Ok((ids, words))
    }

    /// The ids of a prompt, how many of its tokens are not in the vocabulary, and how many characters
    /// were left out.
    ///
    /// # Errors
    /// [`Error::UnknownToken`] for such a token where there is no `<unk>`, unless it is to be left out.
    pub fn encode_prompt(
        &self,
        prompt: &str,
        unknown: Unknown,
    ) -> Result<(Vec<u32>, usize, usize)> {
        let mut encoder = self.encoder(unknown);
        let mut ids = Vec::new();
        encoder
            .push(prompt, 0, &mut ids)
            .and_then(|()| encoder.finish(&mut ids))
            .map_err(|failure| failure.in_prompt(prompt))?;
        Ok((ids, encoder.unknown(), encoder.skipped()))
    }

    /// Begins to turn ids into running text.
    pub fn decoder(&self) -> Decoder<'_> {
        match self {
            Tokenizer::Vocabulary(vocabulary) => Decoder::Vocabulary(vocabulary),
            #[cfg(feature = "tokenizers")]
            Tokenizer::Subwords(subwords) => Decoder::Subwords(subwords.stream()),
        }
    }
}

/// Turns ids into text, one after the other.
#[derive(Debug)]
#[non_exhaustive]
pub enum Decoder<'a> {
    /// Each id has a text of its own.
    Vocabulary(&'a Vocabulary),
    /// An id may be a part of a character.
    #[cfg(feature = "tokenizers")]
    Subwords(TextStream<'a>),
}

impl Decoder<'_> {
    /// What the next id adds to the text; nothing if it takes more ids to know.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], never for characters and words.
    pub fn push(&mut self, id: u32) -> Result<String> {
        match self {
            Decoder::Vocabulary(vocabulary) => Ok(vocabulary.text(id)),
            #[cfg(feature = "tokenizers")]
            Decoder::Subwords(stream) => stream.push(id),
        }
    }

    /// What is left at the end of a text: the last ids may be a part of a character.
    ///
    /// # Errors
    /// As [`Decoder::push`].
    pub fn finish(self) -> Result<String> {
        match self {
            Decoder::Vocabulary(_) => Ok(String::new()),
            #[cfg(feature = "tokenizers")]
            Decoder::Subwords(stream) => stream.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_not_in_the_vocabulary_are_counted() {
        let words = Vocabulary::of_words("b a\na b c\nc c", None).unwrap();
        let (ids, unknown) = Tokenizer::from(words).encode("a x\nc").unwrap();
        assert_eq!((ids.as_slice(), unknown), (&[3, 0, 4, 1][..], 1));
    }

    #[test]
    fn characters_round_trip_and_an_unknown_one_is_named() {
        let tokenizer = Tokenizer::from(Vocabulary::of_characters("né\nn\u{1d518}"));
        let (ids, _) = tokenizer.encode("é\n\u{1d518}n").unwrap();
        assert_eq!(ids, [2, 0, 3, 1]);
        let error = tokenizer.encode("nx").unwrap_err().to_string();
        assert!(
            error.contains("\"x\" as character 2") && error.contains("4 tokens"),
            "{error}"
        );
    }

    #[test]
    fn a_vocabulary_of_characters_may_have_a_token_for_all_others() {
        let mut json = Vocabulary::of_characters("ab").to_json();
        json["model"]["vocab"]["<unk>"] = 2.into();
        let tokenizer = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
        let (ids, unknown) = tokenizer.encode("abc").unwrap();
        assert_eq!((ids.as_slice(), unknown), (&[0, 1, 2][..], 1));
    }

    #[cfg(not(feature = "tokenizers"))]
    #[test]
    fn a_tokenizer_of_another_kind_takes_the_feature() {
        let json = br#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}"#;
        let error = Tokenizer::from_json(json).unwrap_err();
        assert!(error.contains("--features tokenizers"), "{error}");
    }
}
