//! Where the part to validate on begins.

use std::ops::ControlFlow::{Break, Continue};

use super::text::Text;
use super::vocabulary::Level;
use crate::error::Result;

/// The byte at which the last `fraction` of a text begins: by characters; for words and other tokens
/// at a line's end, or between two words of the last line.
///
/// # Errors
/// As [`Text::read`].
pub fn split(text: &Text, fraction: f64, level: Level) -> Result<u64> {
    if fraction == 0.0 {
        return Ok(text.len());
    }
    let mut count = 0;
    text.read(0..text.len(), |chunk| {
        count += chunk.text.chars().count() as u64;
        Ok(Continue(()))
    })?;
    let mut before = count - (count as f64 * fraction) as u64;
    let mut last = '\0';
    let (mut line_end, mut between_words) = (None, None);
    text.read(0..text.len(), |chunk| {
        for (at, c) in chunk.text.char_indices() {
            let end = chunk.position + (at + c.len_utf8()) as u64;
            if before > 0 {
                before -= 1;
            } else if level == Level::Char || last == '\n' {
                line_end = Some(end - c.len_utf8() as u64);
            } else if c == '\n' {
                line_end = Some(end);
            } else if c.is_whitespace() {
                between_words = between_words.or(Some(end));
            }
            if line_end.is_some() {
                return Ok(Break(()));
            }
            last = c;
        }
        Ok(Continue(()))
    })?;
    Ok(line_end.or(between_words).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_of(text: &'static str, fraction: f64, level: Level) -> (&'static str, &'static str) {
        let at = split(&Text::embedded("text", text), fraction, level).unwrap();
        text.split_at(at as usize)
    }

    #[test]
    fn a_text_is_split_by_characters_or_at_the_end_of_a_line() {
        assert_eq!(split_of("aébc", 0.25, Level::Char), ("aéb", "c"));
        assert_eq!(split_of("abc", 0.0, Level::Char), ("abc", ""));
        let text = "one two\nthree\nfour\n";
        for level in [Level::Word, Level::Token] {
            let parts = ("one two\nthree\n", "four\n");
            assert_eq!(split_of(text, 0.4, level), parts);
            // The cut is at the end of a line already.
            assert_eq!(split_of(text, 0.27, level), parts);
        }
        let line = "one line only";
        assert_eq!(split_of(line, 0.5, Level::Word), ("one line ", "only"));
        // White space of three bytes.
        let line = "one line\u{3000}only";
        assert_eq!(
            split_of(line, 0.5, Level::Word),
            ("one line\u{3000}", "only")
        );
        assert_eq!(split_of("one", 0.5, Level::Word), ("one", ""));
    }
}
