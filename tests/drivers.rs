//! A second opinion: other Vulkan drivers than the first adapter's, at other subgroup sizes, each a
//! process of its own because its environment chooses the driver.

#[path = "common/command.rs"]
mod command;
#[path = "common/process.rs"]
mod process;
#[path = "common/say.rs"]
mod say;
#[path = "common/skip.rs"]
mod skip;
#[path = "common/skips.rs"]
mod skips;
#[path = "common/timeless.rs"]
mod timeless;

use process::{Driver, Environment, SMALL, Trained, bptt, with};
use say::say;

/// lavapipe with vectors of so many bits: a subgroup has a lane for each f32 in one.
fn lavapipe(bits: &str) -> Option<Environment> {
    let environment = Driver::Lavapipe.environment()?;
    Some(with(&environment, "LP_NATIVE_VECTOR_WIDTH", bits))
}

/// Is every op right on the driver that `environment` chooses, and is it the one that is meant?
fn check_parity(environment: &Environment, driver: &str, subgroup: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| {
        let output = bptt(folder.path(), environment, arguments);
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let devices = run(&["devices"]);
    let lanes = format!("subgroups of {subgroup} to {subgroup}");
    assert!(
        devices.contains(driver) && devices.contains(&lanes),
        "{devices}"
    );
    let report = run(&["parity", "--device", "gpu"]);
    for kernel in [
        "matmul_subgroup",
        "rnn_subgroup",
        "rnn_subgroup_sequence",
        "rnn_backward_subgroup",
        "rnn_backward_subgroup_sequence",
    ] {
        let is_tried = report.split_whitespace().any(|word| word == kernel);
        assert_eq!(is_tried, subgroup == 8, "{kernel}: {report}");
    }
    let verdict = report.lines().last().expect("a verdict");
    say(&format!("{driver}, subgroups of {subgroup}: {verdict}"));
    assert!(
        verdict.starts_with("pass: ") && verdict.contains(driver),
        "{report}"
    );
}

#[test]
fn parity_on_swiftshader() {
    if let Some(environment) = Driver::SwiftShader.environment() {
        check_parity(&environment, "SwiftShader", 4);
    }
}

#[test]
#[ignore = "takes a minute; the first adapter is checked by the parity tests"]
fn parity_on_lavapipe_at_two_subgroup_sizes() {
    for (bits, subgroup) in [("128", 4), ("256", 8)] {
        if let Some(environment) = lavapipe(bits) {
            check_parity(&environment, "llvmpipe", subgroup);
        }
    }
}

/// The losses of a run: those of the log, of the epoch and of the validation.
fn losses(trained: &Trained) -> Vec<f64> {
    let of = |event: serde_json::Value| {
        let fields = ["loss", "valid_loss"].map(|name| event.get(name)?.as_f64());
        fields.into_iter().flatten().collect::<Vec<_>>()
    };
    trained.log().into_iter().flat_map(of).collect()
}

/// Largest relative difference of two courses of training.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs() / b.abs());
    differences.fold(0.0, f64::max)
}

/// What two right devices may differ by, of a loss: as in the parity check, a step errs by
/// 4·u·√L with L roundings in its longest chain, twice D + T·H + V and the N·T rows; errors of up to
/// 70 steps add up, and two devices have twice as many.
fn bound() -> f64 {
    let (vocab, embedding, hidden, batch, time_steps) = (70, 8, 20, 4, 8);
    let chain = 2 * (embedding + time_steps * hidden + vocab) + batch * time_steps;
    let steps = 70.0;
    2.0 * steps * 4.0 * bptt::parity::bounds::U * f64::from(chain).sqrt()
}

/// Bits may differ from driver to driver: each has its own exp, sqrt and division. Losses do not.
#[test]
fn training_comes_to_the_same_losses_on_every_driver() {
    let on_cpu = Trained::new(&SMALL, "cpu", &Vec::new(), 3);
    let cpu = losses(&on_cpu);
    assert!(cpu.len() > 10, "{cpu:?}");
    // Another seed is beyond the bound by far: the bound can be missed.
    let other = losses(&Trained::new(&SMALL, "cpu", &Vec::new(), 4));
    assert!(difference(&other, &cpu) > 10.0 * bound());
    let drivers = [
        ("SwiftShader", Driver::SwiftShader.environment()),
        ("lavapipe, 128 bits", lavapipe("128")),
        ("lavapipe, 256 bits", lavapipe("256")),
    ];
    for (name, environment) in drivers {
        let Some(environment) = environment else {
            continue;
        };
        let trained = Trained::new(&SMALL, "gpu", &environment, 3);
        let difference = difference(&losses(&trained), &cpu);
        let alike = |same| if same { "the same" } else { "other" };
        say(&format!(
            "{name}: losses within {difference:.1e} of the CPU's (bound {:.1e}), {} weights, {} samples",
            bound(),
            alike(trained.weights() == on_cpu.weights()),
            alike(trained.samples(3) == on_cpu.samples(3)),
        ));
        assert!(difference <= bound(), "{name}: {difference:e}");
    }
}
