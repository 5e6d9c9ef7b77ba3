//! Ids → windows of T time steps over N contiguous streams, time-major.

use crate::error::{Error, Result};

/// A text cut into N contiguous streams of equal length, read T time steps at a time.
///
/// Stream n holds tokens n·L … (n+1)·L of the text, L = (tokens − 1) / N rounded down; each token
/// is the target of the one before it. A pass has L / T windows, rounded down. The steps left over
/// are not lost: a pass may start up to `slack` steps late.
#[derive(Debug, Clone, Copy)]
pub struct Windows<'a> {
    ids: &'a [u32],
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
        ids: &'a [u32],
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
        let rows = inputs
            .chunks_exact_mut(self.streams)
            .zip(targets.chunks_exact_mut(self.streams));
        for (t, (inputs, targets)) in rows.enumerate() {
            for n in 0..self.streams {
                let at = n * self.stream_len + first + t;
                inputs[n] = self.ids[at];
                targets[n] = self.ids[at + 1];
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
        let windows = Windows::new(&ids, 2, 2, "the text").unwrap();
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
        assert_eq!(Windows::new(&[0; 7], 2, 3, "the text").unwrap().count(), 1);
        let error = Windows::new(&[0; 6], 2, 3, "the text").unwrap_err();
        assert!(
            error.to_string().contains("6 tokens, fewer than the 7"),
            "{error}"
        );
        assert!(Windows::new(&[], 1, 1, "the text").is_err());
    }
}
