use super::bounds::{TANH_RELATIVE, TINY, gamma};
use super::harness::{Harness, Result, magnitudes, widen};
use super::subject::Subject;
use crate::device::cpu::CpuTensor;
use crate::model::ModelSize;
use crate::ops::{Matrix, Ops, Recurrence, Write};

/// T, N, H and the size of the pre-activations.
const SIZES: &[(usize, usize, usize, f64)] = &[
    (1, 1, 1, 1.0),
    (2, 1, 3, 1.0),
    (3, 4, 4, 1.0),
    (4, 5, 7, 1.0),
    (5, 3, 64, 1.0),
    (5, 10, 100, 1.0),
    (3, 17, 65, 1.0),
    (35, 2, 31, 1.0),
    (2, 33, 131, 300.0),
    (2, 6, 132, 300.0),
    // Three tiles of rows by a subgroup, with edges; whole tiles, in as many lanes as there are.
    (3, 73, 68, 1.0),
    (2, 64, 64, 1.0),
    // More steps than a dispatch of a sequence takes, and more rows than a workgroup: what one left in
    // workgroup memory is not what the next one needs there.
    (34, 17, 512, 1.0),
];

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    sizes().try_for_each(|(size, scale)| check(harness, size, scale))?;
    harness.cut(|harness| cut_sizes().try_for_each(|size| check(harness, size, 1.0)))
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    check(harness, size.recurrence(), 1.0)
}

/// T, N and H of more slots than can be bound at once: of slots that a binding can begin with each, with
/// each sixteenth, and with each 64th.
const CUT_SIZES: &[(usize, usize, usize)] = &[(40, 4, 64), (60, 3, 36), (200, 3, 9)];

/// The cases of both directions, and the size of the pre-activations.
pub fn sizes() -> impl Iterator<Item = (Recurrence, f64)> {
    let size = |&(t, n, h, scale): &_| (recurrence(&(t, n, h)), scale);
    SIZES.iter().map(size)
}

/// The cases of both directions whose slots are cut.
pub fn cut_sizes() -> impl Iterator<Item = Recurrence> {
    CUT_SIZES.iter().map(recurrence)
}

fn recurrence(&(time_steps, batch, hidden): &(usize, usize, usize)) -> Recurrence {
    Recurrence {
        time_steps,
        batch,
        hidden,
    }
}

fn check<O: Subject>(harness: &mut Harness<O>, size: Recurrence, scale: f64) -> Result<()> {
    let Recurrence {
        time_steps,
        batch,
        hidden: units,
    } = size;
    let step = batch * units;
    let mut values = harness.normal((time_steps + 1) * step, scale);
    // An initial state is an output of tanh.
    values[..step].iter_mut().for_each(|h| *h = h.tanh());
    let weights = harness.normal(units * units, scale / (units as f64).sqrt());
    let mut hidden = harness.in_out(&values)?;
    let wh = harness.input(&weights)?;
    harness.device.rnn(&mut hidden.device, &wh.device, size)?;
    let got = harness.result(&hidden)?;

    // Each step is checked from the state that the device itself came to: errors of earlier
    // steps, which a recurrence may amplify without end, are not part of this step's bound.
    let (mut want, mut bound) = (widen(&values[..step]), vec![0.0; step]);
    for t in 0..time_steps {
        let previous = &got[t * step..(t + 1) * step];
        let z = &values[(t + 1) * step..(t + 2) * step];
        let (h, b) = one_step(harness, previous, z, &wh.exact, size)?;
        want.extend(h);
        bound.extend(b);
    }
    let case = format!("T={time_steps} N={batch} H={units} pre-activations {scale}");
    harness.compare_with(&case, &hidden, &want, |i| bound[i])
}

/// tanh(z + previous·Wh) in f64, and its bound.
fn one_step<O: Subject>(
    harness: &mut Harness<O>,
    previous: &[f32],
    z: &[f32],
    wh: &CpuTensor<f64>,
    size: Recurrence,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let step = z.len();
    let size = Recurrence {
        time_steps: 1,
        ..size
    };
    let mut two_slots = CpuTensor(widen(previous));
    two_slots.0.extend(widen(z));
    // |z| + |h|·|Wh|: what the error of the pre-activation is a share of.
    let mut sums = magnitudes(&CpuTensor(widen(z)));
    let rows = Matrix::new(size.batch, size.hidden);
    let h = (&magnitudes(&two_slots), rows);
    let w = (&magnitudes(wh), Matrix::new(size.hidden, size.hidden));
    harness
        .exact
        .matmul(h, w, None, (&mut sums, rows), Write::Accumulate)?;
    harness.exact.rnn(&mut two_slots, wh, size)?;
    let h = two_slots.0[step..].to_vec();
    let bound = (0..step).map(|i| {
        let dz = gamma(size.hidden + 2) * sums.0[i] + TINY;
        // tanh' is 1 − h² here, and changes by less than dz within dz.
        let slope = (1.0 - h[i] * h[i] + dz).min(1.0);
        slope * dz + TANH_RELATIVE * h[i].abs() + TINY
    });
    let bound = bound.collect();
    Ok((h, bound))
}
