use super::bounds::{TINY, U};
use super::harness::{Harness, Result, devices, devices_mut, exacts, exacts_mut};
use super::subject::Subject;
use crate::model::ModelSize;
use crate::model::parameters::specs;
use crate::ops::Ops;

/// Lengths of weights that are updated together.
pub const LENGTHS: [&[usize]; 9] = [
    &[1],
    &[63],
    &[64],
    &[65],
    &[255],
    &[257],
    &[10_007],
    &[65, 1, 10_007, 64, 130],
    &[1; 20],
];

/// Lengths of a model's parameters.
pub fn lengths(size: ModelSize) -> Vec<usize> {
    let specs = specs(&size).into_iter();
    specs.map(|spec| spec.shape.0 * spec.shape.1).collect()
}

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    for lengths in LENGTHS {
        check(harness, lengths)?;
    }
    Ok(())
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    check(harness, &lengths(size))
}

fn check<O: Subject>(harness: &mut Harness<O>, lengths: &[usize]) -> Result<()> {
    let (w, g) = (harness.normals(lengths, 1.0), harness.normals(lengths, 1.0));
    let mut weights = harness.in_outs(&w)?;
    let gradients = harness.inputs(&g)?;
    let (rate, norm) = (harness.input(&[0.3])?, harness.input(&[7.0, 0.25])?);
    harness.device.sgd(
        &mut devices_mut(&mut weights),
        &devices(&gradients),
        &rate.device,
        &norm.device,
    )?;
    harness.exact.sgd(
        &mut exacts_mut(&mut weights),
        &exacts(&gradients),
        &rate.exact,
        &norm.exact,
    )?;
    for (at, (weights, g)) in weights.iter().zip(g).enumerate() {
        // Two products and a difference.
        let want = weights.reference().to_vec();
        let update = |i: usize| 0.3 * 0.25 * f64::from(g[i]).abs();
        let tolerance = |i: usize| 1.01 * U * (want[i].abs() + 2.0 * update(i)) + TINY;
        harness.compare(&format!("{lengths:?}, weights {at}"), weights, tolerance)?;
    }
    Ok(())
}
