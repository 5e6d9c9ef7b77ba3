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
use crate::model::ModelSize;
use harness::{End, Harness};
pub use report::{OpReport, Report};
pub use subject::Subject;

/// Runs the cases of one op.
type Cases<O> = fn(&mut Harness<O>) -> harness::Result<()>;
/// Runs cases of one op with the sizes of a model.
type CasesAt<O> = fn(&mut Harness<O>, ModelSize) -> harness::Result<()>;

/// Every op with its cases, in the order of the trait's methods.
fn cases<O: Subject>() -> [(&'static str, Cases<O>, CasesAt<O>); 20] {
    [
        ("matmul", matmul::cases, matmul::at),
        ("tanh", tanh::cases, tanh::at),
        ("tanh_backward", tanh_backward::cases, tanh_backward::at),
        ("rnn", rnn::cases, rnn::at),
        ("rnn_backward", rnn_backward::cases, rnn_backward::at),
        ("embedding", embedding::cases, embedding::at),
        (
            "embedding_backward",
            embedding_backward::cases,
            embedding_backward::at,
        ),
        (
            "softmax_cross_entropy",
            softmax_cross_entropy::cases,
            softmax_cross_entropy::at,
        ),
        ("mean_loss", mean_loss::cases, mean_loss::at),
        ("softmax", softmax::cases, softmax::at),
        ("sample", sample::cases, sample::at),
        (
            "softmax_backward",
            softmax_backward::cases,
            softmax_backward::at,
        ),
        ("cross_entropy", cross_entropy::cases, cross_entropy::at),
        ("sum_rows", sum_rows::cases, sum_rows::at),
        ("accumulate", accumulate::cases, accumulate::at),
        ("global_norm", global_norm::cases, global_norm::at),
        ("sgd", sgd::cases, sgd::at),
        ("momentum", momentum::cases, momentum::at),
        ("adam", adam::cases, adam::at),
        ("copy_within", copy_within::cases, copy_within::at),
    ]
}

/// The ops that have cases, by name.
pub fn ops() -> impl Iterator<Item = &'static str> {
    cases::<crate::device::Gpu>()
        .into_iter()
        .map(|(name, _, _)| name)
}

/// Checks one op by every variant. An unknown name gives no reports.
///
/// # Errors
/// [`crate::Error::Device`] if the device fails; a wrong result is not an error but a report that
/// says so.
pub fn check_op<O: Subject>(device: &mut O, op: &str) -> Result<Vec<OpReport>> {
    let mut reports = Vec::new();
    each_variant(device, op, |report| reports.push(report))?;
    Ok(reports)
}

/// [`check_op`], with each report as it is made.
fn each_variant<O: Subject>(
    device: &mut O,
    op: &str,
    mut done: impl FnMut(OpReport),
) -> Result<()> {
    for variant in device.variants(op) {
        check_variant(device, op, variant)?.map(&mut done);
    }
    Ok(())
}

/// Checks one op by one variant of it; [`None`] for an unknown op, or a variant that the device does
/// not have.
///
/// # Errors
/// As [`check_op`].
pub fn check_variant<O: Subject>(
    device: &mut O,
    op: &str,
    variant: &'static str,
) -> Result<Option<OpReport>> {
    with_harness(device, op, variant, |harness, cases, _| cases(harness))
}

/// [`check_variant`] for a kernel that is expected to fail: cases after the first failure with `words` in it
/// are left out.
///
/// # Errors
/// As [`check_op`].
pub fn check_until_failure<O: Subject>(
    device: &mut O,
    op: &str,
    variant: &'static str,
    words: &'static str,
) -> Result<Option<OpReport>> {
    with_harness(device, op, variant, |harness, cases, _| {
        harness.until = Some(words);
        cases(harness)
    })
}

/// Checks one op by one variant of it, with the sizes of a model and inputs of `seed`'s; [`None`]
/// for an unknown op, or a variant that the device does not have.
///
/// # Errors
/// As [`check_op`].
pub fn check_at<O: Subject>(
    device: &mut O,
    op: &str,
    variant: &'static str,
    size: ModelSize,
    seed: u64,
) -> Result<Option<OpReport>> {
    size.check()?;
    with_harness(device, op, variant, |harness, _, at| {
        harness.seed = seed;
        at(harness, size)
    })
}

/// Lets `check` run an op's cases by one variant.
fn with_harness<O: Subject>(
    device: &mut O,
    op: &str,
    variant: &'static str,
    check: impl FnOnce(&mut Harness<O>, Cases<O>, CasesAt<O>) -> harness::Result<()>,
) -> Result<Option<OpReport>> {
    let Some((name, cases, at)) = cases::<O>().into_iter().find(|(name, ..)| *name == op) else {
        return Ok(None);
    };
    if !device.variants(name).contains(&variant) {
        return Ok(None);
    }
    device.force(name, Some(variant));
    let mut harness = Harness::new(device, name, variant);
    let checked = match check(&mut harness, cases, at) {
        Ok(()) | Err(End::Settled) => Ok(Some(harness.into_report())),
        Err(End::Failed(error)) => Err(error),
    };
    device.force(name, None);
    device.fold_grids(None);
    checked
}

/// Checks the whole training step: loss and gradients after one step, and the losses of 200.
///
/// # Errors
/// As [`check_op`].
pub fn check_training<O: Subject>(device: &mut O) -> Result<Vec<OpReport>> {
    let mut reports = Vec::new();
    training::check(device, |report| reports.push(report))?;
    Ok(reports)
}

/// Checks the loss and the gradients of one window of a model of any size, with weights of `seed`'s.
///
/// # Errors
/// As [`check_op`]; [`crate::Error::Config`] for a size that no model can have.
pub fn check_model_at<O: Subject>(device: &mut O, size: ModelSize, seed: u64) -> Result<OpReport> {
    size.check()?;
    training::check_at(device, size, seed)
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
    let mut done = |checked: OpReport| {
        progress(&checked);
        report.ops.push(checked);
    };
    for op in ops() {
        each_variant(device, op, &mut done)?;
    }
    training::check(device, done)?;
    Ok(report)
}
