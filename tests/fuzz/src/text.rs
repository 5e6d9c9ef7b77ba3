//! A text, by characters and by words: its vocabulary, its ids, and back.
//! The first byte of the input is the share that is held out.

use std::fs;

use super::FOLDER;
use bptt::data::{Corpus, Level, Source};

/// Panics at a finding.
pub fn run(input: &[u8]) {
    let Some((share, bytes)) = input.split_first() else {
        return;
    };
    let path = FOLDER.join("text");
    fs::write(&path, bytes).expect("a file");
    for level in [Level::Char, Level::Word] {
        let loaded = Corpus::load(&Source {
            data: vec![path.clone()],
            valid: None,
            valid_fraction: f64::from(*share) / 256.0,
            level,
            max_vocab: None,
            tokenizer: None,
            token_cache: None,
        });
        let Ok(corpus) = loaded else { continue };
        let decoded: String = [&corpus.train, &corpus.valid]
            .map(|part| decoded(&corpus, part))
            .concat();
        let text = String::from_utf8(bytes.to_vec()).expect("what is read is UTF-8");
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        match level {
            Level::Char => assert_eq!(decoded, text),
            // Words that only the held-out part has are <unk>.
            _ if corpus.valid.unknown == 0 => {
                let words = |text: &str| {
                    text.split_whitespace()
                        .filter(|word| *word != "<eos>")
                        .map(str::to_owned)
                        .collect::<Vec<_>>()
                };
                assert_eq!(words(&decoded), words(text));
            }
            _ => {}
        }
    }
}

fn decoded(corpus: &Corpus, part: &bptt::data::Part) -> String {
    let mut decoder = corpus.vocabulary.decoder();
    let ids = part.ids.view().to_vec();
    ids.into_iter()
        .map(|id| decoder.push(id).expect("a text"))
        .collect()
}
