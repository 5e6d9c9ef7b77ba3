//! Ids → windows of T time steps over N contiguous streams, time-major.

use super::ids::Ids;
use crate::error::{Error, Result};

/// A text cut into N contiguous streams of equal length, read T time steps at a time.
///
/// Stream n holds tokens n·L … (n+1)·L of the text, L = (tokens − 1) / N rounded down; each token
/// is the target of the one before it. A pass has L / T windows, rounded down. The steps left over
/// are not lost: a pass may start up to `slack` steps late.
#[derive(Debug, Clone, Copy)]
pub struct Windows<'a> {
    ids: Ids<'a>,
    streams: usize,
    time_steps: usize,
    stream_len: usize,
}

impl<'a> Windows<'a> {
    /// Cuts `ids` into `streams` streams. `what` names the text in errors.
    ///
    /// # Errors
    /// [`Error::TextTooShort`] if there is not even one window.
    pub fn new(
        ids: Ids<'a>,
        streams: usize,
        time_steps: usize,
        what: &'static str,
    ) -> Result<Self> {
        let stream_len = ids.len().saturating_sub(1) / streams.max(1);
        if stream_len < time_steps.max(1) {
            return Err(Error::TextTooShort {
                what,
                found: ids.len(),
                needed: streams * time_steps + 1,
                streams,
                time_steps,
            });
        }
        Ok(Windows {
            ids,
            streams,
            time_steps,
            stream_len,
        })
    }

    /// Windows of one pass.
    pub fn count(&self) -> usize {
        self.stream_len / self.time_steps
    }

    /// Tokens of one window, N·T.
    pub fn tokens(&self) -> usize {
        self.streams * self.time_steps
    }

    /// Time steps that a pass leaves over.
    pub fn slack(&self) -> usize {
        self.stream_len % self.time_steps
    }

    /// Window `index` of a pass that starts `start` steps late (at most `slack`): the tokens
    /// `[T, N]` and their targets.
    pub fn fill(&self, start: usize, index: usize, inputs: &mut [u32], targets: &mut [u32]) {
        let first = start + index * self.time_steps;
        match self.ids {
            Ids::Memory(ids) => self.fill_from(first, inputs, targets, |at| ids[at]),
            Ids::Two(ids) => {
                self.fill_from(first, inputs, targets, |at| {
                    u16::from_le_bytes(ids[at]).into()
                });
            }
            Ids::Four(ids) => {
                self.fill_from(first, inputs, targets, |at| u32::from_le_bytes(ids[at]));
            }
        }
    }

    fn fill_from(
        &self,
        first: usize,
        inputs: &mut [u32],
        targets: &mut [u32],
        id: impl Fn(usize) -> u32,
    ) {
        let rows = inputs
            .chunks_exact_mut(self.streams)
            .zip(targets.chunks_exact_mut(self.streams));
        for (t, (inputs, targets)) in rows.enumerate() {
            for n in 0..self.streams {
                let at = n * self.stream_len + first + t;
                inputs[n] = id(at);
                targets[n] = id(at + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_time_major_and_continue_each_other() {
        // Two streams of 5: 0 … 4 and 5 … 9, each with the next token as target.
        let ids: Vec<u32> = (0..12).collect();
        let windows = Windows::new(Ids::Memory(&ids), 2, 2, "the text").unwrap();
        assert_eq!(
            (windows.count(), windows.slack(), windows.tokens()),
            (2, 1, 4)
        );
        let (mut inputs, mut targets) = ([0; 4], [0; 4]);
        windows.fill(0, 0, &mut inputs, &mut targets);
        assert_eq!((inputs, targets), ([0, 5, 1, 6], [1, 6, 2, 7]));
        windows.fill(0, 1, &mut inputs, &mut targets);
        assert_eq!((inputs, targets), ([2, 7, 3, 8], [3, 8, 4, 9]));
        windows.fill(1, 1, &mut inputs, &mut targets);
        assert_eq!((inputs, targets), ([3, 8, 4, 9], [4, 9, 5, 10]));
    }

    #[test]
    fn one_window_needs_one_token_more_than_it_has() {
        let windows = |ids| Windows::new(Ids::Memory(ids), 2, 3, "the text");
        assert_eq!(windows(&[0; 7]).unwrap().count(), 1);
        let error = windows(&[0; 6]).unwrap_err().to_string();
        assert!(error.contains("6 tokens, fewer than the 7"), "{error}");
        assert!(windows(&[]).is_err());
    }

    #[test]
    fn windows_are_the_same_over_ids_of_every_width() {
        let ids: Vec<u32> = (0..12).map(|i| i * 5000).collect();
        let two: Vec<[u8; 2]> = ids.iter().map(|&id| (id as u16).to_le_bytes()).collect();
        let four: Vec<[u8; 4]> = ids.iter().map(|id| id.to_le_bytes()).collect();
        let filled = [Ids::Memory(&ids), Ids::Two(&two), Ids::Four(&four)].map(|ids| {
            let windows = Windows::new(ids, 2, 2, "the text").unwrap();
            let (mut inputs, mut targets) = ([0; 4], [0; 4]);
            windows.fill(1, 1, &mut inputs, &mut targets);
            (inputs, targets)
        });
        assert_eq!(filled[0].0, [15_000, 40_000, 20_000, 45_000]);
        assert_eq!(filled[1], filled[0]);
        assert_eq!(filled[2], filled[0]);
    }
}
