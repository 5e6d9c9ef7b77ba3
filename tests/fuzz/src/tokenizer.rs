//! A `tokenizer.json`: read, used, and written again as it is.

use bptt::data::Tokenizer;

/// Panics at a finding.
pub fn run(input: &[u8]) {
    let Ok(tokenizer) = Tokenizer::from_json(input) else {
        return;
    };
    let again = Tokenizer::from_json(tokenizer.to_json().as_bytes());
    assert_eq!(again.as_ref(), Ok(&tokenizer));
    assert!((tokenizer.start() as usize) < tokenizer.len());
    assert!(
        tokenizer
            .unknown()
            .is_none_or(|id| (id as usize) < tokenizer.len())
    );
    let mut decoder = tokenizer.decoder();
    for text in ["", "the lamp is lit\nthe lamp", "\u{1d518}\0é"] {
        let Ok((ids, _)) = tokenizer.encode(text) else {
            continue;
        };
        for id in ids {
            assert!((id as usize) < tokenizer.len());
            let _ = decoder.push(id);
        }
    }
    let _ = decoder.push(u32::MAX);
}
