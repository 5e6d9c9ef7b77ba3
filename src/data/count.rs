//! What a text is made of: its distinct characters, or its words and how often each is there.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::vocabulary::{Level, UNKNOWN, Vocabulary};
use super::words::Words;
use crate::error::{Error, Result};
use crate::model::MAX_VOCAB;

/// Which characters there are, one flag a code point.
#[derive(Debug)]
pub struct CharacterSet(Vec<bool>);

impl Default for CharacterSet {
    fn default() -> Self {
        CharacterSet(vec![false; char::MAX as usize + 1])
    }
}

impl CharacterSet {
    /// Adds the characters of a text.
    pub fn add(&mut self, text: &str) {
        for c in text.chars() {
            self.0[c as usize] = true;
        }
    }

    /// The distinct characters, in the order of their code points.
    pub fn vocabulary(&self) -> Vocabulary {
        let characters = ('\0'..=char::MAX).filter(|&c| self.0[c as usize]);
        Vocabulary::new(Level::Char, characters.map(String::from).collect())
    }
}

/// How often each word is there. Memory grows with the number of distinct words, not with the text.
#[derive(Debug, Default)]
pub struct WordCounts {
    words: Words,
    tally: Tally,
}

#[derive(Debug)]
struct Tally {
    counts: HashMap<String, Count>,
    total: u64,
    /// Most distinct words.
    limit: usize,
}

#[derive(Debug)]
struct Count {
    count: u64,
    /// Words before the first of this kind.
    first: u64,
}

impl WordCounts {
    /// Adds the words of the next piece of a text; the last one may go on in the piece that follows.
    ///
    /// # Errors
    /// [`Error::Config`] for more distinct words than a vocabulary may have.
    pub fn add(&mut self, text: &str) -> Result<()> {
        self.words.push(text, 0, |word, _| self.tally.add(word))
    }

    /// Ends the last word, as the end of a file does.
    ///
    /// # Errors
    /// As [`WordCounts::add`].
    pub fn end_word(&mut self) -> Result<()> {
        self.words.finish(|word, _| self.tally.add(word))
    }

    /// `<unk>`, then the words and `<eos>`, the most frequent first, and among equals the one that
    /// comes first in the text. With `max`, only so many in all.
    ///
    /// # Errors
    /// As [`WordCounts::add`].
    pub fn vocabulary(mut self, max: Option<usize>) -> Result<Vocabulary> {
        self.end_word()?;
        let mut counts = self.tally.counts;
        counts.remove(UNKNOWN);
        let mut ranked: Vec<_> = counts.into_iter().collect();
        ranked.sort_unstable_by_key(|(_, word)| (Reverse(word.count), word.first));
        ranked.truncate(max.map_or(usize::MAX, |max| max.saturating_sub(1)));
        let words = ranked.into_iter().map(|(word, _)| word);
        let tokens = std::iter::once(UNKNOWN.to_owned()).chain(words);
        Ok(Vocabulary::new(Level::Word, tokens.collect()))
    }
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            counts: HashMap::new(),
            total: 0,
            // `<unk>` is one more.
            limit: MAX_VOCAB - 1,
        }
    }
}

impl Tally {
    fn add(&mut self, word: &str) -> Result<()> {
        let first = self.total;
        self.total += 1;
        if let Some(known) = self.counts.get_mut(word) {
            known.count += 1;
            return Ok(());
        }
        if self.counts.len() == self.limit {
            return Err(Error::Config {
                field: "level",
                value: "word".to_owned(),
                expected: format!(
                    "the text has more than {} distinct words; use --level char",
                    self.limit
                ),
            });
        }
        let count = Count { count: 1, first };
        self.counts.insert(word.to_owned(), count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_words_than_a_vocabulary_may_have_are_refused() {
        let mut counts = WordCounts::default();
        counts.tally.limit = 3;
        counts.add("a b c a b c ").unwrap();
        let error = counts.add("d ").unwrap_err().to_string();
        assert!(error.contains("more than 3 distinct words"), "{error}");
    }
}
