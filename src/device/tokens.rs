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

/// Most rows of a [`Segments`]' segment.
pub const SEGMENT: usize = 32;

/// The positions of every token, cut into segments: a GPU sums each on its own, so that a token that
/// is one in ten, as words are, is not the work of one lane.
///
/// Segment s is `positions[starts[s]..starts[s + 1]]` of a [`TokenIndex`], all of one token; those of
/// token v are `of_token[v]..of_token[v + 1]`. Both numbers of entries are the same for every window.
#[derive(Debug, Clone)]
pub struct Segments {
    /// Starts into the positions, one more than [`Segments::most`]; segments that are not needed come
    /// last, and are empty.
    pub starts: Vec<u32>,
    /// V + 1 starts into the segments.
    pub of_token: Vec<u32>,
}

impl Segments {
    /// Room for the segments of `count` tokens of a vocabulary of `vocab`.
    pub fn new(count: usize, vocab: usize) -> Self {
        Segments {
            starts: vec![0; Segments::most(count, vocab) + 1],
            of_token: vec![0; vocab + 1],
        }
    }

    /// The number of segments that `count` tokens of a vocabulary of `vocab` never exceed: one begun
    /// for each token that occurs, and the full ones.
    pub fn most(count: usize, vocab: usize) -> usize {
        count / SEGMENT + vocab.min(count)
    }

    /// Cuts the positions of `index`, which is of the sizes given to [`Segments::new`].
    pub fn cut(&mut self, index: &TokenIndex) {
        let mut segment = 0;
        for (rows, first) in index.row_starts.windows(2).zip(&mut self.of_token) {
            *first = segment as u32;
            for start in (rows[0]..rows[1]).step_by(SEGMENT) {
                self.starts[segment] = start;
                segment += 1;
            }
        }
        if let Some(end) = self.of_token.last_mut() {
            *end = segment as u32;
        }
        self.starts[segment..].fill(index.positions.len() as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of each token, by its segments.
    fn rows_by_segments(tokens: &[u32], vocab: usize) -> Vec<Vec<Vec<u32>>> {
        let mut index = TokenIndex::new(tokens.len(), vocab, true);
        index.set(tokens).unwrap();
        let mut segments = Segments::new(tokens.len(), vocab);
        segments.starts.fill(u32::MAX);
        segments.of_token.fill(u32::MAX);
        segments.cut(&index);
        let rows = |s: u32| {
            let range = segments.starts[s as usize]..segments.starts[s as usize + 1];
            index.positions[range.start as usize..range.end as usize].to_vec()
        };
        let of_token = segments.of_token.windows(2);
        of_token.map(|t| (t[0]..t[1]).map(rows).collect()).collect()
    }

    #[test]
    fn segments_hold_every_row_of_a_token_in_ascending_order() {
        let one_in_ten = |i: u32| if i.is_multiple_of(10) { 3 } else { i % 7 };
        let texts: [Vec<u32>; 5] = [
            vec![],
            vec![4; 1],
            vec![4; 65],
            (0..2048).map(one_in_ten).collect(),
            (0..9).collect(),
        ];
        for tokens in texts {
            let by_segments = rows_by_segments(&tokens, 9);
            for (v, segments) in by_segments.iter().enumerate() {
                let rows: Vec<u32> = segments.concat();
                let holds = |r: &u32| tokens[*r as usize] as usize == v;
                let want: Vec<u32> = (0..tokens.len() as u32).filter(holds).collect();
                assert_eq!(rows, want);
                assert_eq!(segments.len(), rows.len().div_ceil(SEGMENT));
                assert!(segments.iter().all(|s| s.len() <= SEGMENT));
            }
            let all: usize = by_segments.iter().map(Vec::len).sum();
            assert!(all <= Segments::most(tokens.len(), 9));
        }
    }

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
