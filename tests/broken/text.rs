//! Texts that are not UTF-8.

use std::fs;

use bptt::data::{Corpus, Level, Source};
use bptt::{Error, Result};

use crate::mutations;

/// Loads these bytes as a text, all of it to train on.
fn load(bytes: &[u8], level: Level) -> Result<Corpus> {
    let folder = crate::folder();
    let path = folder.path().join("text.txt");
    fs::write(&path, bytes).unwrap();
    Corpus::load(&Source {
        data: vec![path],
        valid: None,
        valid_fraction: 0.0,
        level,
        max_vocab: None,
        tokenizer: None,
        token_cache: None,
    })
}

/// Whatever the bytes are: if they are UTF-8, the ids are those characters, and else the first byte
/// that is not is named.
#[test]
fn broken_texts_are_refused_where_they_break() {
    let sound = "\u{feff}n\u{e9}\r\n\u{3000}\u{1d518}z";
    for (what, broken) in mutations(sound.as_bytes()) {
        match (std::str::from_utf8(&broken), load(&broken, Level::Char)) {
            (Ok(text), Ok(corpus)) => {
                let mut decoder = corpus.vocabulary.decoder();
                let ids = corpus.train.ids.view().to_vec();
                let decoded: String = ids.iter().map(|&id| decoder.push(id).unwrap()).collect();
                assert_eq!(
                    decoded,
                    text.strip_prefix('\u{feff}').unwrap_or(text),
                    "{what}"
                );
            }
            (Ok(text), Err(Error::EmptyText { .. })) => {
                let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
                assert!(rest.trim().is_empty(), "{what}");
            }
            (Err(e), Err(Error::NotUtf8 { path, offset })) => {
                assert_eq!(offset, e.valid_up_to() as u64, "{what}");
                assert!(path.ends_with("text.txt"));
            }
            (expected, found) => panic!("{what}: {expected:?}, {found:?}"),
        }
    }
}

/// The piece that is read at once ends inside of each of the four bytes of a character, or just
/// before or behind what is none.
#[test]
fn characters_and_what_is_none_may_lie_across_pieces() {
    const PIECE: usize = 1 << 20;
    for shift in 0..5 {
        let text = "a".repeat(PIECE - shift) + "\u{1d518}" + "b";
        let corpus = load(text.as_bytes(), Level::Char).unwrap();
        assert_eq!(corpus.vocabulary.len(), 3);
        assert_eq!(corpus.train.len(), PIECE - shift + 2);
        let mut bytes = text.into_bytes();
        bytes[PIECE - shift + 2] = b'c';
        let error = load(&bytes, Level::Char).unwrap_err();
        let Error::NotUtf8 { offset, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(offset as usize, PIECE - shift);
    }
}

#[test]
fn texts_of_nothing_are_refused_and_texts_of_zeros_are_read() {
    for nothing in [
        &b""[..],
        b" \n\t ",
        "\u{feff}".as_bytes(),
        "\u{feff}\u{feff}".as_bytes(),
    ] {
        let loaded = load(nothing, Level::Word);
        assert!(
            matches!(loaded, Err(Error::EmptyText { .. })) || nothing.len() == 6,
            "{nothing:?}"
        );
    }
    let corpus = load(&[0; 100], Level::Char).unwrap();
    assert_eq!((corpus.vocabulary.len(), corpus.train.len()), (1, 100));
}
