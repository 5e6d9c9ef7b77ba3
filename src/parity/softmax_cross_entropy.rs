use super::bounds::{TINY, U, exp_relative, gamma, log_absolute};
use super::harness::{Harness, ROW_LANES, Result, widen};
use super::subject::Subject;
use crate::model::ModelSize;
use crate::ops::{Ops, RowChunk};

/// Rows, V and the size of the logits.
pub const SIZES: &[(usize, usize, f32)] = &[
    (1, 2, 1.0),
    (3, 2, 1e4),
    (5, 3, 1.0),
    (7, 65, 3.0),
    (2, 255, 1.0),
    (2, 256, 1.0),
    (2, 257, 1.0),
    (50, 418, 5.0),
    (4, 1009, 1e4),
    (3, 10_007, 10.0),
    (2, 60_013, 5.0),
    // The longest row that a lane takes, and one more.
    (1, 65_536, 5.0),
    (1, 65_537, 5.0),
];

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    for &(rows, vocab, scale) in SIZES {
        let logits = harness.normal(rows * vocab, f64::from(scale));
        let tokens = harness.tokens(rows, vocab);
        check(harness, &logits, &tokens, 0, rows, vocab)?;
    }
    // All logits equal, ascending (every element is a new maximum), one far above the rest, and all
    // far below 0.
    let vocab = 600;
    let mut logits = vec![-7.5f32; vocab];
    logits.extend((0..vocab).map(|v| v as f32 * 0.03));
    logits.extend((0..vocab).map(|v| if v == 599 { 1e4 } else { -1e4 }));
    logits.extend((0..vocab).map(|v| -1e4 - (v % 7) as f32));
    check(harness, &logits, &[0, 17, 599, 0], 0, 4, vocab)?;
    // Rows far below, or above, those before them: what is of another row must not count. With V=5 they
    // begin at each place of a vec4.
    for slope in [-200.0, 200.0] {
        let level = |i: usize| slope * (i / 5) as f32 + (i % 5) as f32;
        let logits: Vec<f32> = (0..7 * 5).map(level).collect();
        check(harness, &logits, &[0, 1, 2, 3, 4, 0, 4], 0, 7, 5)?;
    }
    // A chunk of a window: rows 2 to 4 of 7.
    let logits = harness.normal(3 * 19, 2.0);
    check(harness, &logits, &[3, 1, 4, 1, 5, 9, 2], 2, 3, 19)?;
    let logits = harness.normal(200 * 60, 3.0);
    let tokens = harness.tokens(207, 60);
    harness.cut(|harness| check(harness, &logits, &tokens, 5, 200, 60))
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    let (rows, vocab) = (size.rows(), size.vocab);
    let tokens = harness.tokens(rows, vocab);
    // All rows, and those of the last time step.
    for first_row in [0, rows - size.batch] {
        let logits = harness.normal((rows - first_row) * vocab, 3.0);
        check(
            harness,
            &logits,
            &tokens,
            first_row,
            rows - first_row,
            vocab,
        )?;
    }
    Ok(())
}

fn check<O: Subject>(
    harness: &mut Harness<O>,
    logits: &[f32],
    tokens: &[u32],
    first_row: usize,
    rows: usize,
    vocab: usize,
) -> Result<()> {
    let total_rows = tokens.len();
    let chunk = RowChunk {
        first_row,
        rows,
        total_rows,
        vocab,
    };
    let ids = harness.ids(tokens, vocab)?;
    let (lanes, chain) = (harness.lanes(ROW_LANES), harness.row_chain(vocab));
    let mut values = harness.in_out(logits)?;
    // Rows of the window outside the chunk are not touched: 0 stays 0.
    let mut losses = harness.in_out(&vec![0.0; total_rows])?;
    let row_bounds: Vec<RowBound> = widen(logits)
        .chunks(vocab)
        .map(|row| RowBound::new(row, lanes, chain))
        .collect();
    let loss_bound = |r: usize| match r.checked_sub(first_row) {
        Some(i) if i < rows => row_bounds[i].loss(tokens[r] as usize),
        _ => 0.0,
    };
    let case = format!("{rows} rows, V={vocab}");
    for gradient in [false, true] {
        let (gpu, cpu) = (&mut harness.device, &mut harness.exact);
        gpu.softmax_cross_entropy(
            &mut values.device,
            &ids.0,
            &mut losses.device,
            chunk,
            gradient,
        )?;
        cpu.softmax_cross_entropy(
            &mut values.exact,
            &ids.1,
            &mut losses.exact,
            chunk,
            gradient,
        )?;
        harness.compare(&format!("{case}, loss"), &losses, loss_bound)?;
        if !gradient {
            harness.compare(&format!("{case}, logits left alone"), &values, |_| 0.0)?;
        }
    }
    let scale = 1.0 / total_rows as f64;
    let gradient_bound = |i: usize| {
        let (row, v) = (i / vocab, i % vocab);
        let p = row_bounds[row].probability(v);
        let relative = row_bounds[row].probability_relative(v) + 4.0 * U;
        // The label's element subtracts the scale, which rounds once more.
        scale
            * (p * relative + 2.0 * U * f64::from(u8::from(tokens[first_row + row] as usize == v)))
            + TINY
    };
    harness.compare(&format!("{case}, gradient"), &values, gradient_bound)
}

/// Bounds for a row's maximum, sum of exponentials, probabilities and loss.
pub struct RowBound {
    logits: Vec<f64>,
    max: f64,
    sum: f64,
    /// Relative error of the sum.
    sum_relative: f64,
}

impl RowBound {
    /// Bounds for `logits`, which `lanes` lanes share, where a sum has `chain` roundings.
    pub fn new(logits: &[f64], lanes: usize, chain: usize) -> Self {
        let max = logits.iter().fold(f64::NEG_INFINITY, |m, &a| m.max(a));
        let sum: f64 = logits.iter().map(|a| (a - max).exp()).sum();
        let weighted = logits
            .iter()
            .map(|a| (a - max).exp() * exp_relative(a - max));
        let terms = weighted.sum::<f64>() / sum;
        // A running sum is rescaled whenever its maximum grows, and when two lanes meet. Each
        // rescaling multiplies by an exp (3 ULP and a share of the distance) and rounds; the
        // distances add up to those of the terms, which `terms` counts, once more.
        let rescalings = Self::most_records(logits, lanes) + lanes.ilog2() as usize;
        let sum_relative = 2.0 * terms + rescalings as f64 * 7.0 * U + gamma(chain);
        RowBound {
            logits: logits.to_vec(),
            max,
            sum,
            sum_relative,
        }
    }

    /// How often a lane meets a new maximum, at most.
    fn most_records(logits: &[f64], lanes: usize) -> usize {
        let records = |lane: usize| {
            let mut max = f64::NEG_INFINITY;
            let mut records = 0;
            for &a in logits.iter().skip(lane).step_by(lanes) {
                if a > max {
                    max = a;
                    records += 1;
                }
            }
            records
        };
        (0..lanes.min(logits.len())).map(records).max().unwrap_or(0)
    }

    /// softmax(a)\[v\].
    pub fn probability(&self, v: usize) -> f64 {
        (self.logits[v] - self.max).exp() / self.sum
    }

    /// Relative error of a probability.
    pub fn probability_relative(&self, v: usize) -> f64 {
        exp_relative(self.logits[v] - self.max) + self.sum_relative
    }

    /// Absolute error of log Σ exp a − a\[label\].
    fn loss(&self, label: usize) -> f64 {
        let distance = (self.max - self.logits[label]).abs();
        let log = log_absolute(self.sum) + self.sum_relative;
        log + 2.0 * U * (distance + self.sum.ln().abs())
    }
}
