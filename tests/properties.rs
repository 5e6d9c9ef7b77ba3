//! Every op by every kernel, and the model, at sizes that nobody chose: T, N, D, H and V from 1 to
//! awkward primes, held to the f64 reference within the bounds of parity.
//!
//! The cases are the same at every run; `PROPTEST_CASES=500 cargo test --test properties` tries more
//! of them. What fails is made as small as it still fails with.

mod common;
#[path = "common/wrong_bias.rs"]
mod wrong_bias;

use bptt::device::{Cpu, Gpu};
use bptt::model::ModelSize;
use bptt::ops::gpu::KERNELS;
use bptt::parity::{OpReport, Subject, check_at, check_model_at, ops};
use common::gpu;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestCaseResult, TestError, TestRng, TestRunner};
use wrong_bias::wrong_bias;

/// Cases without `PROPTEST_CASES`.
const CASES: u32 = 12;

/// From 1 on, and primes about the sizes of workgroups, tiles and blocks.
fn extent() -> impl Strategy<Value = usize> {
    let awkward = vec![13, 31, 37, 61, 67, 127, 131];
    prop_oneof![Just(1), 1usize..10, proptest::sample::select(awkward)]
}

/// Sizes of a model; a vocabulary may also be beyond a workgroup.
fn sizes() -> impl Strategy<Value = (ModelSize, u64)> {
    let vocab = prop_oneof![4 => extent(), 1 => Just(257usize), 1 => Just(1009)];
    // Few enough rows that a case takes no more than a moment.
    let window =
        (extent(), extent()).prop_map(|(t, n)| if t * n > 300 { (t, n % 3 + 1) } else { (t, n) });
    let sizes = (vocab, extent(), extent(), window);
    let size = sizes.prop_map(
        |(vocab, embedding, hidden, (time_steps, batch))| ModelSize {
            vocab,
            embedding,
            hidden,
            batch,
            time_steps,
            biases: 1,
        },
    );
    (size, 1..1000u64)
}

/// Tries `check` on the same cases at every run, and gives the smallest that fails.
fn smallest_failure(
    cases: u32,
    check: impl Fn(ModelSize, u64) -> TestCaseResult,
) -> Option<(ModelSize, String)> {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    config.failure_persistence = None;
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    match runner.run(&sizes(), |(size, seed)| check(size, seed)) {
        Ok(()) => None,
        Err(TestError::Fail(reason, (size, _))) => Some((size, reason.to_string())),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

fn verdict(report: &OpReport) -> TestCaseResult {
    prop_assert!(
        report.passed(),
        "{} by {}: {}",
        report.op,
        report.variant,
        report.failures.join("\n")
    );
    Ok(())
}

/// Every op by each of its variants.
fn check_ops<O: Subject>(device: &mut O, size: ModelSize, seed: u64) -> TestCaseResult {
    for op in ops() {
        for variant in device.variants(op) {
            verdict(&check_at(device, op, variant, size, seed).unwrap().unwrap())?;
        }
    }
    Ok(())
}

#[track_caller]
fn assert_holds(failure: Option<(ModelSize, String)>) {
    if let Some((size, reason)) = failure {
        panic!("at {size:?}: {reason}");
    }
}

#[test]
fn every_op_on_the_cpu() {
    assert_holds(smallest_failure(2 * CASES, |size, seed| {
        check_ops(&mut Cpu::<f32>::new(), size, seed)
    }));
}

#[test]
fn every_op_by_every_kernel_on_the_gpu() {
    let Some(gpu) = gpu() else { return };
    let gpu = std::cell::RefCell::new(gpu);
    assert_holds(smallest_failure(CASES, |size, seed| {
        check_ops(&mut **gpu.borrow_mut(), size, seed)
    }));
}

#[test]
fn the_model_on_the_cpu() {
    assert_holds(smallest_failure(2 * CASES, |size, seed| {
        verdict(&check_model_at(&mut Cpu::<f32>::new(), size, seed).unwrap())
    }));
}

#[test]
fn the_model_on_the_gpu() {
    let Some(gpu) = gpu() else { return };
    let gpu = std::cell::RefCell::new(gpu);
    assert_holds(smallest_failure(CASES, |size, seed| {
        verdict(&check_model_at(&mut **gpu.borrow_mut(), size, seed).unwrap())
    }));
}

/// The smallest sizes at which `check` fails on a GPU whose kernel `name` has `to` in place of
/// `from`; with the kernel put right it holds again.
#[track_caller]
fn found_by(
    (name, from, to): (&str, &str, &str),
    check: impl Fn(&mut Gpu, ModelSize, u64) -> TestCaseResult,
) -> Option<ModelSize> {
    let gpu = std::cell::RefCell::new(gpu()?);
    let mut kernels = KERNELS.iter().flat_map(|(_, kernels)| kernels.iter());
    let kernel = kernels.find(|kernel| kernel.name == name).unwrap();
    assert_eq!(kernel.source.matches(from).count(), 1, "{name}: {from}");
    let replace = |source: String| gpu.borrow_mut().replace_kernel(kernel.name, source);
    let tried = || smallest_failure(CASES, |size, seed| check(&mut gpu.borrow_mut(), size, seed));
    replace(kernel.source.replace(from, to));
    let failure = tried();
    replace(kernel.source.to_owned());
    assert_holds(tried());
    let (size, _) = failure.unwrap_or_else(|| panic!("{name}: `{from}` -> `{to}` is not found"));
    assert!(size.rows() <= 70 && size.vocab <= 10, "{name}: {size:?}");
    Some(size)
}

/// Kernels with one defect each, which some sizes only show: they are found, and by small sizes.
#[test]
fn a_mutated_kernel_is_found() {
    let mutations = [
        // Every other row is left out where there are more than 8.
        (
            "sum_rows",
            "r += LANES_A_COLUMN",
            "r += 2u * LANES_A_COLUMN",
        ),
        // One element is left out, which the second workgroup begins with.
        (
            "tanh_backward",
            "i < params.len",
            "i < params.len && i != 64u",
        ),
        (
            "embedding",
            "ids[i / params.dim] -",
            "ids[i % params.dim] -",
        ),
    ];
    for mutation in mutations {
        let name = mutation.0;
        found_by(mutation, |gpu, size, seed| {
            verdict(&check_at(gpu, name, name, size, seed).unwrap().unwrap())
        });
    }
}

#[test]
fn a_mutated_kernel_is_found_in_the_model() {
    let check = |gpu: &mut Gpu, size, seed| verdict(&check_model_at(gpu, size, seed).unwrap());
    let Some(mutation) = gpu().map(|gpu| wrong_bias(&gpu)) else {
        return;
    };
    found_by(mutation, check);
    // A loss that is off by a ten-thousandth.
    found_by(
        (
            "mean_loss",
            "/ f32(params.rows)",
            "/ f32(params.rows) * 1.0001",
        ),
        check,
    );
}
