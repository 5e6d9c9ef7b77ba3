//! The whole training step, on both devices and with a defect in it.

use bptt::device::Cpu;
use bptt::parity::check_training;

use crate::common::gpu;
use crate::wrong_bias::wrong_bias;
use crate::{assert_none, failures, with_mutation};

#[test]
fn training_on_the_cpu() {
    assert_none(failures(check_training(&mut Cpu::<f32>::new())));
}

#[test]
fn training_on_the_gpu() {
    if let Some(mut gpu) = gpu() {
        assert_none(failures(check_training(&mut *gpu)));
    }
}

#[test]
fn training_with_a_mutated_kernel_fails() {
    let Some(mut gpu) = gpu() else {
        return;
    };
    let mutation = wrong_bias(&gpu);
    let reports = with_mutation(&mut gpu, "sum_rows", mutation, check_training);
    let reports = reports.expect("the mutated kernel runs");
    assert!(reports.iter().all(|report| !report.passed()));
}
