use super::bounds::{U, gamma, tree};
use super::harness::{Harness, ROW_LANES, Result, devices, exacts};
use super::sgd::lengths;
use super::subject::Subject;
use crate::model::ModelSize;
use crate::ops::{NORM_CHUNK, Ops, norm_partials};

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    // The last has more partial sums than lanes that add them.
    let lengths: [&[usize]; 6] = [
        &[1],
        &[3, 1, 7],
        &[NORM_CHUNK, NORM_CHUNK + 1],
        &[255, NORM_CHUNK - 1, 2],
        &[5 * NORM_CHUNK + 13, 1, 2 * NORM_CHUNK],
        &[1; 300],
    ];
    for lengths in lengths {
        // Far above, far below, and none.
        for max_norm in [Some(0.5), Some(1e6), None] {
            for grouped in [false, true] {
                check(harness, lengths, max_norm, grouped)?;
            }
        }
    }
    harness.cut(|harness| check(harness, &[7, 3 * NORM_CHUNK + 5, 9], Some(0.5), true))
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    for grouped in [false, true] {
        check(harness, &lengths(size), Some(0.5), grouped)?;
    }
    Ok(())
}

fn check<O: Subject>(
    harness: &mut Harness<O>,
    lengths: &[usize],
    max_norm: Option<f32>,
    grouped: bool,
) -> Result<()> {
    let mut values = harness.normals(lengths, 2.0);
    values.iter_mut().for_each(|values| values[0] = 3.0);
    let mut gradients = Vec::new();
    if grouped {
        gradients = harness.inputs(&values)?;
    } else {
        for values in &values {
            gradients.push(harness.input(values)?);
        }
    }
    let mut partials = harness.output(norm_partials(lengths.iter().copied()))?;
    let mut norm = harness.output(2)?;
    harness.device.global_norm(
        &devices(&gradients),
        max_norm,
        &mut partials.device,
        &mut norm.device,
    )?;
    harness.exact.global_norm(
        &exacts(&gradients),
        max_norm,
        &mut partials.exact,
        &mut norm.exact,
    )?;
    let lanes = harness.lanes(ROW_LANES);
    let partial = tree(NORM_CHUNK, lanes) + 1;
    let roundings = partial + tree(partials.reference().len(), lanes);
    let total: usize = lengths.iter().sum();
    let together = if grouped { "grouped" } else { "apart" };
    let case = format!(
        "{total} elements of {} {together}, clip {max_norm:?}",
        lengths.len()
    );
    // A device may add up a group by other chunks.
    if !grouped {
        let want = partials.reference().to_vec();
        harness.compare(&format!("{case}, partial sums"), &partials, |i| {
            gamma(partial) * want[i]
        })?;
    }
    // A square root halves the relative error and, like the division after it, errs by 2.5 ULP.
    let want = norm.reference().to_vec();
    let relative = gamma(roundings) / 2.0 + 5.0 * U;
    harness.compare(&case, &norm, |i| match i {
        1 if want[1] == 1.0 => 0.0,
        _ => (relative + 6.0 * U * i as f64) * want[i],
    })
}
