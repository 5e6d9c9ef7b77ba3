//! Vocabularies that are none.

use std::fs;

use bptt::Result;
use bptt::data::{Tokenizer, Vocabulary};
use serde_json::{Value, json};

use crate::mostly_refused;

/// Reads these bytes as a file.
fn read(bytes: &[u8]) -> Result<Tokenizer> {
    let folder = crate::folder();
    let path = folder.path().join("tokenizer.json");
    fs::write(&path, bytes).unwrap();
    Tokenizer::read(&path)
}

/// A letter may be turned into another, which is another vocabulary, but a vocabulary.
#[test]
fn a_broken_vocabulary_is_refused_or_a_vocabulary() {
    let words = Vocabulary::of_words("the lamp is lit\n", None).unwrap();
    for vocabulary in [Vocabulary::of_characters("the lamp\n\u{1d518}\""), words] {
        let sound = vocabulary.to_json().to_string();
        mostly_refused(
            sound.as_bytes(),
            "tokenizer.json",
            |what, broken| match read(broken) {
                Ok(tokenizer) => {
                    assert_eq!(tokenizer.len(), vocabulary.len(), "{what}");
                    let again = Tokenizer::from_json(tokenizer.to_json().as_bytes());
                    assert_eq!(again, Ok(tokenizer), "{what}");
                    false
                }
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains("tokenizer.json: "), "{what}: {error}");
                    true
                }
            },
        );
    }
}

#[test]
fn lies_in_a_vocabulary_are_named() {
    let sound = Vocabulary::of_characters("ab").to_json();
    let with = |pointer: &str, value: Value| {
        let mut json = sound.clone();
        *json.pointer_mut(pointer).unwrap() = value;
        json.to_string()
    };
    let text = sound.to_string();
    let deep = "[".repeat(100_000);
    for (broken, hint) in [
        (
            with("/model/vocab/a", json!(1)),
            "model.vocab: the id of \"b\" is 1; ids must be 0 to 1",
        ),
        (
            with("/model/vocab/a", json!(1u64 << 63)),
            "the id of \"a\" is 9223372036854775808",
        ),
        (with("/model/vocab/a", json!(-1)), "the id of \"a\" is -1"),
        (with("/model/vocab/a", json!(0.0)), "the id of \"a\" is 0.0"),
        (
            with("/model/vocab/a", json!("0")),
            "the id of \"a\" is \"0\"",
        ),
        (
            with("/model/vocab/a", json!([[0]])),
            "the id of \"a\" is [[0]]",
        ),
        (with("/model/vocab", json!({})), "model.vocab is empty"),
        (
            with("/model/vocab", json!([0, 1])),
            "model.vocab: invalid type: sequence",
        ),
        (with("/model/vocab", Value::Null), "model.vocab is missing"),
        (with("/model", json!(7)), "invalid type: integer `7`"),
        (
            text.replace("\"a\":0", "\"a\":0,\"a\":1"),
            "model.vocab: \"a\" is there twice",
        ),
        (
            text.replace("\"a\":0", "\"b\":0"),
            "model.vocab: \"b\" is there twice",
        ),
        (
            text.replace("\"model\":", "\"model\":null,\"model\":"),
            "duplicate field `model`",
        ),
        (
            with("/model/vocab/a", json!(0)).replace("\"a\":0", &format!("\"a\":{deep}")),
            "expected value",
        ),
        (deep.clone(), "EOF"),
        (format!("{deep}{}", "]".repeat(100_000)), "tokenizer"),
        (text.replace("\"a\"", "\"\\ud800\""), "hex escape"),
        (String::new(), "EOF"),
        ("null".to_owned(), "invalid type: null"),
    ] {
        let error = read(broken.as_bytes()).unwrap_err().to_string();
        let shown = &broken[..broken.len().min(300)];
        assert!(error.contains(hint), "{shown}: {error}");
        assert!(
            error.contains("tokenizer.json: ") && error.len() < 600,
            "{error}"
        );
    }
    let not_utf8 = read(&[text.as_bytes(), b"\xff"].concat()).unwrap_err();
    assert!(
        not_utf8.to_string().contains("tokenizer.json"),
        "{not_utf8}"
    );
}

/// What stands beside the vocabulary, as deep as it may be, makes it one of another kind.
#[cfg(not(feature = "tokenizers"))]
#[test]
fn steps_of_any_depth_are_of_another_kind() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let text = Vocabulary::of_characters("ab").to_json().to_string();
    for (step, ours) in [("normalizer", "null"), ("added_tokens", "[]")] {
        let (from, to) = (format!("\"{step}\":{ours}"), format!("\"{step}\":{deep}"));
        let error = read(text.replace(&from, &to).as_bytes()).unwrap_err();
        assert!(
            error.to_string().contains("--features tokenizers"),
            "{error}"
        );
    }
}

/// Of the library's kinds, on which it panics where it is not kept from it.
#[cfg(feature = "tokenizers")]
mod subwords {
    use super::*;

    /// A tokenizer with a merge, whose second token begins with "##".
    fn sound() -> Value {
        json!({
            "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "decoder": null,
            "model": {
                "type": "BPE", "continuing_subword_prefix": "##", "unk_token": "a",
                "vocab": {"a": 0, "##b": 1, "ab": 2}, "merges": [["a", "##b"]],
            },
        })
    }

    fn with(pointer: &str, value: Value) -> String {
        let mut json = sound();
        *json.pointer_mut(pointer).unwrap() = value;
        json.to_string()
    }

    fn ids(json: &str) -> Result<Vec<u32>> {
        Ok(read(json.as_bytes())?.encode("ab")?.0)
    }

    #[test]
    fn lies_in_a_tokenizer_are_named() {
        assert_eq!(ids(&sound().to_string()).unwrap(), [2]);
        let lines = json!(["#version: 0.2", "a ##b"]);
        assert_eq!(ids(&with("/model/merges", lines)).unwrap(), [2]);

        let lacks =
            "the second token of a merge, \"b\", does not begin with the continuing_subword_prefix";
        let vocab = json!({"a": 0, "b": 1, "ab": 2});
        let (mut pairs, mut within) = (sound(), sound());
        pairs["model"]["vocab"] = vocab.clone();
        pairs["model"]["merges"] = json!([["a", "b"]]);
        let mut lines = pairs.clone();
        lines["model"]["merges"] = json!(["a b"]);
        // It would be cut within a character.
        within["model"]["vocab"] = json!({"a": 0, "漢": 1, "a漢": 2});
        within["model"]["merges"] = json!([["a", "漢"]]);
        // What they merge to is longer than any token.
        let mut longer = pairs.clone();
        longer["model"]["continuing_subword_prefix"] = Value::Null;
        longer["model"]["vocab"] = json!({"a": 0, "b": 1});
        for (broken, hint) in [
            (pairs, lacks),
            (lines, lacks),
            (within, "\"漢\", does not begin with"),
            (longer, "not a tokenizer: the tokenizers library panicked: "),
        ] {
            let error = ids(&broken.to_string()).unwrap_err().to_string();
            assert!(error.contains(hint), "{broken}: {error}");
            assert!(error.contains("tokenizer.json: "), "{error}");
        }
    }

    /// The library reads it, and panics when it encodes.
    #[test]
    fn a_tokenizer_that_cannot_encode_is_an_error() {
        let empty = json!({"type": "Precompiled", "precompiled_charsmap": "AAAAAA=="});
        let json = with("/normalizer", empty);
        let tokenizer = read(json.as_bytes()).unwrap();
        let error = tokenizer.encode("ab").unwrap_err().to_string();
        let hint = "the tokenizer failed: the tokenizers library panicked: ";
        assert!(error.starts_with(hint), "{error}");
        assert_eq!(tokenizer.start(), 0);

        let folder = crate::folder();
        fs::write(folder.path().join("empty.json"), json).unwrap();
        fs::write(folder.path().join("text.txt"), "ab".repeat(100)).unwrap();
        let flags = "train --device cpu --data text.txt --tokenizer empty.json --out run";
        let output = crate::bptt(folder.path(), flags);
        let said = crate::message(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("error: {hint}")), "{said}");
        assert!(!folder.path().join("run").exists());
    }

    #[test]
    fn a_broken_tokenizer_is_refused_or_a_tokenizer() {
        let sound = sound().to_string();
        mostly_refused(sound.as_bytes(), "tokenizer.json", |what, broken| {
            match read(broken) {
                Ok(tokenizer) => {
                    // An error, or ids of its own.
                    let (ids, _) = tokenizer.encode("ab").unwrap_or_default();
                    let len = tokenizer.len();
                    assert!(ids.iter().all(|&id| (id as usize) < len), "{what}");
                    false
                }
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains("tokenizer.json: "), "{what}: {error}");
                    true
                }
            }
        });
    }
}
