//! Tokenizers of any kind, by Hugging Face's library.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::Deserialize;

use super::encode::Failure;
use crate::error::{Error, Result};
use crate::json;

/// Such a library call encodes a piece of text as a whole, so a text is cut into pieces: at the first
/// line's end behind so many bytes …
const PIECE: usize = 1 << 16;
/// … or, where no line ends, before the last white space within so many.
const LONGEST_PIECE: usize = 1 << 20;
/// Most ids that a character is made of.
const IDS_OF_CHARACTER: usize = 4;

/// A tokenizer and the file that it was read from.
#[derive(Debug, Clone)]
pub struct Subwords {
    tokenizer: Arc<tokenizers::Tokenizer>,
    json: Arc<str>,
    vocab: usize,
    /// The id for what is not in the vocabulary.
    unknown: Option<u32>,
}

/// What of its file the library does not tell, or does not check.
#[derive(Deserialize)]
struct File {
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    unk_id: Option<u32>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    merges: Option<Merges>,
}

/// Pairs of tokens that become one: as they are written today, or as they once were.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merges {
    Pairs(Vec<(String, String)>),
    Lines(Vec<String>),
}

impl Model {
    /// The library cuts the prefix off the second token of each merge, and takes for granted that it
    /// is there: else it would cut off something else, and be it within a character.
    fn check_merges(&self) -> Result<(), String> {
        let (Some(prefix), Some(merges)) = (&self.continuing_subword_prefix, &self.merges) else {
            return Ok(());
        };
        let seconds: Vec<&str> = match merges {
            Merges::Pairs(pairs) => pairs.iter().map(|(_, second)| second.as_str()).collect(),
            Merges::Lines(lines) => {
                let merges = lines.iter().filter(|line| !line.starts_with("#version"));
                // A line that is no pair is refused by the library.
                merges
                    .filter_map(|line| Some(line.split_once(' ')?.1))
                    .collect()
            }
        };
        let found = seconds
            .into_iter()
            .find(|second| !second.starts_with(prefix.as_str()));
        match found {
            None => Ok(()),
            Some(second) => Err(format!(
                "model.merges: the second token of a merge, {second:?}, does not begin with the continuing_subword_prefix {prefix:?}"
            )),
        }
    }
}

/// What a call of the library gives. It panics on some of what a file may say; that is an error of the
/// file as any other. (The panic's message is printed all the same: who may silence it is the program,
/// by its panic hook, and the panic may be on a thread that encodes.)
fn call<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied());
            let text = text.unwrap_or("of a reason it does not tell");
            Err(format!("the tokenizers library panicked: {text}"))
        }
    }
}

impl PartialEq for Subwords {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl Subwords {
    /// A tokenizer from the content of its file.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        let File { model } = json::parse(json)?;
        model.check_merges()?;
        let mut tokenizer = call(|| tokenizers::Tokenizer::from_bytes(json))
            .map_err(|what| format!("not a tokenizer: {what}"))?;
        // They are for sentences of one length.
        tokenizer
            .with_padding(None)
            .with_truncation(None)
            .map_err(|e| e.to_string())?;
        let last = tokenizer.get_vocab(true).into_values().max();
        let last = last.ok_or("a tokenizer without tokens; train it first")?;
        // Unigram models give its id, others its text.
        let unknown = match &model.unk_token {
            Some(token) => tokenizer.token_to_id(token),
            None => model.unk_id,
        };
        Ok(Subwords {
            tokenizer: Arc::new(tokenizer),
            json: String::from_utf8_lossy(json).into(),
            vocab: last as usize + 1,
            unknown,
        })
    }

    /// The content of the file.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// V: the largest id and one more.
    pub fn len(&self) -> usize {
        self.vocab
    }

    /// The token that ends a line, or else 0.
    pub fn start(&self) -> u32 {
        let mut ids = Vec::new();
        match self.encode(vec!["\n"], &mut ids) {
            Ok(_) => ids.last().copied().unwrap_or(0),
            Err(_) => 0,
        }
    }

    /// The id for what is not in the vocabulary.
    pub fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    /// The token of an id; empty for an id that has none.
    pub fn token(&self, id: u32) -> String {
        self.tokenizer.id_to_token(id).unwrap_or_default()
    }

    /// Begins to encode a text.
    pub fn pieces(&self) -> Pieces<'_> {
        Pieces {
            subwords: self,
            begun: String::new(),
        }
    }

    /// Begins to decode ids.
    pub fn stream(&self) -> TextStream<'_> {
        TextStream {
            subwords: self,
            ids: Vec::new(),
            given: 0,
        }
    }

    /// Appends the ids of pieces of text, encoded on all cores; how many of them are unknown.
    fn encode(&self, pieces: Vec<&str>, ids: &mut Vec<u32>) -> Result<usize, Failure> {
        let encoded = call(|| self.tokenizer.encode_batch_fast(pieces, false));
        let encoded = encoded.map_err(Failure::Tokenizer)?;
        let before = ids.len();
        for piece in encoded {
            ids.extend_from_slice(piece.get_ids());
        }
        let unknown = ids[before..].iter().filter(|id| Some(**id) == self.unknown);
        Ok(unknown.count())
    }
}

/// Encodes a text that comes in pieces of any size.
#[derive(Debug)]
pub struct Pieces<'a> {
    subwords: &'a Subwords,
    /// What is not encoded yet.
    begun: String,
}

impl Pieces<'_> {
    /// Appends the ids of what is complete with this piece; how many of them are unknown.
    ///
    /// # Errors
    /// [`Failure::Tokenizer`].
    pub fn push(&mut self, piece: &str, ids: &mut Vec<u32>) -> Result<usize, Failure> {
        self.begun.push_str(piece);
        let mut complete = Vec::new();
        let mut rest = self.begun.as_str();
        while let Some(end) = piece_end(rest) {
            let (piece, next) = rest.split_at(end);
            complete.push(piece);
            rest = next;
        }
        let unknown = self.subwords.encode(complete, ids)?;
        let done = self.begun.len() - rest.len();
        self.begun.drain(..done);
        Ok(unknown)
    }

    /// Appends the ids of the rest, at the end of a text or of a file.
    ///
    /// # Errors
    /// As [`Pieces::push`].
    pub fn finish(&mut self, ids: &mut Vec<u32>) -> Result<usize, Failure> {
        if self.begun.is_empty() {
            return Ok(0);
        }
        let rest = std::mem::take(&mut self.begun);
        self.subwords.encode(vec![&rest], ids)
    }
}

/// Where the first piece of a text ends, if what is there of the text shows it.
fn piece_end(text: &str) -> Option<usize> {
    let bytes = &text.as_bytes()[..text.len().min(LONGEST_PIECE)];
    let line_end = bytes.iter().skip(PIECE - 1).position(|&b| b == b'\n');
    if let Some(at) = line_end {
        return Some(PIECE + at);
    }
    if text.len() < LONGEST_PIECE {
        return None;
    }
    let end = (0..=LONGEST_PIECE)
        .rev()
        .find(|&at| text.is_char_boundary(at))?;
    // White space belongs to the word behind it.
    let space = text[..end].rfind(char::is_whitespace);
    Some(space.filter(|&at| at > 0).unwrap_or(end))
}

/// Decodes ids that come one by one. An id alone may be a part of a character, and its text may depend
/// on the one before; so the last ids are decoded again with each new one.
#[derive(Debug)]
pub struct TextStream<'a> {
    subwords: &'a Subwords,
    /// The ids that gave the last text, and those behind them.
    ids: Vec<u32>,
    /// How many of them have been given out as text.
    given: usize,
}

impl TextStream<'_> {
    /// What the next id adds to the text; nothing if it ends within a character.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        let before = self.decode(self.given)?;
        let text = self.decode(self.ids.len())?;
        let waiting = self.ids.len() - self.given;
        let incomplete = text.ends_with(char::REPLACEMENT_CHARACTER) && waiting < IDS_OF_CHARACTER;
        if incomplete || text.len() <= before.len() {
            return Ok(String::new());
        }
        self.ids.drain(..self.given);
        self.given = self.ids.len();
        Ok(text.get(before.len()..).unwrap_or_default().to_owned())
    }

    /// What the last ids add that wait for the rest of a character.
    ///
    /// # Errors
    /// As [`TextStream::push`].
    pub fn finish(self) -> Result<String> {
        let before = self.decode(self.given)?;
        let text = self.decode(self.ids.len())?;
        Ok(text.get(before.len()..).unwrap_or_default().to_owned())
    }

    fn decode(&self, count: usize) -> Result<String> {
        let text = call(|| self.subwords.tokenizer.decode(&self.ids[..count], false));
        text.map_err(|what| Error::Tokenizer { what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Level, Tokenizer};

    /// Bytes as GPT-2 writes them, of which "t", "h" and "e" merge.
    fn byte_level() -> Tokenizer {
        let mut vocab = serde_json::Map::new();
        let printable = |b: u32| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let mut others = 0x100..;
        for byte in 0..256 {
            let code = if printable(byte) {
                Some(byte)
            } else {
                others.next()
            };
            let token = code.and_then(char::from_u32).unwrap();
            vocab.insert(token.to_string(), byte.into());
        }
        vocab.insert("th".to_owned(), 256.into());
        vocab.insert("the".to_owned(), 257.into());
        let pre = serde_json::json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        let json = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": null, "pre_tokenizer": pre, "post_processor": null,
            "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "model": {"type": "BPE", "vocab": vocab, "merges": [["t", "h"], ["th", "e"]]},
        });
        Tokenizer::from_json(json.to_string().as_bytes()).unwrap()
    }

    fn decoded(tokenizer: &Tokenizer, ids: &[u32]) -> String {
        let mut decoder = tokenizer.decoder();
        ids.iter().map(|&id| decoder.push(id).unwrap()).collect()
    }

    #[test]
    fn bytes_are_merged_and_come_back_as_characters() {
        let tokenizer = byte_level();
        assert_eq!((tokenizer.len(), tokenizer.level()), (258, Level::Token));
        let text = "the thé 漢\u{1d518}\nthe";
        let (ids, unknown) = tokenizer.encode(text).unwrap();
        assert_eq!(
            (ids[0], ids[2], ids.last(), unknown),
            (257, 256, Some(&257), 0)
        );
        assert_eq!(decoded(&tokenizer, &ids), text);
        // Half a character, then a whole one.
        let bytes = [0xe6, 0x41].map(|byte| byte as u32);
        assert_eq!(decoded(&tokenizer, &bytes), "\u{fffd}A");
    }

    #[test]
    fn an_end_within_a_character_is_told() {
        let tokenizer = byte_level();
        let end = |ids: &[u32]| {
            let mut decoder = tokenizer.decoder();
            for &id in ids {
                decoder.push(id).unwrap();
            }
            decoder.finish().unwrap()
        };
        let (ids, _) = tokenizer.encode("the 漢").unwrap();
        assert_eq!(end(&ids), "");
        assert_eq!(end(&ids[..ids.len() - 1]), "\u{fffd}");
        assert_eq!(end(&[]), "");
    }

    #[test]
    fn pieces_do_not_depend_on_how_the_text_comes() {
        let tokenizer = byte_level();
        let lines: String = (0..30_000).map(|i| format!("the line {i} é\n")).collect();
        let text = lines + &"no end of line ".repeat(100_000);
        let whole = tokenizer.encode(&text).unwrap().0;
        assert!(text.starts_with(&decoded(&tokenizer, &whole[..1000])));
        let mut encoder = tokenizer.encoder(crate::data::Unknown::Error);
        let mut ids = Vec::new();
        let characters: Vec<char> = text.chars().collect();
        for piece in characters.chunks(77_777) {
            let piece: String = piece.iter().collect();
            encoder.push(&piece, 0, &mut ids).unwrap();
        }
        encoder.finish(&mut ids).unwrap();
        assert!(ids == whole);
    }

    #[test]
    fn our_own_vocabularies_mean_the_same_to_the_library() {
        for vocabulary in [
            crate::data::Vocabulary::of_characters("the \né漢"),
            crate::data::Vocabulary::of_words("the cat\nthe dog", None).unwrap(),
        ] {
            let json = vocabulary.to_json();
            let bytes = json.to_string();
            let library = Subwords::from_json(bytes.as_bytes()).unwrap();
            let text = "the the\n";
            let mut ids = Vec::new();
            library.encode(vec![text], &mut ids).unwrap();
            assert_eq!(
                ids,
                Tokenizer::from(vocabulary.clone()).encode(text).unwrap().0
            );
            // And what it writes is still ours.
            let saved = library.tokenizer.to_string(false).unwrap();
            let saved = Tokenizer::from_json(saved.as_bytes());
            assert_eq!(saved, Ok(vocabulary.into()));
        }
    }
}
