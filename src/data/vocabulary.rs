//! Which token has which id. Saved in the format of Hugging Face's tokenizers (a WordLevel model),
//! so that other programs read it as well.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::count::{CharacterSet, WordCounts};
use crate::error::Result;
use crate::json;

/// Stands for every word that is not in the vocabulary.
pub const UNKNOWN: &str = "<unk>";
/// The end of a line, for words.
pub const END_OF_LINE: &str = "<eos>";

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Level {
    /// A character (a Unicode scalar value).
    #[default]
    Char,
    /// A word between white space; the end of each line is a token of its own, `<eos>`.
    Word,
    /// What a tokenizer of Hugging Face's makes of a text (--tokenizer): parts of words, mostly.
    #[value(skip)]
    #[serde(skip)]
    Token,
}

impl Level {
    /// The unit of this level's perplexity or entropy, in the plural.
    pub fn tokens(self) -> &'static str {
        match self {
            Level::Char => "characters",
            Level::Word => "words",
            Level::Token => "tokens",
        }
    }

    /// A loss in nats per token as people of this level quote it: bits per character, or the
    /// perplexity of words or other tokens.
    pub fn metric(self, loss: f64) -> String {
        match self {
            Level::Char => format!("{:.3} bits/char", loss / std::f64::consts::LN_2),
            Level::Word | Level::Token => format!("perplexity {:.2}", loss.exp()),
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
    /// Distinct tokens, by their ids.
    pub(super) fn new(level: Level, tokens: Vec<String>) -> Self {
        let ids = tokens.iter().cloned().zip(0..).collect();
        Vocabulary { level, tokens, ids }
    }

    /// The distinct characters, in the order of their code points.
    pub fn of_characters(text: &str) -> Self {
        let mut characters = CharacterSet::default();
        characters.add(text);
        characters.vocabulary()
    }

    /// `<unk>`, then the words of `text` and `<eos>`, the most frequent first, and among equals the
    /// one that comes first in the text. With `max`, only so many in all.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for more distinct words than a vocabulary may have.
    pub fn of_words(text: &str, max: Option<usize>) -> Result<Self> {
        let mut counts = WordCounts::default();
        counts.add(text)?;
        counts.vocabulary(max)
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

    /// The tokens, by their ids.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// How `text`, the vocabulary of a text, differs from this one, in words; none if it does not.
    pub fn difference(&self, text: &Vocabulary) -> Option<String> {
        if self.level != text.level {
            let (level, other) = (self.level.tokens(), text.level.tokens());
            return Some(format!("its tokens are {level}, those of the text {other}"));
        }
        let both = self.tokens.iter().zip(&text.tokens);
        let at = both.into_iter().position(|(token, other)| token != other);
        let shorter = self.len().min(text.len());
        let at = match at {
            None if self.len() == text.len() => return None,
            at => at.unwrap_or(shorter),
        };
        let only_in = |this: &Vocabulary, other: &Vocabulary| {
            let only = this.tokens.iter().filter(|t| other.id(t).is_none());
            only.count()
        };
        let name = |vocabulary: &Vocabulary| match vocabulary.tokens.get(at) {
            Some(token) => format!("{token:?}"),
            None => "none".to_owned(),
        };
        Some(format!(
            "it has {} tokens, {} of which are not in the text; the text has {}, {} of which it does not have; token {at} is {} there and {} in the text",
            self.len(),
            only_in(self, text),
            text.len(),
            only_in(text, self),
            name(self),
            name(text)
        ))
    }

    /// The text of an id as it stands in a running text: a character as it is, a word with a space
    /// behind it, `<eos>` as a line's end. Empty for an id out of range.
    pub fn text(&self, id: u32) -> String {
        let token = self.tokens.get(id as usize).map_or("", String::as_str);
        match (self.level, token) {
            (Level::Word, END_OF_LINE) => "\n".to_owned(),
            (Level::Word, word) if !word.is_empty() => format!("{word} "),
            _ => token.to_owned(),
        }
    }

    /// The token that a text without a beginning is taken to follow: the end of a line.
    pub fn start(&self) -> u32 {
        let characters = self.level == Level::Char;
        let line_end = if characters { "\n" } else { END_OF_LINE };
        self.id(line_end).or_else(|| self.id(" ")).unwrap_or(0)
    }

    /// The vocabulary as a `tokenizer.json` of Hugging Face's tokenizers.
    pub fn to_json(&self) -> Value {
        let vocab: serde_json::Map<_, _> = (self.tokens.iter().cloned())
            .zip((0u32..).map(Value::from))
            .collect();
        let mut json = pipeline(self.level);
        json["model"]["vocab"] = Value::from(vocab);
        json
    }

    /// Reads what [`Vocabulary::to_json`] wrote; none if it is a tokenizer of another kind.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_json(json: &[u8]) -> Result<Option<Self>, String> {
        let file: TokenizerJson = json::parse(json)?;
        let Some(level) = file.level() else {
            return Ok(None);
        };
        let vocab = file.model.and_then(|model| model.vocab);
        let vocab = vocab.ok_or("model.vocab is missing")?;
        let Ids(vocab) =
            json::parse(vocab.get().as_bytes()).map_err(|what| format!("model.vocab: {what}"))?;
        let mut tokens = vec![None; vocab.len()];
        let last = vocab.len().saturating_sub(1);
        for (token, id) in vocab {
            let slot = id.get().parse().ok();
            match slot.and_then(|id: usize| tokens.get_mut(id)) {
                Some(slot @ None) => *slot = Some(token),
                _ => {
                    let id: String = id.get().chars().take(20).collect();
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
        Ok(Some(Vocabulary::new(level, tokens)))
    }
}

/// Bytes of the longest steps of a `tokenizer.json` that could be ours.
const LONGEST_STEP: usize = 1 << 10;

/// What of a `tokenizer.json` decides which id a token has. Steps stay as they are written: those of
/// others may be of any size.
#[derive(Deserialize)]
struct TokenizerJson<'a> {
    #[serde(borrow, default)]
    normalizer: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pre_tokenizer: Option<&'a RawValue>,
    #[serde(borrow, default)]
    added_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    model: Option<ModelJson<'a>>,
}

#[derive(Deserialize)]
struct ModelJson<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    unk_token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    vocab: Option<&'a RawValue>,
}

/// Ids as they are written, by token.
#[derive(Deserialize)]
struct Ids<'a>(
    #[serde(borrow, deserialize_with = "json::distinct")] BTreeMap<String, &'a RawValue>,
);

impl TokenizerJson<'_> {
    /// The level of ours whose steps are the same. What comes before and after the vocabulary must
    /// be, or ids would be others.
    fn level(&self) -> Option<Level> {
        let value = |step: Option<&RawValue>| match step {
            None => Some(Value::Null),
            Some(step) if step.get().len() > LONGEST_STEP => None,
            Some(step) => serde_json::from_str(step.get()).ok(),
        };
        let model = self.model.as_ref();
        let of_model = [model.and_then(|m| m.kind), model.and_then(|m| m.unk_token)];
        let theirs = [
            self.normalizer,
            self.pre_tokenizer,
            of_model[0],
            of_model[1],
        ]
        .map(value);
        let added = value(self.added_tokens)?;
        if !added.as_array().is_none_or(Vec::is_empty) {
            return None;
        }
        [Level::Char, Level::Word].into_iter().find(|level| {
            let ours = pipeline(*level);
            let model = &ours["model"];
            let steps = [
                &ours["normalizer"],
                &ours["pre_tokenizer"],
                &model["type"],
                &model["unk_token"],
            ];
            steps
                .iter()
                .zip(&theirs)
                .all(|(ours, theirs)| theirs.as_ref() == Some(*ours))
        })
    }
}

/// A `tokenizer.json` of this level without its tokens.
fn pipeline(level: Level) -> Value {
    let (normalizer, pre_tokenizer, decoder) = if level == Level::Char {
        (
            Value::Null,
            json!({"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": false}),
            json!({"type": "Fuse"}),
        )
    } else {
        (
            json!({"type": "Replace", "pattern": {"String": "\n"}, "content": format!(" {END_OF_LINE} ")}),
            json!({"type": "WhitespaceSplit"}),
            Value::Null,
        )
    };
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": null,
        "decoder": decoder,
        "model": {"type": "WordLevel", "vocab": {}, "unk_token": UNKNOWN},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_ranked_by_count_then_by_first_appearance() {
        let vocabulary = Vocabulary::of_words("b a\na b c\nc c", None).unwrap();
        assert_eq!(vocabulary.tokens, ["<unk>", "c", "b", "a", "<eos>"]);
        let text: String = [3, 0, 4, 1].map(|id| vocabulary.text(id)).concat();
        assert_eq!(text, "a <unk> \nc ");
    }

    #[test]
    fn a_bounded_vocabulary_keeps_the_most_frequent_words() {
        let vocabulary = Vocabulary::of_words("a a b b c <unk>", Some(3)).unwrap();
        assert_eq!(vocabulary.tokens, ["<unk>", "a", "b"]);
    }

    #[test]
    fn characters_are_in_the_order_of_their_code_points() {
        let vocabulary = Vocabulary::of_characters("n\u{10ffff}é\nn\0");
        assert_eq!(vocabulary.tokens, ["\0", "\n", "n", "é", "\u{10ffff}"]);
    }

    #[test]
    fn a_difference_is_named() {
        let characters = |text: &str| Vocabulary::of_characters(text);
        let (abc, abd, ab) = (characters("abc"), characters("abd"), characters("ab"));
        assert_eq!(abc.difference(&abc), None);
        let difference = abc.difference(&abd).unwrap();
        assert!(
            difference.contains("token 2 is \"c\" there and \"d\" in the text"),
            "{difference}"
        );
        for (one, other, name) in [
            (&abc, &ab, "2 is \"c\" there"),
            (&ab, &abc, "2 is none there"),
        ] {
            let difference = one.difference(other).unwrap();
            assert!(difference.contains(name), "{difference}");
        }
        let words = Vocabulary::of_words("a b", None).unwrap();
        let difference = words.difference(&ab).unwrap();
        assert_eq!(
            difference,
            "its tokens are words, those of the text characters"
        );
    }

    #[test]
    fn json_round_trips_and_bad_ids_are_named() {
        let words = Vocabulary::of_words("a b", None).unwrap();
        for vocabulary in [&words, &Vocabulary::of_characters("x\"\\\n\0")] {
            let json = vocabulary.to_json();
            assert_eq!(
                Vocabulary::from_json(json.to_string().as_bytes())
                    .unwrap()
                    .as_ref(),
                Some(vocabulary)
            );
        }
        let mut json = words.to_json();
        for id in [json!(1), json!(3), json!(-1), json!("0")] {
            json["model"]["vocab"]["b"] = id;
            let error = Vocabulary::from_json(json.to_string().as_bytes()).unwrap_err();
            assert!(error.contains("ids must be 0 to 2"), "{error}");
        }
    }

    #[test]
    fn a_tokenizer_that_would_give_other_ids_is_of_another_kind() {
        let ours = Vocabulary::of_characters("ab").to_json();
        for (step, other) in [
            ("normalizer", json!({"type": "Lowercase"})),
            (
                "pre_tokenizer",
                json!({"type": "Split", "pattern": {"String": " "}}),
            ),
            ("added_tokens", json!([{"id": 2, "content": "ab"}])),
            (
                "model",
                json!({"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}),
            ),
        ] {
            let mut json = ours.clone();
            json[step] = other;
            assert_eq!(
                Vocabulary::from_json(json.to_string().as_bytes()),
                Ok(None),
                "{step}"
            );
        }
    }
}
