use super::bounds::{TINY, U};
use super::harness::Harness;
use super::subject::Subject;
use crate::error::Result;
use crate::ops::Ops;

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    for len in [1, 63, 64, 65, 255, 257, 10_007] {
        let (w, g) = (harness.normal(len, 1.0), harness.normal(len, 1.0));
        let mut weights = harness.in_out(&w)?;
        let gradient = harness.input(&g)?;
        let (rate, norm) = (harness.input(&[0.3])?, harness.input(&[7.0, 0.25])?);
        let gpu = &mut harness.device;
        gpu.sgd(
            &mut weights.device,
            &gradient.device,
            &rate.device,
            &norm.device,
        )?;
        let cpu = &mut harness.exact;
        cpu.sgd(
            &mut weights.exact,
            &gradient.exact,
            &rate.exact,
            &norm.exact,
        )?;
        // Two products and a difference.
        let want = weights.reference().to_vec();
        let update = |i: usize| 0.3 * 0.25 * f64::from(g[i]).abs();
        let tolerance = |i: usize| 1.01 * U * (want[i].abs() + 2.0 * update(i)) + TINY;
        harness.compare(&format!("{len} weights"), &weights, tolerance)?;
    }
    Ok(())
}
