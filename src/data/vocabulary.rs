//! Which token has which id. Saved in the format of Hugging Face's tokenizers (a WordLevel model),
//! so that other programs read it as well.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// Stands for every word that is not in the vocabulary.
pub const UNKNOWN: &str = "<unk>";
/// The end of a line, for words.
pub const END_OF_LINE: &str = "<eos>";

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A character (a Unicode scalar value).
    #[default]
    Char,
    /// A word between white space; the end of each line is a token of its own, `<eos>`.
    Word,
}

impl Level {
    /// The unit of this level's perplexity or entropy, in the plural.
    pub fn tokens(self) -> &'static str {
        match self {
            Level::Char => "characters",
            Level::Word => "words",
        }
    }

    /// A loss in nats per token as people of this level quote it: bits per character, or the
    /// perplexity of words.
    pub fn metric(self, loss: f64) -> String {
        match self {
            Level::Char => format!("{:.3} bits/char", loss / std::f64::consts::LN_2),
            Level::Word => format!("perplexity {:.2}", loss.exp()),
        }
    }
}

/// A list of distinct tokens; a token's place is its id.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    level: Level,
    tokens: Vec<String>,
    ids: HashMap<String, u32>,
}

impl Vocabulary {
    fn new(level: Level, tokens: Vec<String>) -> Self {
        let ids = tokens.iter().cloned().zip(0..).collect();
        Vocabulary { level, tokens, ids }
    }

    /// The distinct characters, in the order of their code points.
    pub fn of_characters(text: impl Iterator<Item = char>) -> Self {
        let distinct: std::collections::BTreeSet<char> = text.collect();
        Vocabulary::new(
            Level::Char,
            distinct.into_iter().map(String::from).collect(),
        )
    }

    /// `<unk>`, then the words of `text` and `<eos>`, the most frequent first, and among equals the
    /// one that comes first in the text. With `max`, only so many in all.
    pub fn of_words(text: &str, max: Option<usize>) -> Self {
        let mut counts: HashMap<&str, (usize, usize)> = HashMap::new();
        for (position, word) in words(text).enumerate() {
            counts.entry(word).or_insert((0, position)).0 += 1;
        }
        counts.remove(UNKNOWN);
        let mut ranked: Vec<_> = counts.into_iter().collect();
        ranked.sort_by_key(|(_, (count, first))| (std::cmp::Reverse(*count), *first));
        ranked.truncate(max.map_or(usize::MAX, |max| max.saturating_sub(1)));
        let words = ranked.into_iter().map(|(word, _)| word);
        let tokens = std::iter::once(UNKNOWN).chain(words).map(str::to_owned);
        Vocabulary::new(Level::Word, tokens.collect())
    }

    /// What a token is.
    pub fn level(&self) -> Level {
        self.level
    }

    /// V, the number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Has it no tokens?
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The id of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    /// The ids of a text, and how many of its words are not in the vocabulary.
    ///
    /// # Errors
    /// [`Error::UnknownToken`] for a character that is not in the vocabulary.
    pub fn encode(&self, text: &str) -> Result<(Vec<u32>, usize)> {
        match self.level {
            Level::Char => Ok((self.encode_characters(text)?, 0)),
            Level::Word => self.encode_words(text),
        }
    }

    fn encode_characters(&self, text: &str) -> Result<Vec<u32>> {
        let mut buffer = [0; 4];
        let id = |c: char| {
            let token = c.encode_utf8(&mut buffer);
            self.id(token).ok_or_else(|| self.unknown(token))
        };
        text.chars().map(id).collect()
    }

    fn encode_words(&self, text: &str) -> Result<(Vec<u32>, usize)> {
        let unknown_id = self.id(UNKNOWN).ok_or_else(|| self.unknown(UNKNOWN))?;
        let mut unknown = 0;
        let ids = words(text).map(|word| {
            self.id(word).unwrap_or_else(|| {
                unknown += 1;
                unknown_id
            })
        });
        let ids = ids.collect();
        Ok((ids, unknown))
    }

    fn unknown(&self, token: &str) -> Error {
        Error::UnknownToken {
            token: token.to_owned(),
            vocab: self.len(),
        }
    }

    /// The text of an id as it stands in a running text: a character as it is, a word with a space
    /// behind it, `<eos>` as a line's end. Empty for an id out of range.
    pub fn text(&self, id: u32) -> String {
        let token = self.tokens.get(id as usize).map_or("", String::as_str);
        match (self.level, token) {
            (Level::Char, _) | (_, "") => token.to_owned(),
            (Level::Word, END_OF_LINE) => "\n".to_owned(),
            (Level::Word, word) => format!("{word} "),
        }
    }

    /// The token that a text without a beginning is taken to follow: the end of a line.
    pub fn start(&self) -> u32 {
        let line_end = match self.level {
            Level::Char => "\n",
            Level::Word => END_OF_LINE,
        };
        self.id(line_end).or_else(|| self.id(" ")).unwrap_or(0)
    }

    /// The vocabulary as a `tokenizer.json` of Hugging Face's tokenizers.
    pub fn to_json(&self) -> Value {
        let (normalizer, pre_tokenizer, decoder) = match self.level {
            Level::Char => (
                Value::Null,
                json!({"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": false}),
                json!({"type": "Fuse"}),
            ),
            Level::Word => (
                json!({"type": "Replace", "pattern": {"String": "\n"}, "content": format!(" {END_OF_LINE} ")}),
                json!({"type": "WhitespaceSplit"}),
                Value::Null,
            ),
        };
        let vocab: serde_json::Map<_, _> = (self.tokens.iter().cloned())
            .zip((0u32..).map(Value::from))
            .collect();
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": [],
            "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer,
            "post_processor": null,
            "decoder": decoder,
            "model": {"type": "WordLevel", "vocab": vocab, "unk_token": UNKNOWN},
        })
    }

    /// Reads what [`Vocabulary::to_json`] wrote.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_json(json: &Value) -> Result<Self, String> {
        let level = match json["pre_tokenizer"]["type"].as_str() {
            Some("Split") => Level::Char,
            Some("WhitespaceSplit") => Level::Word,
            _ => return Err("pre_tokenizer.type is neither Split nor WhitespaceSplit".to_owned()),
        };
        let vocab = json["model"]["vocab"].as_object();
        let vocab = vocab.ok_or("model.vocab is not an object of tokens and ids")?;
        let mut tokens = vec![None; vocab.len()];
        for (token, id) in vocab {
            let slot = id
                .as_u64()
                .and_then(|id| tokens.get_mut(usize::try_from(id).ok()?));
            match slot {
                Some(slot @ None) => *slot = Some(token.clone()),
                _ => {
                    let last = vocab.len().saturating_sub(1);
                    return Err(format!(
                        "model.vocab: the id of {token:?} is {id}; ids must be 0 to {last}, each once"
                    ));
                }
            }
        }
        // As many distinct ids as slots: every slot is taken.
        let tokens: Vec<String> = tokens.into_iter().flatten().collect();
        if tokens.is_empty() {
            return Err("model.vocab is empty".to_owned());
        }
        Ok(Vocabulary::new(level, tokens))
    }
}

/// The words of a text, with `<eos>` at the end of each line.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').flat_map(|line| {
        let end = line.ends_with('\n').then_some(END_OF_LINE);
        line.split_whitespace().chain(end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_ranked_by_count_then_by_first_appearance() {
        let vocabulary = Vocabulary::of_words("b a\na b c\nc c", None);
        assert_eq!(vocabulary.tokens, ["<unk>", "c", "b", "a", "<eos>"]);
        let (ids, unknown) = vocabulary.encode("a x\nc").unwrap();
        assert_eq!((ids.as_slice(), unknown), (&[3, 0, 4, 1][..], 1));
        let text: String = ids.iter().map(|&id| vocabulary.text(id)).collect();
        assert_eq!(text, "a <unk> \nc ");
    }

    #[test]
    fn a_bounded_vocabulary_keeps_the_most_frequent_words() {
        let vocabulary = Vocabulary::of_words("a a b b c <unk>", Some(3));
        assert_eq!(vocabulary.tokens, ["<unk>", "a", "b"]);
    }

    #[test]
    fn characters_round_trip_and_an_unknown_one_is_named() {
        let vocabulary = Vocabulary::of_characters("né\nn".chars());
        assert_eq!(vocabulary.tokens, ["\n", "n", "é"]);
        let (ids, _) = vocabulary.encode("é\nn").unwrap();
        assert_eq!(ids, [2, 0, 1]);
        let error = vocabulary.encode("nx").unwrap_err().to_string();
        assert!(
            error.contains("\"x\"") && error.contains("3 tokens"),
            "{error}"
        );
    }

    #[test]
    fn json_round_trips_and_bad_ids_are_named() {
        for vocabulary in [
            Vocabulary::of_words("a b\n", None),
            Vocabulary::of_characters("x\"\\\n".chars()),
        ] {
            let json = vocabulary.to_json();
            assert_eq!(Vocabulary::from_json(&json), Ok(vocabulary));
        }
        let mut json = Vocabulary::of_words("a b", None).to_json();
        for id in [json!(1), json!(3), json!(-1), json!("0")] {
            json["model"]["vocab"]["b"] = id;
            let error = Vocabulary::from_json(&json).unwrap_err();
            assert!(error.contains("ids must be 0 to 2"), "{error}");
        }
    }
}
