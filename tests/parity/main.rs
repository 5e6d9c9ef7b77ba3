//! Every op by every kernel against the f64 reference, and every kernel's defects against parity.
//!
//! That parity passes means little until it is seen to fail: each op's file lists defects of its
//! kernels, written into their sources one at a time, and every one must be reported.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/variant.rs"]
mod variant;
#[path = "../common/wrong_bias.rs"]
mod wrong_bias;

mod accumulate;
mod adam;
mod copy_within;
mod cross_entropy;
mod embedding;
mod embedding_backward;
mod global_norm;
mod matmul;
mod mean_loss;
mod momentum;
mod rnn;
mod rnn_backward;
mod sample;
mod sgd;
mod softmax;
mod softmax_backward;
mod softmax_cross_entropy;
mod sum_rows;
mod tanh;
mod tanh_backward;
mod training;

use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use bptt::Result;
use bptt::device::kernel::Kernel;
use bptt::device::{Cpu, Gpu};
use bptt::ops::gpu::KERNELS;
use bptt::parity::{OpReport, check_op, check_until_failure};
use common::say::say;
use common::{gpu, open};
use variant::variant_of;

/// A defect: the kernel, a text that its source has once, and what takes its place.
type Mutation = (&'static str, &'static str, &'static str);

/// Defects that each kernel is at least tried with.
const LEAST_MUTATIONS: usize = 3;

/// An op's tests: `wrong` kernels compute something else, kernels that `overrun` their output also
/// write the element behind it.
macro_rules! parity_tests {
    ($op:literal, wrong: $wrong:expr, overrun: $overrun:expr $(,)?) => {
        #[test]
        fn parity() {
            crate::assert_none(crate::check_devices($op));
        }

        #[test]
        fn a_mutated_kernel_fails() {
            crate::assert_none(crate::untried_kernels($op, $wrong));
            crate::assert_none(crate::unreported($op, $wrong, ""));
        }

        #[test]
        fn a_write_past_the_output_fails() {
            crate::assert_none(crate::unreported($op, $overrun, "is behind the output"));
        }
    };
}
use parity_tests;

#[track_caller]
fn assert_none(errors: Vec<String>) {
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}

/// What is wrong with `op` on the GPU, by any variant, and on the CPU path.
fn check_devices(op: &str) -> Vec<String> {
    let mut errors = failures(check_op(&mut Cpu::<f32>::new(), op));
    if let Some(mut gpu) = gpu() {
        errors.extend(failures(check_op(&mut *gpu, op)));
    }
    errors
}

/// What did not pass, in words.
fn failures(reports: Result<Vec<OpReport>>) -> Vec<String> {
    let reports = match reports {
        Ok(reports) if reports.is_empty() => return vec!["nothing was checked".to_owned()],
        Ok(reports) => reports,
        Err(error) => return vec![error.to_string()],
    };
    let failed = reports.iter().filter(|report| !report.passed());
    let words = |r: &OpReport| {
        let (op, variant, failed) = (&r.op, &r.variant, r.failed);
        let first = r.failures.join("\n  ");
        format!(
            "{op} by {variant}: {failed} failures in {} cases\n  {first}",
            r.cases
        )
    };
    failed.map(words).collect()
}

/// The kernels of `op` that too few of the mutations are about.
fn untried_kernels(op: &str, mutations: &[Mutation]) -> Vec<String> {
    let tries = |kernel: &Kernel| mutations.iter().filter(|m| m.0 == kernel.name).count();
    let untried = kernels(op)
        .iter()
        .filter(|k| tries(k) < LEAST_MUTATIONS)
        .map(|k| format!("{}: fewer than {LEAST_MUTATIONS} mutations", k.name));
    untried.collect()
}

fn kernels(op: &str) -> &'static [&'static Kernel] {
    let entry = KERNELS.iter().find(|(name, _)| *name == op);
    entry.expect("the op has kernels").1
}

/// The mutations of `op` that no failure with `words` in it reports. On two devices side by side: a
/// software driver compiles for each on one core, which is most of what there is to wait for.
fn unreported(op: &'static str, mutations: &[Mutation], words: &'static str) -> Vec<String> {
    static SECOND: OnceLock<Mutex<Gpu>> = OnceLock::new();
    let Some(mut first) = gpu() else {
        return Vec::new();
    };
    let every_other = |gpu: &mut Gpu, from: usize| -> Vec<String> {
        let mutations = mutations.iter().skip(from).step_by(2);
        mutations
            .filter_map(|&mutation| unreported_mutation(gpu, op, mutation, words))
            .collect()
    };
    thread::scope(|scope| {
        let second = scope.spawn(|| {
            let second = SECOND.get_or_init(|| Mutex::new(open())).lock();
            every_other(&mut second.unwrap_or_else(PoisonError::into_inner), 1)
        });
        let mut errors = every_other(&mut first, 0);
        errors.extend(second.join().expect("no panic"));
        errors
    })
}

/// What is to be said of a mutation that is not reported so.
fn unreported_mutation(
    gpu: &mut Gpu,
    op: &'static str,
    mutation: Mutation,
    words: &'static str,
) -> Option<String> {
    let (kernel, from, to) = mutation;
    if !can_run(gpu, op, kernel) {
        say(&format!("{kernel} is not tried: it is for other devices"));
        return None;
    }
    let variant = variant_of(op, kernel);
    let check = |gpu: &mut Gpu| check_until_failure(gpu, op, variant, words);
    match with_mutation(gpu, op, mutation, check) {
        Ok(report) if is_reported(report.as_ref(), words) => None,
        Ok(_) => Some(format!("{kernel}: `{from}` -> `{to}` is not reported")),
        Err(error) => Some(format!("{kernel}: `{from}` -> `{to}`: {error}")),
    }
}

/// Can the device run this kernel, if there is one of the name?
fn can_run(gpu: &Gpu, op: &str, name: &str) -> bool {
    let kernel = kernels(op).iter().find(|kernel| kernel.name == name);
    kernel.is_none_or(|kernel| gpu.can_run(kernel))
}

/// Runs `check` with a kernel mutated, and puts the kernel right again.
fn with_mutation<T>(
    gpu: &mut Gpu,
    op: &str,
    (name, from, to): Mutation,
    check: impl FnOnce(&mut Gpu) -> Result<T>,
) -> std::result::Result<T, String> {
    let kernel = kernels(op).iter().find(|kernel| kernel.name == name);
    let kernel = kernel.ok_or("there is no such kernel")?;
    let occurrences = kernel.source.matches(from).count();
    if occurrences != 1 {
        return Err(format!("the source has it {occurrences} times"));
    }
    gpu.replace_kernel(kernel.name, kernel.source.replace(from, to));
    let checked = check(gpu).map_err(|error| error.to_string());
    gpu.replace_kernel(kernel.name, kernel.source.to_owned());
    checked
}

/// Does the report have a failure with `words` in it?
fn is_reported(report: Option<&OpReport>, words: &str) -> bool {
    report.is_some_and(|report| report.failures.iter().any(|f| f.contains(words)))
}

#[test]
fn mutations_that_change_nothing_or_cannot_be_made_are_reported() {
    let mutations = [
        ("tanh", "let s = x * x;", "let s = x * x * 1.0;"),
        ("tanh", "no such text", ""),
        ("tanh", "let s =", "let"),
        ("no_such_kernel", "let s =", ""),
    ];
    let expected = if gpu().is_some() { mutations.len() } else { 0 };
    let errors = unreported("tanh", &mutations, "");
    assert_eq!(errors.len(), expected, "{errors:?}");
    let untried = untried_kernels("tanh", &mutations[..1]);
    assert_eq!(untried, ["tanh: fewer than 3 mutations"]);
    assert_eq!(failures(Ok(Vec::new())), ["nothing was checked"]);
    assert_none(check_devices("tanh"));
}
