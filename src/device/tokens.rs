//! Token ids of a window, checked, and their positions sorted by token.

use crate::error::{Error, Result};

/// The ids of one window and, for embedding gradients, a compressed-row index: the positions of
/// token v are `positions[row_starts[v]..row_starts[v + 1]]`, in ascending order.
///
/// A stable counting sort makes it: O(V + N·T), no allocation after the first window.
#[derive(Debug, Clone)]
pub struct TokenIndex {
    /// Ids, row by row of the window.
    pub tokens: Vec<u32>,
    /// V + 1 starts into `positions`; empty if not indexed.
    pub row_starts: Vec<u32>,
    /// Positions in `tokens`, sorted by token; empty if not indexed.
    pub positions: Vec<u32>,
    vocab: usize,
}

impl TokenIndex {
    /// `count` ids of 0.
    pub fn new(count: usize, vocab: usize, indexed: bool) -> Self {
        let mut index = TokenIndex {
            tokens: vec![0; count],
            row_starts: vec![0; if indexed { vocab + 1 } else { 0 }],
            positions: vec![0; if indexed { count } else { 0 }],
            vocab,
        };
        index.sort_positions();
        index
    }

    /// The vocabulary size that ids are checked against.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// The positions of token `id`, in ascending order.
    pub fn positions_of(&self, id: usize) -> &[u32] {
        &self.positions[self.row_starts[id] as usize..self.row_starts[id + 1] as usize]
    }

    /// Replaces the ids.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of ids, [`Error::TokenId`] for one out of range.
    pub fn set(&mut self, tokens: &[u32]) -> Result<()> {
        if tokens.len() != self.tokens.len() {
            return Err(Error::Shape {
                op: "write_ids",
                operand: "tokens",
                expected: self.tokens.len().to_string(),
                found: tokens.len(),
            });
        }
        if let Some(position) = tokens.iter().position(|&id| id as usize >= self.vocab) {
            return Err(Error::TokenId {
                id: tokens[position],
                position,
                vocab: self.vocab,
            });
        }
        self.tokens.copy_from_slice(tokens);
        self.sort_positions();
        Ok(())
    }

    fn sort_positions(&mut self) {
        if self.row_starts.is_empty() {
            return;
        }
        let starts = &mut self.row_starts;
        starts.fill(0);
        for &id in &self.tokens {
            starts[id as usize] += 1;
        }
        // Counts become ends; walking the positions backwards turns ends into starts and keeps
        // the positions of one token in ascending order.
        let mut end = 0;
        for start in starts.iter_mut() {
            end += *start;
            *start = end;
        }
        for (position, &id) in self.tokens.iter().enumerate().rev() {
            let slot = &mut starts[id as usize];
            *slot -= 1;
            self.positions[*slot as usize] = position as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_grouped_by_token_in_ascending_order() {
        let mut index = TokenIndex::new(6, 4, true);
        index.set(&[2, 0, 2, 3, 2, 0]).unwrap();
        assert_eq!(index.row_starts, [0, 2, 2, 5, 6]);
        assert_eq!(index.positions, [1, 5, 0, 2, 4, 3]);
    }

    #[test]
    fn an_id_outside_the_vocabulary_is_named() {
        let mut index = TokenIndex::new(2, 4, false);
        let error = index.set(&[1, 4]).unwrap_err().to_string();
        assert!(
            error.contains("token id 4 at position 1") && error.contains("size 4"),
            "{error}"
        );
    }
}
