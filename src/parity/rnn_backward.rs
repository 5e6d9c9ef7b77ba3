use super::bounds::{TINY, U, gamma};
use super::harness::{Harness, Result, magnitudes, widen};
use super::rnn::{cut_sizes, sizes};
use super::subject::Subject;
use crate::device::cpu::CpuTensor;
use crate::model::ModelSize;
use crate::ops::{Matrix, Ops, Recurrence, Write};

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    sizes().try_for_each(|(size, scale)| check(harness, size, scale))?;
    harness.cut(|harness| cut_sizes().try_for_each(|size| check(harness, size, 1.0)))
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    check(harness, size.recurrence(), 1.0)
}

fn check<O: Subject>(harness: &mut Harness<O>, size: Recurrence, scale: f64) -> Result<()> {
    let Recurrence {
        time_steps,
        batch,
        hidden: units,
    } = size;
    let step = batch * units;
    let mut states = harness.normal((time_steps + 1) * step, scale);
    states.iter_mut().for_each(|h| *h = h.tanh());
    let upstream = harness.normal(time_steps * step, 3.0);
    let weights = harness.normal(units * units, 1.0 / (units as f64).sqrt());
    let (hidden, wh) = (harness.input(&states)?, harness.input(&weights)?);
    let mut grad = harness.in_out(&upstream)?;
    harness
        .device
        .rnn_backward(&mut grad.device, &hidden.device, &wh.device, size)?;
    let got = harness.result(&grad)?;

    // Each step is checked from the dz_{t+1} that the device itself came to.
    let (mut want, mut bound) = (Vec::new(), Vec::new());
    for t in 0..time_steps {
        let dh = &upstream[t * step..(t + 1) * step];
        let h = &states[(t + 1) * step..(t + 2) * step];
        let next = got.get((t + 1) * step..(t + 2) * step);
        let (sums, magnitude) = sums(harness, dh, next, &wh.exact, size)?;
        for i in 0..step {
            let y = f64::from(h[i]);
            let slope = 1.0 - y * y;
            want.push(sums[i] * slope);
            // The sum's error, and one rounding each of y², 1 − y² and the product.
            let terms = if next.is_some() { units + 1 } else { 0 };
            let rounding = sums[i].abs() * U * (y * y + 2.0 * slope);
            bound.push(1.01 * (gamma(terms) * magnitude[i] * slope + rounding) + TINY);
        }
    }
    let case = format!("T={time_steps} N={batch} H={units}");
    harness.compare_with(&case, &grad, &want, |i| bound[i])
}

/// dh + next·Whᵀ in f64, and the same of magnitudes; dh alone for the last step.
fn sums<O: Subject>(
    harness: &mut Harness<O>,
    dh: &[f32],
    next: Option<&[f32]>,
    wh: &CpuTensor<f64>,
    size: Recurrence,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut sums = CpuTensor(widen(dh));
    let mut magnitude = magnitudes(&sums);
    if let Some(next) = next {
        let next = CpuTensor(widen(next));
        let rows = Matrix::new(size.batch, size.hidden);
        let transposed = Matrix::new(size.hidden, size.hidden).t();
        let mut add = |a: &CpuTensor<f64>, w: &CpuTensor<f64>, c: &mut CpuTensor<f64>| {
            let (a, w) = ((a, rows), (w, transposed));
            harness
                .exact
                .matmul(a, w, None, (c, rows), Write::Accumulate)
        };
        add(&next, wh, &mut sums)?;
        add(&magnitudes(&next), &magnitudes(wh), &mut magnitude)?;
    }
    Ok((sums.0, magnitude.0))
}
