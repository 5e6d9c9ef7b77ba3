use super::bounds::{TINY, U};
use super::harness::{Harness, Result, devices, devices_mut, exacts, exacts_mut};
use super::sgd::{LENGTHS, lengths};
use super::subject::Subject;
use crate::model::ModelSize;
use crate::ops::{Momentum, Ops};

/// Exact in f32.
const SETTINGS: [Momentum; 4] = [
    settings(0.875, 0.0, false),
    settings(0.875, 0.5, false),
    settings(0.75, 0.0, true),
    settings(0.75, 0.25, true),
];

const fn settings(momentum: f64, weight_decay: f64, nesterov: bool) -> Momentum {
    Momentum {
        momentum,
        weight_decay,
        nesterov,
    }
}

const RATE: f32 = 0.3;
const CLIP: f32 = 0.25;

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    for (i, lengths) in LENGTHS.into_iter().enumerate() {
        check(harness, lengths, SETTINGS[i % SETTINGS.len()])?;
    }
    for settings in SETTINGS {
        check(harness, &[300, 7], settings)?;
    }
    Ok(())
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    check(
        harness,
        &lengths(size),
        SETTINGS[size.vocab % SETTINGS.len()],
    )
}

fn check<O: Subject>(
    harness: &mut Harness<O>,
    lengths: &[usize],
    settings: Momentum,
) -> Result<()> {
    let [w, v, g] = [(); 3].map(|()| harness.normals(lengths, 1.0));
    let (mut weights, mut velocities) = (harness.in_outs(&w)?, harness.in_outs(&v)?);
    let gradients = harness.inputs(&g)?;
    let (rate, norm) = (harness.input(&[RATE])?, harness.input(&[7.0, CLIP])?);
    harness.device.momentum(
        &mut devices_mut(&mut weights),
        &mut devices_mut(&mut velocities),
        &devices(&gradients),
        &rate.device,
        &norm.device,
        settings,
    )?;
    harness.exact.momentum(
        &mut exacts_mut(&mut weights),
        &mut exacts_mut(&mut velocities),
        &exacts(&gradients),
        &rate.exact,
        &norm.exact,
        settings,
    )?;
    for at in 0..lengths.len() {
        let (w, v, g) = (&w[at], &v[at], &g[at]);
        let bound = |i: usize| Bounds::new([w[i], v[i], g[i]].map(f64::from), settings);
        let case = format!("{lengths:?}, {settings:?}, {at}");
        let (velocities, weights) = (&velocities[at], &weights[at]);
        let tolerance = |i| 1.01 * bound(i).velocity + TINY;
        harness.compare(&format!("{case}, velocity"), velocities, tolerance)?;
        let tolerance = |i| 1.01 * bound(i).weight + TINY;
        harness.compare(&format!("{case}, weight"), weights, tolerance)?;
    }
    Ok(())
}

/// What an element's results may be off by.
struct Bounds {
    velocity: f64,
    weight: f64,
}

impl Bounds {
    /// Half an ULP for each product and each sum, and what the step before it was off by.
    fn new([w, v, g]: [f64; 3], settings: Momentum) -> Self {
        let Momentum {
            momentum,
            weight_decay,
            nesterov,
        } = settings;
        let (rate, clip) = (f64::from(RATE), f64::from(CLIP));
        let (clipped, decay) = (clip * g, weight_decay * w);
        let g = clipped + decay;
        let g_off = U * (clipped.abs() + decay.abs() + g.abs());
        let kept = momentum * v;
        let v = kept + g;
        let v_off = U * (kept.abs() + v.abs()) + g_off;
        let (direction, off) = if nesterov {
            let ahead = momentum * v;
            let direction = g + ahead;
            let off = g_off + momentum * v_off + U * (ahead.abs() + direction.abs());
            (direction, off)
        } else {
            (v, v_off)
        };
        let step = rate * direction;
        Bounds {
            velocity: v_off,
            weight: rate * off + U * (step.abs() + (w - step).abs()),
        }
    }
}
