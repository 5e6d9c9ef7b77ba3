//! A token of each row, drawn from softmax(a_r / temperature) over the tokens that are kept.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::device::Element;
use crate::device::loops::{for_each_chunk, maximum, vectorised};
use crate::error::Result;
use crate::ops::{Choice, check};

/// See [`crate::ops::Ops::sample`].
pub fn sample<F: Element>(
    logits: &[F],
    uniform: &[F],
    tokens: &mut [F],
    vocab: usize,
    choice: Choice,
    threads: usize,
) -> Result<()> {
    let rows = uniform.len();
    check::sample(logits.len(), rows, tokens.len(), vocab, &choice)?;
    let (tokens, work) = (&mut tokens[..rows], rows * vocab);
    for_each_chunk(tokens, 1, work, threads, |row, token| {
        let logits = &logits[row * vocab..][..vocab];
        token[0] = F::from_f64(draw(logits, uniform[row].value(), choice) as f64);
    });
    Ok(())
}

fn draw<F: Element>(logits: &[F], uniform: f64, choice: Choice) -> usize {
    let weights = weights(logits, choice);
    let vocab = logits.len();
    if choice.kept(vocab) == vocab && choice.top_p == 1.0 {
        return first_above(0..vocab, &weights, uniform);
    }
    let kept = kept(logits, &weights, choice);
    first_above(kept.iter().copied(), &weights, uniform)
}

/// w_v = exp((a_v − max a) / temperature).
fn weights<F: Element>(logits: &[F], choice: Choice) -> Vec<F> {
    let inverse = F::from_f64(choice.inverse_temperature());
    let mut weights = logits.to_vec();
    vectorised(
        #[inline(always)]
        || {
            let max = maximum(logits);
            for w in weights.iter_mut() {
                *w = ((*w - max) * inverse).exp_fast();
            }
        },
    );
    weights
}

/// The inverse of the distribution function: the first of `ids` up to which the weights add up to
/// more than `uniform` of their sum. Sums are taken at f64, in the order of the ids.
fn first_above<F: Element>(
    mut ids: impl DoubleEndedIterator<Item = usize> + Clone,
    weights: &[F],
    uniform: f64,
) -> usize {
    let target = uniform * sum(ids.clone(), weights);
    let last = ids.clone().next_back();
    let mut below = 0.0;
    let found = ids.find(|&id| {
        below += weights[id].value();
        below > target
    });
    // Nothing is above a target that is not a number.
    found.or(last).unwrap_or(0)
}

fn sum<F: Element>(ids: impl Iterator<Item = usize>, weights: &[F]) -> f64 {
    ids.map(|id| weights[id].value()).sum()
}

/// The ids that `choice` keeps, in ascending order.
fn kept<F: Element>(logits: &[F], weights: &[F], choice: Choice) -> Vec<usize> {
    let vocab = logits.len();
    let k = choice.kept(vocab);
    let ids = (0..vocab).map(|id| (rank(logits[id].value()), Reverse(id)));
    let mut heap: BinaryHeap<_> = ids.collect();
    let ranked = std::iter::from_fn(|| heap.pop()).map(|(_, Reverse(id))| id);
    let mut kept: Vec<usize> = if choice.top_p == 1.0 {
        ranked.take(k).collect()
    } else if k == vocab {
        nucleus(ranked, sum(0..vocab, weights), weights, choice)
    } else {
        let first: Vec<usize> = ranked.take(k).collect();
        let total = sum(first.iter().copied(), weights);
        nucleus(first.into_iter(), total, weights, choice)
    };
    kept.sort_unstable();
    kept
}

/// The first in rank whose weights add up to `top_p` of `total`.
fn nucleus<F: Element>(
    ranked: impl Iterator<Item = usize>,
    total: f64,
    weights: &[F],
    choice: Choice,
) -> Vec<usize> {
    let wanted = f64::from(choice.top_p) * total;
    let mut before = 0.0;
    let is_kept = |id: &usize| {
        let kept = before < wanted;
        before += weights[*id].value();
        kept
    };
    ranked.take_while(is_kept).collect()
}

/// An integer that is ordered as the logits are: negative numbers have all bits but the sign
/// flipped.
fn rank(logit: f64) -> i64 {
    let bits = logit.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Choice = Choice {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
    };

    #[test]
    fn the_kept_are_the_first_in_rank() {
        // Weights 1/4, 1, 1/2, 1, 1/4 of 3 in all.
        let logits: Vec<f64> = [0.25f64, 1.0, 0.5, 1.0, 0.25].map(f64::ln).into();
        let kept = |top_k, top_p| {
            let choice = Choice {
                top_k,
                top_p,
                ..ALL
            };
            kept(&logits, &weights(&logits, choice), choice)
        };
        assert_eq!(kept(1, 1.0), [1]);
        assert_eq!(kept(3, 1.0), [1, 2, 3]);
        assert_eq!(kept(4, 1.0), [0, 1, 2, 3]);
        assert_eq!(kept(9, 1.0), [0, 1, 2, 3, 4]);
        assert_eq!(kept(0, 1e-6), [1]);
        assert_eq!(kept(0, 0.34), [1, 3]);
        assert_eq!(kept(0, 0.8), [1, 2, 3]);
        assert_eq!(kept(0, 0.999), [0, 1, 2, 3, 4]);
        // Of three, 0.8 · 2.5 = 2 is what two weigh.
        assert_eq!(kept(3, 0.79), [1, 3]);
        assert_eq!(kept(3, 0.81), [1, 2, 3]);
        assert!([-1.0, -0.0, 0.0, 2.0].map(rank).is_sorted());
    }

    #[test]
    fn the_uniform_number_finds_the_token() {
        let logits = [0.0f64, f64::NEG_INFINITY, 0.0, 0.0];
        for (uniform, token) in [(0.0, 0), (0.33, 0), (0.34, 2), (0.66, 2), (0.67, 3)] {
            assert_eq!(draw(&logits, uniform, ALL), token);
        }
        let greedy = Choice {
            temperature: 0.0,
            ..ALL
        };
        assert_eq!(draw(&[1.0f32, 3.0, 3.0], 0.99, greedy), 1);
        assert_eq!(draw(&[f32::NAN; 3], 0.5, ALL), 2);
    }

    #[test]
    fn frequencies_are_the_probabilities() {
        use rand::{Rng, SeedableRng};
        let logits: Vec<f32> = (0..12).map(|v| (v as f32 * 0.9).sin() * 3.0).collect();
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for temperature in [0.5, 1.0, 2.0] {
            let choice = Choice { temperature, ..ALL };
            let draws = 100_000;
            let mut counts = [0u32; 12];
            for _ in 0..draws {
                let uniform = f64::from(random.next_u32() >> 8) / f64::from(1 << 24);
                counts[draw(&logits, uniform, choice)] += 1;
            }
            let exact = |a: f32| (f64::from(a) / f64::from(temperature)).exp();
            let total: f64 = logits.iter().map(|&a| exact(a)).sum();
            for (&count, &logit) in counts.iter().zip(&logits) {
                let p = exact(logit) / total;
                let deviation = (p * (1.0 - p) / f64::from(draws)).sqrt();
                let frequency = f64::from(count) / f64::from(draws);
                assert!((frequency - p).abs() < 5.0 * deviation, "{frequency} {p}");
            }
        }
    }
}
