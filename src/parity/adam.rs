use super::bounds::{TINY, U};
use super::harness::{Harness, Result, devices, devices_mut, exacts, exacts_mut};
use super::sgd::{LENGTHS, lengths};
use super::subject::Subject;
use crate::model::ModelSize;
use crate::ops::{Adam, Ops};

/// Exact in f32, as are 1 − β₁ and 1 − β₂.
const SETTINGS: [Adam; 3] = [
    settings(0.0, true),
    settings(0.25, true),
    settings(0.25, false),
];

const fn settings(weight_decay: f64, decoupled: bool) -> Adam {
    Adam {
        beta1: 0.875,
        beta2: 1.0 - 1.0 / 64.0,
        eps: 1.0 / (1u64 << 27) as f64,
        weight_decay,
        decoupled,
    }
}

/// As at an early step, when the corrections are far from 1.
const RATE: [f32; 3] = [0.25, 0.75, 3.5];
const CLIP: f32 = 0.25;

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    for (i, lengths) in LENGTHS.into_iter().enumerate() {
        check(harness, lengths, 1.0, SETTINGS[i % SETTINGS.len()])?;
    }
    for settings in SETTINGS {
        // Gradients near eps, far below and far above it, and none, without a state.
        for scale in [1e-8, 1e-12, 1e12, 0.0] {
            check(harness, &[300, 7], scale, settings)?;
        }
    }
    Ok(())
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    check(
        harness,
        &lengths(size),
        1.0,
        SETTINGS[size.vocab % SETTINGS.len()],
    )
}

/// Gradients and moments are as large as `scale`.
fn check<O: Subject>(
    harness: &mut Harness<O>,
    lengths: &[usize],
    scale: f64,
    settings: Adam,
) -> Result<()> {
    let w = harness.normals(lengths, 1.0);
    let [g, m, mut v] = [(); 3].map(|()| harness.normals(lengths, scale));
    v.iter_mut().flatten().for_each(|v| *v *= *v);
    let mut weights = harness.in_outs(&w)?;
    let [mut first, mut second] = [harness.in_outs(&m)?, harness.in_outs(&v)?];
    let gradients = harness.inputs(&g)?;
    let (rate, norm) = (harness.input(&RATE)?, harness.input(&[7.0, CLIP])?);
    harness.device.adam(
        &mut devices_mut(&mut weights),
        [&mut devices_mut(&mut first), &mut devices_mut(&mut second)],
        &devices(&gradients),
        &rate.device,
        &norm.device,
        settings,
    )?;
    harness.exact.adam(
        &mut exacts_mut(&mut weights),
        [&mut exacts_mut(&mut first), &mut exacts_mut(&mut second)],
        &exacts(&gradients),
        &rate.exact,
        &norm.exact,
        settings,
    )?;
    for at in 0..lengths.len() {
        let (w, m, v, g) = (&w[at], &m[at], &v[at], &g[at]);
        let bound = |i: usize| Bounds::new([w[i], m[i], v[i], g[i]].map(f64::from), settings);
        let case = format!("{lengths:?}, scale {scale}, {settings:?}, {at}");
        let tolerance = |i| 1.01 * bound(i).first + TINY;
        harness.compare(&format!("{case}, first"), &first[at], tolerance)?;
        let tolerance = |i| 1.01 * bound(i).second + TINY;
        harness.compare(&format!("{case}, second"), &second[at], tolerance)?;
        let tolerance = |i| 1.01 * bound(i).weight + TINY;
        harness.compare(&format!("{case}, weight"), &weights[at], tolerance)?;
    }
    Ok(())
}

/// What an element's results may be off by.
struct Bounds {
    first: f64,
    second: f64,
    weight: f64,
}

impl Bounds {
    /// Half an ULP for each product and each sum, 2.5 ULP for a division, 4.5 for a root (one over
    /// an inverse root of 2 ULP), and what the step before it was off by.
    fn new([w, m, v, g]: [f64; 4], settings: Adam) -> Self {
        let (l2, weight_decay) = settings.decays();
        let (c1, c2) = (1.0 - settings.beta1, 1.0 - settings.beta2);
        let [rate, step_size, root_correction] = RATE.map(f64::from);
        let (clipped, decay) = (f64::from(CLIP) * g, l2 * w);
        let g = clipped + decay;
        let g_off = U * (clipped.abs() + decay.abs() + g.abs());

        let change = g - m;
        let m = m + c1 * change;
        let m_off = c1 * (g_off + 2.0 * U * change.abs()) + U * m.abs();
        let change = g * g - v;
        let v = v + c2 * change;
        let square_off = 2.0 * g.abs() * g_off + U * g * g;
        let v_off = c2 * (square_off + 2.0 * U * change.abs()) + U * v;

        let root = v.sqrt();
        let root_off = if v > 0.0 { v_off / (2.0 * root) } else { 0.0 } + 9.0 * U * root;
        let corrected = root * root_correction;
        let divisor = corrected + settings.eps;
        let divisor_off = root_off * root_correction + U * (corrected + divisor);
        let ratio = m / divisor;
        let ratio_off = (m_off + ratio.abs() * divisor_off) / divisor + 5.0 * U * ratio.abs();
        let step = step_size * ratio;
        let step_off = step_size * ratio_off + U * step.abs();
        let decay = rate * weight_decay * w;
        let decayed = w - decay;
        let decayed_off = U * (2.0 * decay.abs() + decayed.abs());
        Bounds {
            first: m_off,
            second: v_off,
            weight: decayed_off + step_off + U * (decayed - step).abs(),
        }
    }
}
