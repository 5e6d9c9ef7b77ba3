//! The words of a text that comes in pieces.

use super::vocabulary::END_OF_LINE;

/// The words of a text, each with the byte at which it begins, and `<eos>` at the end of each line.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut next_line = 0;
    text.split_inclusive('\n').flat_map(move |line| {
        let begin = next_line;
        next_line += line.len();
        let end = line.ends_with('\n').then_some((next_line - 1, END_OF_LINE));
        let within = move |word: &str| word.as_ptr() as usize - line.as_ptr() as usize;
        line.split_whitespace()
            .map(move |word| (begin + within(word), word))
            .chain(end)
    })
}

/// Finds words that go on from one piece to the next. Holds no more than the word under way.
#[derive(Debug, Clone, Default)]
pub struct Words {
    /// The word under way, and the byte at which it began.
    begun: String,
    begin: u64,
}

impl Words {
    /// Calls `each` with every word, and the byte at which it begins, that a piece of the text ends;
    /// the piece itself begins at byte `offset`.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn push<E>(
        &mut self,
        mut piece: &str,
        mut offset: u64,
        mut each: impl FnMut(&str, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.begun.is_empty() {
            let end = piece.find(char::is_whitespace);
            self.begun.push_str(&piece[..end.unwrap_or(piece.len())]);
            let Some(end) = end else { return Ok(()) };
            self.finish(&mut each)?;
            piece = &piece[end..];
            offset += end as u64;
        }
        // What stands behind the last white space goes on in the next piece.
        let whole = match piece.char_indices().rfind(|(_, c)| c.is_whitespace()) {
            Some((at, space)) => at + space.len_utf8(),
            None => 0,
        };
        for (at, word) in words(&piece[..whole]) {
            each(word, offset + at as u64)?;
        }
        self.begun.push_str(&piece[whole..]);
        self.begin = offset + whole as u64;
        Ok(())
    }

    /// Ends the word under way, as the end of a text or of a file does.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn finish<E>(&mut self, mut each: impl FnMut(&str, u64) -> Result<(), E>) -> Result<(), E> {
        if !self.begun.is_empty() {
            each(&self.begun, self.begin)?;
            self.begun.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words and where they begin, from pieces of `size` characters.
    fn in_pieces(text: &str, size: usize) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        let mut each = |word: &str, at: u64| {
            found.push((word.to_owned(), at));
            Ok::<_, ()>(())
        };
        let mut words = Words::default();
        let mut offset = 0;
        let characters: Vec<char> = text.chars().collect();
        for piece in characters.chunks(size) {
            let piece: String = piece.iter().collect();
            words.push(&piece, offset, &mut each).unwrap();
            offset += piece.len() as u64;
        }
        words.finish(&mut each).unwrap();
        found
    }

    #[test]
    fn words_are_the_same_however_the_text_is_cut() {
        let text = "one  twö\u{3000}three\r\n\n four <eos>\u{1d518}five";
        let whole = in_pieces(text, 1000);
        let words: Vec<&str> = whole.iter().map(|(word, _)| word.as_str()).collect();
        let expected = [
            "one",
            "twö",
            "three",
            "<eos>",
            "<eos>",
            "four",
            "<eos>\u{1d518}five",
        ];
        assert_eq!(words, expected);
        for (word, at) in &whole {
            let at = &text[*at as usize..];
            assert!(at.starts_with(word.as_str()) || at.starts_with('\n'));
        }
        for size in 1..text.len() {
            assert_eq!(in_pieces(text, size), whole, "{size}");
        }
    }
}
