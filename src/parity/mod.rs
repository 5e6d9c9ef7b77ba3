//! Is a device right? Every op, by every variant, and the whole training step, against f64.
//!
//! Each op's cases are in a file of its name. A case uploads the same f32 inputs to both devices,
//! runs the op on both, and holds every element to a bound derived from the number and the kind
//! of roundings between its inputs and it ([`bounds`]). Outputs start as NaN and have guard
//! elements behind them, so that an element not written, or written where none belongs, fails.

mod accumulate;
mod adam;
pub mod bounds;
mod copy_within;
mod cross_entropy;
mod embedding;
mod embedding_backward;
mod global_norm;
mod harness;
mod matmul;
mod mean_loss;
mod momentum;
pub mod report;
mod rnn;
mod rnn_backward;
mod sample;
mod sgd;
mod softmax;
mod softmax_backward;
mod softmax_cross_entropy;
mod subject;
mod sum_rows;
mod tanh;
mod tanh_backward;
mod training;

use crate::error::Result;
use harness::Harness;
pub use report::{OpReport, Report};
pub use subject::Subject;

/// Workgroups in a row of a grid while an op is checked: few enough for grids of several rows. Training
/// is checked with grids as wide as they can be.
const WIDEST: u32 = 3;

/// Runs the cases of one op.
type Cases<O> = fn(&mut Harness<O>) -> Result<()>;

/// Every op with its cases, in the order of the trait's methods.
fn cases<O: Subject>() -> [(&'static str, Cases<O>); 20] {
    [
        ("matmul", matmul::cases),
        ("tanh", tanh::cases),
        ("tanh_backward", tanh_backward::cases),
        ("rnn", rnn::cases),
        ("rnn_backward", rnn_backward::cases),
        ("embedding", embedding::cases),
        ("embedding_backward", embedding_backward::cases),
        ("softmax_cross_entropy", softmax_cross_entropy::cases),
        ("mean_loss", mean_loss::cases),
        ("softmax", softmax::cases),
        ("sample", sample::cases),
        ("softmax_backward", softmax_backward::cases),
        ("cross_entropy", cross_entropy::cases),
        ("sum_rows", sum_rows::cases),
        ("accumulate", accumulate::cases),
        ("global_norm", global_norm::cases),
        ("sgd", sgd::cases),
        ("momentum", momentum::cases),
        ("adam", adam::cases),
        ("copy_within", copy_within::cases),
    ]
}

/// The ops that have cases, by name.
pub fn ops() -> impl Iterator<Item = &'static str> {
    cases::<crate::device::Gpu>()
        .into_iter()
        .map(|(name, _)| name)
}

/// Checks one op by every variant. An unknown name gives no reports.
///
/// # Errors
/// [`crate::Error::Device`] if the device fails; a wrong result is not an error but a report that
/// says so.
pub fn check_op<O: Subject>(device: &mut O, op: &str) -> Result<Vec<OpReport>> {
    let variants = device.variants(op);
    let checks = variants
        .into_iter()
        .map(|variant| check_variant(device, op, variant));
    Ok(checks
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

/// Checks one op by one variant of it; [`None`] for an unknown op.
///
/// # Errors
/// As [`check_op`].
pub fn check_variant<O: Subject>(
    device: &mut O,
    op: &str,
    variant: &'static str,
) -> Result<Option<OpReport>> {
    check_in(device, op, variant, false)
}

/// [`check_variant`] for a kernel that is expected to fail: where cases are many, those after the
/// first failure are left out.
///
/// # Errors
/// As [`check_op`].
pub fn check_until_failure<O: Subject>(
    device: &mut O,
    op: &str,
    variant: &'static str,
) -> Result<Option<OpReport>> {
    check_in(device, op, variant, true)
}

fn check_in<O: Subject>(
    device: &mut O,
    op: &str,
    variant: &'static str,
    until_failure: bool,
) -> Result<Option<OpReport>> {
    let Some((name, cases)) = cases::<O>().into_iter().find(|(name, _)| *name == op) else {
        return Ok(None);
    };
    device.force(name, Some(variant));
    device.fold_grids(Some(WIDEST));
    let mut harness = Harness::new(device, name, variant);
    harness.until_failure = until_failure;
    let checked = cases(&mut harness).map(|()| Some(harness.into_report()));
    device.force(name, None);
    device.fold_grids(None);
    checked
}

/// Checks the whole training step: loss and gradients after one step, and the losses of 200.
///
/// # Errors
/// As [`check_op`].
pub fn check_training<O: Subject>(device: &mut O) -> Result<Vec<OpReport>> {
    training::check(device)
}

/// Checks everything; `progress` sees each report as it is made.
///
/// # Errors
/// As [`check_op`].
pub fn check_all<O: Subject>(
    device: &mut O,
    mut progress: impl FnMut(&OpReport),
) -> Result<Report> {
    let mut report = Report::new(device.names());
    for op in ops() {
        for checked in check_op(device, op)? {
            progress(&checked);
            report.ops.push(checked);
        }
    }
    for checked in check_training(device)? {
        progress(&checked);
        report.ops.push(checked);
    }
    Ok(report)
}
