//! How well a model predicts a text: the surprisal of each of its tokens, −ln p, in nats.
//!
//! Every token is predicted, the first one too: as [`crate::generate`] does, the model reads the
//! vocabulary's start token (a line's end) before it, from a state of zeros. From there the state is
//! carried over the whole text, whatever the length of the windows that it is read in.
//!
//! To be faster, a text can be read as several streams at once. Each but the first begins with some
//! tokens before its own, which are read but not scored, so that its state has forgotten that it
//! began in the middle.
//!
//! In [dynamic evaluation](Dynamic) the model goes on learning from what it has been scored on.

mod dynamic;

use std::ops::Range;

use serde::Serialize;

pub use dynamic::{Dynamic, Learner};

use crate::checkpoint::Checkpoint;
use crate::data::Ids;
use crate::error::{Result, require};
use crate::model::RnnLm;
use crate::ops::Ops;
use crate::train::DIVERGED;

/// Tokens of a text from which on it is read as one stream more.
const TOKENS_A_STREAM: usize = 50_000;
/// Most streams that a text is read as unless asked otherwise.
const MAX_DEFAULT_STREAMS: usize = 32;

/// How a text is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// T, the time steps of a window. Without `dynamic` it changes results by rounding alone.
    pub time_steps: usize,
    /// N, the streams that are read at once; 1 is exact.
    pub streams: usize,
    /// Tokens that each stream reads before its own.
    pub overlap: usize,
    /// Does the model go on learning? With one stream only.
    pub dynamic: Option<Dynamic>,
}

/// The streams that a text of so many tokens is read as unless asked otherwise: one below 100,000.
pub fn default_streams(tokens: usize) -> usize {
    (tokens / TOKENS_A_STREAM).clamp(1, MAX_DEFAULT_STREAMS)
}

/// The surprisal of each token of `ids`, in nats.
///
/// # Errors
/// As [`each_surprisal`].
pub fn surprisals<O: Ops<Elem = f32>>(
    ops: &mut O,
    checkpoint: &Checkpoint,
    ids: &[u32],
    settings: &Settings,
) -> Result<Vec<f32>> {
    let mut all = vec![0.0; ids.len()];
    let mut keep = |first: usize, nats: &[f32]| {
        all[first..][..nats.len()].copy_from_slice(nats);
        Ok(())
    };
    each_surprisal(ops, checkpoint, Ids::Memory(ids), settings, &mut keep)?;
    Ok(all)
}

/// Hands the surprisals of `ids`, in nats, to `each` as they come, with the position of the first of
/// them: of one stream after the other, a window at a time.
///
/// # Errors
/// [`crate::Error::Config`] for settings that cannot be used, among them a learning rate at which
/// the loss explodes; as [`crate::device::Device::alloc`] and the ops; those of `each`.
pub fn each_surprisal<O: Ops<Elem = f32>>(
    ops: &mut O,
    checkpoint: &Checkpoint,
    ids: Ids<'_>,
    settings: &Settings,
    each: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let Settings {
        time_steps,
        streams,
        overlap,
        dynamic,
    } = *settings;
    let one = dynamic.is_none() || streams == 1;
    require("batch-size", streams, one, "1 with --dynamic")?;
    let streams = streams.min(ids.len()).max(1);
    let text = Text {
        ids,
        start: checkpoint.vocabulary.start(),
        streams,
        overlap,
    };
    let mut reader = Reader::new(ops, checkpoint, streams, time_steps, dynamic)?;
    let mut nats = Vec::with_capacity(time_steps);
    let windows = text.steps().div_ceil(time_steps);
    for window in 0..windows {
        let first = window * time_steps;
        text.fill(first, &mut reader.inputs, &mut reader.targets);
        // There is nothing left to learn for after the last one.
        let losses = reader.read(ops, window + 1 < windows)?;
        for stream in 0..streams {
            let mut begin = None;
            nats.clear();
            for step in 0..time_steps {
                if let Some(position) = text.scored(first + step, stream) {
                    begin.get_or_insert(position);
                    nats.push(losses[step * streams + stream]);
                }
            }
            if let Some(begin) = begin {
                each(begin, &nats)?;
            }
        }
        if let Some(Dynamic { rate, .. }) = dynamic {
            let sum: f64 = losses.iter().map(|&loss| f64::from(loss)).sum();
            // Also false for NaN.
            let usable = sum / (losses.len() as f64) < DIVERGED;
            let expected = "the loss explodes at it; use a lower one";
            require("dynamic-lr", rate, usable, expected)?;
        }
    }
    Ok(())
}

/// A text as streams of about equal length, each with an overlap before it.
struct Text<'a> {
    ids: Ids<'a>,
    start: u32,
    streams: usize,
    overlap: usize,
}

impl Text<'_> {
    /// The positions whose tokens a stream is scored on.
    fn own(&self, stream: usize) -> Range<usize> {
        let bound =
            |stream| (self.ids.len() as u128 * stream as u128 / self.streams as u128) as usize;
        bound(stream)..bound(stream + 1)
    }

    /// The position that a stream predicts at a time step, if it is in the stream.
    fn position(&self, step: usize, stream: usize) -> Option<usize> {
        let own = self.own(stream);
        let position = own.start.saturating_sub(self.overlap) + step;
        (position < own.end).then_some(position)
    }

    /// The position that a stream is scored on at a time step, if any.
    fn scored(&self, step: usize, stream: usize) -> Option<usize> {
        let position = self.position(step, stream)?;
        (position >= self.own(stream).start).then_some(position)
    }

    /// Time steps of the longest stream.
    fn steps(&self) -> usize {
        let length = |stream| {
            let own = self.own(stream);
            own.end - own.start.saturating_sub(self.overlap)
        };
        (0..self.streams).map(length).max().unwrap_or(0)
    }

    /// A window from time step `first` on, `[T, N]`. Behind the end of a stream stands token 0.
    fn fill(&self, first: usize, inputs: &mut [u32], targets: &mut [u32]) {
        for (row, (input, target)) in inputs.iter_mut().zip(targets).enumerate() {
            let (step, stream) = (first + row / self.streams, row % self.streams);
            (*input, *target) = match self.position(step, stream) {
                None => (0, 0),
                Some(0) => (self.start, self.ids.get(0)),
                Some(position) => (self.ids.get(position - 1), self.ids.get(position)),
            };
        }
    }
}

/// A model that reads window after window, and may learn from each.
struct Reader<O: Ops> {
    model: RnnLm<O>,
    learner: Option<Learner<O>>,
    inputs: Vec<u32>,
    targets: Vec<u32>,
    losses: Vec<f32>,
}

impl<O: Ops<Elem = f32>> Reader<O> {
    fn new(
        ops: &mut O,
        checkpoint: &Checkpoint,
        streams: usize,
        time_steps: usize,
        dynamic: Option<Dynamic>,
    ) -> Result<Self> {
        let model = checkpoint.model(ops, streams, time_steps, None)?;
        let learner = dynamic.map(|dynamic| Learner::new(ops, &model, dynamic));
        let learner = learner.transpose()?;
        let rows = streams * time_steps;
        Ok(Reader {
            model,
            learner,
            inputs: vec![0; rows],
            targets: vec![0; rows],
            losses: vec![0.0; rows],
        })
    }

    /// The loss of each row of the window in `inputs` and `targets`; and then, with `learn`, a step on
    /// it.
    fn read(&mut self, ops: &mut O, learn: bool) -> Result<&[f32]> {
        let (model, inputs, targets) = (&mut self.model, &self.inputs, &self.targets);
        let learner = self.learner.as_mut().filter(|_| learn);
        if learner.is_some() {
            model.forward(ops, inputs, targets)?;
        } else {
            model.evaluate(ops, inputs, targets)?;
        }
        ops.read_into(&model.output.loss.losses, 0, &mut self.losses)?;
        if let Some(learner) = learner {
            model.backward(ops)?;
            learner.step(ops, model)?;
            ops.submit()?;
        }
        Ok(&self.losses)
    }
}

/// Sums over tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sums {
    /// Tokens.
    tokens: usize,
    /// Their surprisals.
    nats: f64,
    /// Tokens that are `<unk>`.
    unknown: usize,
    /// The surprisals of all others.
    known_nats: f64,
}

impl Sums {
    /// Adds tokens by their surprisals and ids. `unknown` is the id of `<unk>`, if there is one.
    pub fn add(&mut self, nats: &[f32], ids: Ids<'_>, unknown: Option<u32>) {
        self.tokens += nats.len();
        for (position, &nats) in nats.iter().enumerate() {
            let nats = f64::from(nats);
            self.nats += nats;
            if Some(ids.get(position)) == unknown {
                self.unknown += 1;
            } else {
                self.known_nats += nats;
            }
        }
    }
}

/// A text's surprisals, summed up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Score {
    /// Tokens that were predicted.
    pub tokens: usize,
    /// Characters of the text.
    pub characters: usize,
    /// Mean surprisal, in nats per token.
    pub loss: f64,
    /// e^loss.
    pub perplexity: f64,
    /// Surprisal of the whole text, in bits, by its characters.
    pub bits_per_character: f64,
    /// Tokens that are `<unk>`.
    pub unknown: usize,
    /// The loss over all other tokens, where there are both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_without_unknown: Option<f64>,
    /// e^ that loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perplexity_without_unknown: Option<f64>,
}

impl Score {
    /// What `sums` over a text of so many characters come to.
    pub fn new(sums: &Sums, characters: usize) -> Self {
        let Sums {
            tokens,
            nats,
            unknown,
            known_nats,
        } = *sums;
        let known = tokens - unknown;
        let loss = nats / tokens as f64;
        let both = unknown > 0 && known > 0;
        let loss_without_unknown = both.then(|| known_nats / known as f64);
        Score {
            tokens,
            characters,
            loss,
            perplexity: loss.exp(),
            bits_per_character: nats / std::f64::consts::LN_2 / characters as f64,
            unknown,
            loss_without_unknown,
            perplexity_without_unknown: loss_without_unknown.map(f64::exp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_is_scored_once_whatever_the_streams() {
        let ids: Vec<u32> = (10..33).collect();
        for (streams, overlap) in [(1, 0), (1, 9), (2, 0), (3, 4), (5, 100), (23, 1)] {
            let text = Text {
                ids: Ids::Memory(&ids),
                start: 7,
                streams,
                overlap,
            };
            let mut scored = vec![0; ids.len()];
            let (mut inputs, mut targets) = (vec![0; streams], vec![0; streams]);
            for step in 0..text.steps() {
                text.fill(step, &mut inputs, &mut targets);
                for stream in 0..streams {
                    let Some(position) = text.scored(step, stream) else {
                        continue;
                    };
                    scored[position] += 1;
                    let before = position.checked_sub(1).map_or(7, |p| ids[p]);
                    assert_eq!((inputs[stream], targets[stream]), (before, ids[position]));
                }
            }
            assert!(scored.iter().all(|&n| n == 1), "{streams}: {scored:?}");
        }
    }

    #[test]
    fn a_score_is_a_mean_with_and_without_unknown_words() {
        let score = |nats: &[f32], ids: &[u32], characters| {
            let mut sums = Sums::default();
            for (nats, id) in nats.iter().zip(ids) {
                sums.add(&[*nats], Ids::Memory(&[*id]), Some(0));
            }
            Score::new(&sums, characters)
        };
        let text = score(&[1.0, 2.0, 6.0], &[4, 0, 5], 12);
        assert_eq!((text.tokens, text.unknown, text.loss), (3, 1, 3.0));
        assert_eq!(text.loss_without_unknown, Some(3.5));
        assert!((text.bits_per_character * 12.0 * 2f64.ln() - 9.0).abs() < 1e-12);
        assert_eq!(score(&[1.0], &[4], 1).perplexity_without_unknown, None);
    }
}
