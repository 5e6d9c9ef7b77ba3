//! Profiles: that they time what was done, by every clock, and leave training as it is.

#[path = "common/command.rs"]
mod command;
mod common;

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Instant;

use bptt::Result;
use bptt::bench::{Report, Timing, growth, measure};
use bptt::device::profiled::Profiled;
use bptt::device::stopwatch::{Clock, Stopwatch};
use bptt::device::{Cpu, Device, Gpu, Purpose};
use bptt::model::ModelSize;
use bptt::ops::{Adam, Matrix, Ops, Write};
use bptt::optimizer::Rule;
use common::gpu;

const SIZE: ModelSize = ModelSize {
    vocab: 50,
    embedding: 32,
    hidden: 32,
    batch: 8,
    time_steps: 8,
    biases: 1,
};
/// The clocks that a GPU with all features has.
const GPU_CLOCKS: [Clock; 3] = [Clock::Timestamps, Clock::PassTimestamps, Clock::WallWaiting];

/// Runs `work` by every clock that the GPU has.
fn by_every_clock(mut work: impl FnMut(&mut Gpu)) {
    let Some(mut gpu) = gpu() else { return };
    for clock in GPU_CLOCKS {
        gpu.set_clock(clock);
        if gpu.clock() == clock {
            work(&mut gpu);
        }
    }
}

fn op<'a>(report: &'a Report, name: &str) -> Vec<&'a bptt::bench::OpTime> {
    report.ops.iter().filter(|op| op.op == name).collect()
}

/// What holds of every profile of a training step.
fn check_report(report: &Report) {
    let calls = |name: &str| op(report, name).iter().map(|op| op.calls).sum::<f64>();
    // x·Wx, logits, dWa, dh, dWh, dWx, dx; and one update of all parameters.
    let expected = [
        ("matmul", 7.0),
        ("rnn", 1.0),
        ("rnn_backward", 1.0),
        ("sgd", 1.0),
        ("global_norm", 1.0),
        ("sum_rows", 2.0),
        ("embedding", 1.0),
        ("copy_within", 1.0),
        ("mean_loss", 1.0),
    ];
    for (name, expected) in expected {
        assert_eq!(calls(name), expected, "{name} by {}", report.clock);
    }
    let products = report
        .ops
        .iter()
        .filter(|op| op.op == "matmul" || op.op.starts_with("rnn"));
    let flops: f64 = products.map(|op| op.flops).sum();
    let share = flops / report.size.flops_per_step();
    // The elementwise part of the recurrence comes on top; the last step's product is left out.
    assert!((share - 1.0).abs() < 0.05, "{share}");
    let in_ops: f64 = report.ops.iter().map(|op| op.seconds).sum();
    let whole = in_ops + report.outside_ops_seconds;
    assert!((whole - report.step_seconds).abs() < 1e-9);
    assert!(report.memory.total() > 0 && report.ceiling_gflops > 0.0);
}

#[test]
fn a_profile_of_the_cpu_path_counts_every_op() -> Result<()> {
    let timing = Timing::of_steps(5);
    let report = measure(&mut Cpu::<f32>::new(), SIZE, Rule::Sgd, Some(1.0), timing)?;
    assert_eq!((report.clock, report.steps), (Clock::Wall, 5));
    check_report(&report);
    assert_eq!(op(&report, "write_ids")[0].calls, 2.0);
    assert!(
        report
            .ops
            .iter()
            .all(|op| op.dispatches == 0.0 && op.kernels.is_empty())
    );
    Ok(())
}

#[test]
fn a_profile_of_a_gpu_counts_every_op_and_its_dispatches_by_every_clock() {
    by_every_clock(|gpu| {
        // A dispatch a time step, not one for all.
        gpu.force_variant("rnn", Some("rnn"));
        let report = measure(gpu, SIZE, Rule::Sgd, Some(1.0), Timing::of_steps(3)).unwrap();
        gpu.force_variant("rnn", None);
        check_report(&report);
        let rnn = op(&report, "rnn")[0];
        assert_eq!(rnn.dispatches, SIZE.time_steps as f64);
        assert!(rnn.kernels.len() == 1 && rnn.kernels[0].starts_with("rnn"));
        // One for all six gradients, which are a group, and the total.
        let norm = op(&report, "global_norm")[0];
        assert_eq!((norm.dispatches, norm.kernels.len()), (2.0, 2));
    });
}

#[test]
fn a_profile_is_of_the_update_that_was_asked_for() -> Result<()> {
    let mut cpu = Cpu::<f32>::new();
    let mut profile = |rule| measure(&mut cpu, SIZE, rule, None, Timing::of_steps(2));
    let settings = Adam {
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.0,
        decoupled: false,
    };
    let (sgd, adam) = (profile(Rule::Sgd)?, profile(Rule::Adam(settings))?);
    let calls =
        |report: &Report, name: &str| op(report, name).iter().map(|op| op.calls).sum::<f64>();
    assert_eq!((calls(&sgd, "sgd"), calls(&sgd, "adam")), (1.0, 0.0));
    assert_eq!((calls(&adam, "sgd"), calls(&adam, "adam")), (0.0, 1.0));
    // Two moments of every parameter.
    let moments = 2 * 4 * SIZE.parameters() as u64;
    assert_eq!(adam.memory.total(), sgd.memory.total() + moments);
    Ok(())
}

/// The least seconds of a square product of each side, of `REPEATS` steps each: a product of the small side
/// that another process interrupts says nothing of the clock.
fn products<O: Stopwatch>(device: &mut O, sides: [usize; 2]) -> [f64; 2] {
    const REPEATS: usize = 5;
    let mut ops = Profiled::new(device);
    sides.map(|side| {
        let mut alloc = || ops.alloc(Purpose::Scratch, "side", side * side).unwrap();
        let (a, b, mut c) = (alloc(), alloc(), alloc());
        let square = Matrix::new(side, side);
        ops.costs.clear();
        // The first step is not timed: it compiles the kernel.
        for step in 0..=REPEATS {
            ops.timing = step > 0;
            ops.matmul(
                (&a, square),
                (&b, square),
                None,
                (&mut c, square),
                Write::Overwrite,
            )
            .unwrap();
            ops.end_step().unwrap();
        }
        let seconds: Vec<f64> = ops
            .costs
            .values()
            .flat_map(|cost| cost.seconds.iter().copied())
            .collect();
        assert_eq!(seconds.len(), REPEATS);
        seconds.into_iter().fold(f64::INFINITY, f64::min)
    })
}

/// Holds of any clock that times the op, and not one that stands or times something else; how much longer
/// is the machine's affair.
#[test]
fn five_hundred_times_the_work_takes_longer_by_every_clock() {
    let check = |clock: Clock, [small, large]: [f64; 2]| {
        assert!(0.0 < small && small < large, "{clock}: {small} {large}");
    };
    let sides = [64, 512];
    check(
        Clock::Wall,
        products(&mut Cpu::<f32>::with_threads(1), sides),
    );
    by_every_clock(|gpu| check(gpu.clock(), products(gpu, sides)));
}

#[test]
fn more_ops_than_a_query_set_holds_are_timed_one_by_one() {
    const CALLS: u64 = 600;
    by_every_clock(|gpu| {
        let clock = gpu.clock();
        let mut ops = Profiled::new(gpu);
        let mut tensor = ops.alloc(Purpose::Scratch, "copied", 512).unwrap();
        ops.copy_within(&mut tensor, 0, 256, 256).unwrap();
        ops.finish().unwrap();
        ops.timing = true;
        let begun = Instant::now();
        for _ in 0..CALLS {
            ops.copy_within(&mut tensor, 0, 256, 256).unwrap();
        }
        ops.end_step().unwrap();
        let wall = begun.elapsed().as_secs_f64();
        assert_eq!(ops.costs.len(), 1, "{clock}");
        for cost in ops.costs.values() {
            assert_eq!((cost.calls, cost.dispatches), (CALLS, CALLS), "{clock}");
            let seconds: f64 = cost.seconds.iter().sum();
            assert!(
                seconds > 0.0 && seconds <= wall,
                "{clock}: {seconds} of {wall}"
            );
        }
    });
}

#[test]
fn what_is_not_timed_costs_nothing() -> Result<()> {
    let mut cpu = Cpu::<f32>::new();
    let mut ops = Profiled::new(&mut cpu);
    let mut tensor = ops.alloc(Purpose::Scratch, "copied", 512)?;
    ops.copy_within(&mut tensor, 0, 256, 256)?;
    ops.end_step()?;
    assert!(ops.costs.is_empty());
    Ok(())
}

#[test]
fn growth_doubles_every_size_five_times() -> Result<()> {
    let base = ModelSize {
        vocab: 8,
        embedding: 4,
        hidden: 4,
        batch: 1,
        time_steps: 2,
        biases: 1,
    };
    let growths = growth::measure(&mut Cpu::<f32>::new(), base, Timing::of_steps(1))?;
    let ends: Vec<_> = growths
        .iter()
        .map(|g| (g.along, g.points[0].value, g.points[5].value))
        .collect();
    assert_eq!(
        ends,
        [("N", 1, 32), ("T", 2, 64), ("H", 4, 128), ("V", 8, 256)]
    );
    for growth in &growths {
        assert!(growth.points.iter().all(|p| p.step_seconds > 0.0));
        assert!((0.5..2.1).contains(&growth.flops_exponent), "{growth:?}");
        assert!((0.5..2.1).contains(&growth.memory_exponent), "{growth:?}");
    }
    Ok(())
}

/// Runs `bptt` in `folder`.
fn bptt(folder: &Path, arguments: &[&str]) -> Output {
    command::bptt(folder, arguments)
        .output()
        .expect("the binary starts")
}

/// Trains with and without a profile; the weights must be the same bits.
fn profile_while_training(device: &str) {
    let folder = tempfile::tempdir().unwrap();
    let sizes = [
        "--emsize",
        "8",
        "--nhid",
        "16",
        "--batch-size",
        "20",
        "--bptt",
        "20",
    ];
    let run = |out: &str, more: &[&str]| {
        let base = ["train", "--device", device, "--epochs", "1", "--out", out];
        let output = bptt(folder.path(), &[&base[..], &sizes, more].concat());
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{log}");
        let checkpoints = folder.path().join(out).join("checkpoints");
        let last = fs::read_to_string(checkpoints.join("last")).unwrap();
        let weights = checkpoints.join(last.trim()).join("model.safetensors");
        (fs::read(weights).unwrap(), log)
    };
    let (plain, log) = run("plain", &[]);
    assert!(!log.contains("profile"));
    let (profiled, log) = run("profiled", &["--profile", "3"]);
    assert!(plain == profiled, "the profile changed the weights");
    let (other, _) = run("other", &["--seed", "2"]);
    assert!(
        plain != other,
        "weights that are the same whatever happens show nothing"
    );
    for word in [
        "matmul",
        "rnn_backward",
        "global_norm",
        "outside the ops",
        "in 3 steps",
    ] {
        assert!(log.contains(word), "{word} is missing in {log}");
    }
    let file = |name: &str| fs::read_to_string(folder.path().join("profiled").join(name)).unwrap();
    assert!(file("roofline.svg").contains("</svg>"));
    let report: serde_json::Value = serde_json::from_str(&file("profile.json")).unwrap();
    assert_eq!(
        (&report["steps"], &report["size"]["hidden"]),
        (&3.into(), &16.into())
    );
}

#[test]
fn a_profile_while_training_leaves_the_weights_as_they_are_on_the_cpu() {
    profile_while_training("cpu");
}

#[test]
fn a_profile_while_training_leaves_the_weights_as_they_are_on_a_gpu() {
    if gpu().is_some() {
        profile_while_training("gpu");
    }
}

#[test]
fn bench_takes_a_workload_by_name_and_single_sizes_over_it() {
    let folder = tempfile::tempdir().unwrap();
    let base = ["bench", "--device", "cpu", "--workload", "book"];
    let more = ["--nhid", "24", "--json", "--roofline", "r.svg"];
    let output = bptt(folder.path(), &[&base[..], &more].concat());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let sizes = serde_json::json!(
        {"vocab": 418, "embedding": 100, "hidden": 24, "batch": 10, "time_steps": 5,
        "biases": 1});
    assert_eq!(report["size"], sizes);
    assert_eq!(report["clock"], "wall");
    assert!(report["memory"]["bytes"]["weights"].as_u64().unwrap() > 0);
    assert!(
        fs::read_to_string(folder.path().join("r.svg"))
            .unwrap()
            .contains("</svg>")
    );
}

#[test]
fn bench_refuses_what_it_cannot_use_before_it_measures() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, hint) in [
        (&["--workload", "novel"][..], "book"),
        (&["--roofline", "no/such/folder.svg"], "roofline = "),
        (&["--roofline", "r.svg", "--growth"], "--growth"),
        (&["--growth", "--nhid", "60000"], "nhid = 1920000"),
        (&["--nhid", "0"], "nhid = 0"),
    ] {
        let output = bptt(
            folder.path(),
            &[&["bench", "--device", "cpu"], arguments].concat(),
        );
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(hint), "{arguments:?}: {text}");
    }
    let output = bptt(folder.path(), &["train", "--profile", "0"]);
    assert_eq!(output.status.code(), Some(2));
}
