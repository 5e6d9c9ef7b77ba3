use super::bounds::{TANH_RELATIVE, TINY};
use super::harness::{Harness, Result};
use super::subject::Subject;
use crate::model::ModelSize;
use crate::ops::Ops;

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    // Every magnitude: each 7919th f32 up to 300, both signs; then the edges.
    let last = 300f32.to_bits() as usize;
    let positive = (0..=last)
        .step_by(7919)
        .map(|bits| f32::from_bits(bits as u32));
    let mut values: Vec<f32> = positive.flat_map(|x| [x, -x]).collect();
    values.extend([
        0.0,
        -0.0,
        0.625,
        -0.625,
        0.624_999_94,
        15.0,
        1e4,
        -1e4,
        3e38,
    ]);
    check(harness, &values)?;
    for len in [1, 63, 64, 65] {
        let values = harness.normal(len, 2.0);
        check(harness, &values)?;
    }
    Ok(())
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    let values = harness.normal(size.batch * size.hidden, 2.0);
    check(harness, &values)
}

fn check<O: Subject>(harness: &mut Harness<O>, values: &[f32]) -> Result<()> {
    let x = harness.input(values)?;
    let mut y = harness.output(values.len())?;
    harness.device.tanh(&x.device, &mut y.device)?;
    harness.exact.tanh(&x.exact, &mut y.exact)?;
    let case = format!("{} elements", values.len());
    let want = y.reference().to_vec();
    harness.compare(&case, &y, |i| TANH_RELATIVE * want[i].abs() + TINY)
}
