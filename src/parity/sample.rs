//! A draw is discrete: one id is right, but where the uniform number falls within rounding of a
//! step of the distribution function, either neighbour is. So the bound is on sums, and a device's
//! id is held to lie where such sums may put it ([`Exact::allows`]).

use std::ops::RangeInclusive;

use super::bounds::{TINY, U, exp_relative, gamma};
use super::harness::{Harness, ROW_LANES, Result, widen};
use super::subject::Subject;
use crate::model::ModelSize;
use crate::ops::{Choice, Ops};

/// Rows, V, and what the logits are like.
const SIZES: &[(usize, usize, Logits)] = &[
    (1, 1, Logits::Normal(1.0)),
    (40, 2, Logits::Normal(1.0)),
    (9, 3, Logits::Normal(1e4)),
    (70, 65, Logits::Normal(3.0)),
    (8, 255, Logits::Tied),
    (8, 256, Logits::Normal(0.3)),
    (8, 257, Logits::Tied),
    (8, 64, Logits::Neighbours),
    (5, 600, Logits::Peak),
    (20, 1009, Logits::Normal(1e4)),
    (6, 1009, Logits::Equal),
    (3, 10_007, Logits::Normal(5.0)),
    (2, 50_000, Logits::Normal(2.0)),
    (2, 50_000, Logits::Equal),
];

#[derive(Debug, Clone, Copy)]
enum Logits {
    /// Of this deviation.
    Normal(f64),
    /// Of few distinct values, both zeros among them.
    Tied,
    Equal,
    /// Of a few numbers that follow each other in f32: their order is in the last bits of their keys.
    Neighbours,
    /// One of 1e4 among others of −1e4.
    Peak,
}

const ALL: Choice = Choice {
    temperature: 1.0,
    top_k: 0,
    top_p: 1.0,
};

fn choices(vocab: usize) -> Vec<Choice> {
    let of = |temperature, top_k, top_p| Choice {
        temperature,
        top_k,
        top_p,
    };
    vec![
        ALL,
        of(0.7, 0, 1.0),
        of(0.0, 0, 1.0),
        of(2.5, 1, 1.0),
        of(1.0, 7, 1.0),
        of(0.5, 40, 0.5),
        of(0.05, vocab.saturating_sub(1), 1.0),
        of(1.0, 2 * vocab, 0.9),
        of(1.0, 0, 1e-6),
        of(1.5, vocab / 2 + 1, 0.97),
    ]
}

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    for &(rows, vocab, kind) in SIZES {
        let logits = logits(harness, kind, rows * vocab);
        // Long rows cost the reference most; four choices try all that a kernel does.
        let every = if vocab > 10_000 { 3 } else { 1 };
        for choice in choices(vocab).into_iter().step_by(every) {
            check(harness, &logits, rows, vocab, choice)?;
        }
    }
    Ok(())
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    for choice in choices(size.vocab) {
        let logits = logits(harness, Logits::Normal(3.0), size.batch * size.vocab);
        check(harness, &logits, size.batch, size.vocab, choice)?;
    }
    Ok(())
}

fn logits<O: Subject>(harness: &mut Harness<O>, kind: Logits, len: usize) -> Vec<f32> {
    match kind {
        Logits::Normal(deviation) => harness.normal(len, deviation),
        Logits::Tied => {
            let normal = harness.normal(len, 1.0);
            normal.iter().map(|a| (2.0 * a).round() / 2.0).collect()
        }
        Logits::Equal => vec![-3.25; len],
        Logits::Neighbours => (0..len as u32)
            .map(|i| f32::from_bits(1f32.to_bits() + i * 7919 % 13))
            .collect(),
        Logits::Peak => (0..len)
            .map(|i| if i % 601 == 300 { 1e4 } else { -1e4 })
            .collect(),
    }
}

fn check<O: Subject>(
    harness: &mut Harness<O>,
    values: &[f32],
    rows: usize,
    vocab: usize,
    choice: Choice,
) -> Result<()> {
    let lanes = harness.lanes(ROW_LANES);
    // A lane's block, and the blocks before it.
    let chain = vocab.div_ceil(lanes) + lanes;
    let exact: Vec<Exact> = widen(values)
        .chunks(vocab)
        .map(|row| Exact::new(row, choice, chain))
        .collect();
    let numbers: Vec<f32> = (0..rows).map(|r| number(r, &exact[r])).collect();
    let logits = harness.input(values)?;
    let uniform = harness.input(&numbers)?;
    let mut tokens = harness.output(rows)?;
    let (device, reference) = (&mut harness.device, &mut harness.exact);
    device.sample(
        &logits.device,
        &uniform.device,
        &mut tokens.device,
        vocab,
        choice,
    )?;
    reference.sample(
        &logits.exact,
        &uniform.exact,
        &mut tokens.exact,
        vocab,
        choice,
    )?;
    let got = harness.result(&tokens)?;
    let want = |r: usize| {
        let allowed = exact[r].allows(f64::from(got[r]), f64::from(numbers[r]));
        let reference = tokens.reference()[r];
        if allowed {
            f64::from(got[r])
        } else {
            reference
        }
    };
    let want: Vec<f64> = (0..rows).map(want).collect();
    let case = format!("{rows} rows, V={vocab}, {choice:?}");
    harness.compare_with(&case, &tokens, &want, |_| 0.0)
}

/// The uniform number of a row: 0, the greatest below 1, some in between, and every other one so
/// near to a step of the distribution function that only one side of it is right.
fn number(row: usize, exact: &Exact) -> f32 {
    let spread = (row as f64 * 0.618_034).fract();
    match row {
        0 => 0.0,
        1 => 1.0 - U as f32,
        _ if row.is_multiple_of(2) => spread as f32,
        _ => exact.beside_a_step(spread),
    }
}

/// The reference for one row, with what sums may be off by.
struct Exact {
    weights: Vec<f64>,
    /// Ids in rank.
    ranked: Vec<usize>,
    /// How many of them may be kept.
    kept: RangeInclusive<usize>,
    /// What a sum of weights of all that is kept may be off by.
    error: f64,
    /// Σ w of the kept, up to and with each id, for the most that may be kept.
    cumulative: Vec<f64>,
}

impl Exact {
    fn new(logits: &[f64], choice: Choice, chain: usize) -> Self {
        let vocab = logits.len();
        let max = logits.iter().fold(f64::NEG_INFINITY, |m, &a| m.max(a));
        let inverse = choice.inverse_temperature();
        let scaled = |&a: &f64| (a - max) * inverse;
        let weights: Vec<f64> = logits.iter().map(|a| scaled(a).exp()).collect();
        let mut ranked: Vec<usize> = (0..vocab).collect();
        ranked.sort_by(|&i, &j| logits[j].total_cmp(&logits[i]).then(i.cmp(&j)));
        ranked.truncate(choice.kept(vocab));
        let total: f64 = ranked.iter().map(|&id| weights[id]).sum();
        // The weights' own errors, the multiplication by a rounded inverse as in softmax, and the
        // roundings of the sum; a weight below the normal numbers may be lost.
        let of_weight = |&id: &usize| {
            let relative = 1.5 * exp_relative(scaled(&logits[id])) + 6.0 * U;
            weights[id] * relative + TINY
        };
        let error = ranked.iter().map(of_weight).sum::<f64>() + gamma(chain) * total;
        let kept = Exact::range(&ranked, &weights, choice, total, error);
        let mut exact = Exact {
            weights,
            ranked,
            kept,
            error,
            cumulative: Vec::new(),
        };
        exact.cumulative = exact.cumulative(*exact.kept.end());
        exact
    }

    /// How many of the ranked are kept: an id is if the sum before it is less than `top_p` of the
    /// total. That sum, the total and their product err.
    fn range(
        ranked: &[usize],
        weights: &[f64],
        choice: Choice,
        total: f64,
        error: f64,
    ) -> RangeInclusive<usize> {
        if choice.top_p == 1.0 {
            return ranked.len()..=ranked.len();
        }
        let wanted = f64::from(choice.top_p) * total;
        let error = error * (1.0 + f64::from(choice.top_p)) + 4.0 * U * wanted;
        let (mut least, mut most, mut before) = (0, 0, 0.0);
        for &id in ranked {
            least += usize::from(before < wanted - error);
            most += usize::from(before < wanted + error);
            before += weights[id];
        }
        least.max(1)..=most.max(1)
    }

    /// Σ w up to and with each id, where the first `count` in rank are kept.
    fn cumulative(&self, count: usize) -> Vec<f64> {
        let mut sums = vec![0.0; self.weights.len()];
        for &id in &self.ranked[..count] {
            sums[id] = self.weights[id];
        }
        let mut sum = 0.0;
        for w in &mut sums {
            sum += *w;
            *w = sum;
        }
        sums
    }

    /// What the goal, a sum and their difference may be off by together.
    fn slack(&self) -> f64 {
        2.0 * self.error + 2.0 * U * self.total()
    }

    fn total(&self) -> f64 {
        self.cumulative.last().copied().unwrap_or(0.0)
    }

    /// May a device draw `token` for `uniform`?
    fn allows(&self, token: f64, uniform: f64) -> bool {
        let vocab = self.weights.len();
        // NaN becomes 0, which is not the same.
        let id = token as usize;
        if id as f64 != token || id >= vocab {
            return false;
        }
        self.kept.clone().any(|count| {
            let most = count == *self.kept.end();
            let other = (!most).then(|| self.cumulative(count));
            let sums = other.as_ref().unwrap_or(&self.cumulative);
            let goal = uniform * sums[vocab - 1];
            let before = if id == 0 { 0.0 } else { sums[id - 1] };
            self.ranked[..count].contains(&id)
                && before <= goal + self.slack()
                && sums[id] + self.slack() > goal
        })
    }

    /// A number just so far from one of the steps that rounding cannot cross it: above it for an
    /// even id, below it for an odd one.
    fn beside_a_step(&self, share: f64) -> f32 {
        let id = (share * self.weights.len() as f64) as usize;
        let side = if id.is_multiple_of(2) { 1.0 } else { -1.0 };
        // The number is an f32, which is off by up to U; and twice that for good measure.
        let distance = 1.01 * self.slack() / self.total() + 3.0 * U;
        let number = self.cumulative[id] / self.total() + side * distance;
        (number as f32).clamp(0.0, 1.0 - U as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_is_allowed_within_the_bound_only() {
        // Four equal weights: steps at 1/4, 1/2 and 3/4.
        let exact = Exact::new(&[0.0; 4], ALL, 1);
        let near = 0.5 * exact.slack() / exact.total();
        let allowed = |uniform| {
            (0..4)
                .filter(|&id| exact.allows(f64::from(id), uniform))
                .collect()
        };
        let allowed: &dyn Fn(f64) -> Vec<i32> = &allowed;
        assert_eq!(allowed(0.3), [1]);
        assert_eq!(allowed(0.25 - near), [0, 1]);
        assert_eq!(allowed(0.25 + near), [0, 1]);
        assert_eq!(allowed(0.25 - 3.0 * near), [0]);
        assert_eq!(allowed(0.25 + 3.0 * near), [1]);
        assert_eq!(allowed(0.0), [0]);
        assert!(near < 1e-5, "{near}");
        for token in [f64::NAN, -1.0, 4.0, 0.5, 1e30] {
            assert!(!exact.allows(token, 0.1), "{token}");
        }
        let beside = f64::from(exact.beside_a_step(0.3));
        assert_eq!(allowed(beside), [1]);
    }

    #[test]
    fn what_is_not_kept_is_not_allowed() {
        let logits = [0.0, 1.0, 1.0, -1.0];
        let of = |top_k, top_p| {
            Exact::new(
                &logits,
                Choice {
                    top_k,
                    top_p,
                    ..ALL
                },
                1,
            )
        };
        assert!(of(1, 1.0).allows(1.0, 0.9) && !of(1, 1.0).allows(2.0, 0.9));
        assert!(of(2, 1.0).allows(2.0, 0.9) && !of(2, 1.0).allows(0.0, 0.0));
        assert_eq!(of(0, 0.5).kept, 2..=2);
        // Half of the two that are kept is one of them: rounding may add the other.
        assert_eq!(of(2, 0.5).kept, 1..=2);
        assert_eq!(of(0, 1e-6).kept, 1..=1);
    }
}
