//! What a text holds that a model does not know: refused, left out, or read as `<unk>`, but never
//! without a word.

/// Of `text`: words, or other tokens, that became `<unk>`, and characters that were left out. A line
/// for the user, if there is something to say.
pub fn describe(text: &str, words: usize, skipped: usize) -> Option<String> {
    match (words, skipped) {
        (0, 0) => None,
        (0, skipped) => Some(format!(
            "not in the vocabulary, and left out: {skipped} of {text}'s characters"
        )),
        (words, _) => Some(format!(
            "not in the vocabulary, and read as <unk>: {words} of {text}'s words"
        )),
    }
}
