//! Lower limits than the adapter's: WebGPU's defaults, and such small ones that everything is cut.

mod common;

use bptt::device::adapter::adapters;
use bptt::device::stopwatch::{Clock, Stopwatch};
use bptt::device::work::LONGEST;
use bptt::device::{Cpu, Device, Gpu, GpuSettings, Purpose};
use bptt::error::{Error, Result};
use bptt::fit::{Need, Room, Use};
use bptt::model::{Init, ModelSize, RnnLm};
use bptt::ops::Adam;
use bptt::ops::gpu::KERNELS;
use bptt::ops::{Matrix, Ops, Recurrence, RowChunk, Write, embedding_partials};
use bptt::optimizer::{Optimizer, Rule};
use bptt::parity::{OpReport, check_all, check_op, check_training};

/// The first adapter with the default limits and the features of the tests' GPU, changed by `change`; none
/// where tests go without one.
fn opened(change: impl FnOnce(&mut GpuSettings)) -> Option<Gpu> {
    let features = common::gpu()?.features();
    let adapter = adapters().swap_remove(0);
    let mut settings = GpuSettings::default_limits();
    settings.features = features;
    change(&mut settings);
    Some(Gpu::open_with(&adapter, settings).unwrap())
}

fn with_binding(bytes: u64) -> Option<Gpu> {
    opened(|settings| settings.limits.max_storage_buffer_binding_size = bytes)
}

#[track_caller]
fn pass(reports: &[OpReport]) {
    assert!(!reports.is_empty());
    let failed: Vec<_> = reports.iter().filter(|report| !report.passed()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_check_holds_with_the_default_limits_and_no_feature() {
    let Some(mut gpu) = opened(|settings| *settings = GpuSettings::default_limits()) else {
        return;
    };
    assert_eq!(gpu.limits(), &wgpu::Limits::defaults());
    // Timestamps are optional, too.
    assert_eq!(gpu.clock(), Clock::WallWaiting);
    let report = check_all(&mut gpu, |_| {}).unwrap();
    pass(&report.ops);
}

/// More lanes than every adapter has are an error with the default limits, and are none with those of
/// this adapter: so the check above would notice.
#[test]
fn a_kernel_beyond_the_default_limits_is_noticed() {
    let Some(mut gpu) = opened(|settings| *settings = GpuSettings::default_limits()) else {
        return;
    };
    let kernels = KERNELS.iter().flat_map(|(_, kernels)| kernels.iter());
    let tanh = kernels
        .clone()
        .find(|kernel| kernel.name == "tanh")
        .unwrap();
    for (from, to, words) in [
        (
            "@workgroup_size(WORKGROUP_SIZE)",
            "@workgroup_size(512)",
            "512",
        ),
        (
            "stable_tanh(x[i]);",
            "stable_tanh(x[i]) + 0.0 * subgroupAdd(1.0);",
            "subgroup",
        ),
    ] {
        assert!(tanh.source.contains(from));
        gpu.replace_kernel("tanh", tanh.source.replace(from, to));
        let error = check_op(&mut gpu, "tanh")
            .map(drop)
            .unwrap_err()
            .to_string();
        assert!(error.to_lowercase().contains(words), "{error}");
    }
    gpu.replace_kernel("tanh", tanh.source.to_owned());
    pass(&check_op(&mut gpu, "tanh").unwrap());
}

/// Everything that depends on how operands are cut, on the smallest bindings that hold the cases' rows.
#[test]
fn ops_hold_their_bounds_when_every_operand_is_cut() {
    for (binding, ops) in [
        (16 << 10, &["matmul", "sum_rows", "copy_within"][..]),
        (32 << 10, &["embedding"]),
        (
            16 << 10,
            &["accumulate", "sgd", "momentum", "adam", "global_norm"],
        ),
    ] {
        let Some(mut gpu) = with_binding(binding) else {
            return;
        };
        for op in ops {
            pass(&check_op(&mut gpu, op).unwrap());
        }
    }
}

/// E and Wa, and gradients and state like them, are several buffers each: within the bounds of parity.
#[test]
fn training_holds_its_bounds_when_parameters_are_cut() {
    let Some(mut gpu) = opened(|settings| {
        settings.limits.max_storage_buffer_binding_size = 100 << 10;
        settings.limits.max_buffer_size = 160 << 10;
    }) else {
        return;
    };
    pass(&check_training(&mut gpu).unwrap());
}

const SIZE: ModelSize = ModelSize {
    vocab: 300,
    embedding: 32,
    hidden: 64,
    batch: 4,
    time_steps: 12,
    biases: 1,
};

/// All parameters after three steps of AdamW on clipped gradients.
fn trained(gpu: &mut Gpu, clip: Option<f32>) -> Result<Vec<f32>> {
    let mut model = RnnLm::new(gpu, SIZE, true)?;
    model.init(gpu, 1)?;
    let rule = Rule::Adam(Adam {
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.01,
        decoupled: true,
    });
    let mut optimizer = Optimizer::new(gpu, &model, rule, clip)?;
    optimizer.set_rate(gpu, 0.01)?;
    let tokens: Vec<u32> = (0..SIZE.rows() as u32 + 3).map(|i| i * i % 300).collect();
    for _ in 0..3 {
        model.forward(gpu, &tokens[..SIZE.rows()], &tokens[3..])?;
        model.backward(gpu)?;
        optimizer.step(gpu, &mut model)?;
    }
    let mut all = Vec::new();
    for parameter in model.parameters() {
        all.extend(gpu.read(&parameter.value)?);
    }
    Ok(all)
}

#[test]
fn default_limits_and_small_grids_change_no_bits() {
    let Some(mut shared) = common::gpu() else {
        return;
    };
    let expected = trained(&mut shared, Some(0.5)).unwrap();
    drop(shared);
    let mut default = opened(|_| {}).unwrap();
    assert_eq!(trained(&mut default, Some(0.5)).unwrap(), expected);
    // 300 · 64 elements of Wa alone take 300 workgroups.
    let grid = |limit| opened(|s| s.limits.max_compute_workgroups_per_dimension = limit).unwrap();
    assert_eq!(trained(&mut grid(24), Some(0.5)).unwrap(), expected);
    let error = trained(&mut grid(3), Some(0.5)).unwrap_err();
    assert!(matches!(error, Error::Grid { limit: 3, .. }), "{error}");
}

/// Cut along rows, results are the same to the bit; along the terms of a sum, as Wa is in h·Wa, they
/// are those of another order of the same sums.
#[test]
fn bindings_of_a_few_rows_give_the_same_training() {
    let Some(mut shared) = common::gpu() else {
        return;
    };
    let before = shared.dispatches();
    let expected = trained(&mut shared, None).unwrap();
    let dispatches = shared.dispatches() - before;
    drop(shared);
    let mut small = opened(|settings| {
        settings.limits.max_storage_buffer_binding_size = 20 << 10;
        settings.limits.max_buffer_size = 64 << 10;
    })
    .unwrap();
    let found = trained(&mut small, None).unwrap();
    assert!(small.dispatches() > dispatches + 50, "{dispatches}");
    // Adam's first steps are by the rate, whatever the gradient's size: where its sign is open, they
    // are apart by two rates each.
    let far = found
        .iter()
        .zip(&expected)
        .filter(|(a, b)| (*a - *b).abs() > 1e-4);
    assert!(far.count() < expected.len() / 1000);
    let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
    assert!(apart.fold(0.0, f32::max) < 0.07);
}

/// Results of ops whose operands are cut along rows, or step by step.
fn cut_by_rows(gpu: &mut Gpu) -> Result<Vec<Vec<f32>>> {
    let mut stream = 0;
    let mut filled = |gpu: &mut Gpu, len| {
        stream += 1;
        let mut tensor = gpu.alloc(Purpose::Scratch, "filled", len)?;
        gpu.write(
            &mut tensor,
            0,
            &Init::Normal(0.5).values::<f32>(1, stream, len),
        )?;
        Ok::<_, Error>(tensor)
    };
    let mut results = Vec::new();
    // 41 slots of 4 rows of 64 units.
    let size = Recurrence {
        time_steps: 40,
        batch: 4,
        hidden: 64,
    };
    let wh = filled(gpu, 64 * 64)?;
    for variant in gpu.variants_of("rnn") {
        gpu.force_variant("rnn", Some(variant));
        let mut hidden = filled(gpu, 41 * 256)?;
        gpu.rnn(&mut hidden, &wh, size)?;
        gpu.copy_within(&mut hidden, 40 * 256, 0, 256)?;
        results.push(gpu.read(&hidden)?);
    }
    for variant in gpu.variants_of("rnn_backward") {
        gpu.force_variant("rnn_backward", Some(variant));
        let (hidden, mut grad) = (filled(gpu, 41 * 256)?, filled(gpu, 40 * 256)?);
        gpu.rnn_backward(&mut grad, &hidden, &wh, size)?;
        results.push(gpu.read(&grad)?);
    }
    // 200 rows of 60 logits: whole rows, 16 at a time, begin where a binding can.
    let mut ids = gpu.alloc_ids("targets", 200, 60, true)?;
    let tokens: Vec<u32> = (0..200).map(|i| i * i % 60).collect();
    gpu.write_ids(&mut ids, &tokens)?;
    for variant in gpu.variants_of("softmax_cross_entropy") {
        gpu.force_variant("softmax_cross_entropy", Some(variant));
        let (mut logits, mut losses) = (filled(gpu, 200 * 60)?, filled(gpu, 200)?);
        let chunk = RowChunk {
            first_row: 0,
            rows: 200,
            total_rows: 200,
            vocab: 60,
        };
        gpu.softmax_cross_entropy(&mut logits, &ids, &mut losses, chunk, true)?;
        results.push(gpu.read(&logits)?);
        results.push(gpu.read(&losses)?);
    }
    // Partial sums of all columns do not fit, nor do all rows of the table.
    let mut ids = gpu.alloc_ids("inputs", 100, 500, true)?;
    let tokens: Vec<u32> = (0..100).map(|i| i * 7 % 500).collect();
    gpu.write_ids(&mut ids, &tokens)?;
    let dout = filled(gpu, 100 * 50)?;
    let mut partials = filled(gpu, embedding_partials(100, 500, 50))?;
    let shapes = [("table", (500, 50)), ("other", (500, 50))];
    let mut tables = gpu.alloc_group(Purpose::Weights, &shapes)?;
    gpu.embedding_backward(&dout, &ids, &mut tables[0], &mut partials, 50)?;
    results.push(gpu.read(&tables[0])?);
    let mut out = filled(gpu, 100 * 50)?;
    let rows = Matrix::new(100, 50);
    gpu.embedding(&tables[0], &ids, (&mut out, rows))?;
    results.push(gpu.read(&out)?);
    // C and A by rows, and C by columns.
    let (a, b) = (filled(gpu, 300 * 40)?, filled(gpu, 50 * 40)?);
    let mut c = filled(gpu, 300 * 50)?;
    let b_t = (&b, Matrix::new(50, 40).t());
    let c_rows = (&mut c, Matrix::new(300, 50));
    gpu.matmul(
        (&a, Matrix::new(300, 40)),
        b_t,
        None,
        c_rows,
        Write::Overwrite,
    )?;
    results.push(gpu.read(&c)?);
    let mut d = filled(gpu, 20 * 500)?;
    let (x, table_t) = (
        filled(gpu, 20 * 50)?,
        (&tables[0], Matrix::new(500, 50).t()),
    );
    let bias = filled(gpu, 500)?;
    let x = (&x, Matrix::new(20, 50));
    gpu.matmul(
        x,
        table_t,
        Some(&bias),
        (&mut d, Matrix::new(20, 500)),
        Write::Accumulate,
    )?;
    results.push(gpu.read(&d)?);
    for op in ["rnn", "rnn_backward", "softmax_cross_entropy"] {
        gpu.force_variant(op, None);
    }
    Ok(results)
}

#[test]
fn what_is_cut_along_rows_or_steps_has_the_same_bits() {
    let Some(mut shared) = common::gpu() else {
        return;
    };
    let expected = cut_by_rows(&mut shared).unwrap();
    drop(shared);
    let mut small = with_binding(20 << 10).unwrap();
    assert_eq!(cut_by_rows(&mut small).unwrap(), expected);
    assert!(expected.iter().flatten().all(|x| x.is_finite()));
    let mut too_small = with_binding(8 << 10).unwrap();
    let error = cut_by_rows(&mut too_small).unwrap_err();
    assert!(
        matches!(error, Error::Unbindable { op: "rnn", .. }),
        "{error}"
    );
}

/// A lane adds 67,500 times four terms: lavapipe ends loops after 65,535.
#[test]
fn a_sum_of_many_terms_is_whole() {
    let Some(mut gpu) = common::gpu() else { return };
    let (side, depth) = (120, 270_000);
    let mut ones = gpu.alloc(Purpose::Scratch, "ones", side * depth).unwrap();
    gpu.write(&mut ones, 0, &vec![1.0; side * depth]).unwrap();
    let mut c = gpu.alloc(Purpose::Scratch, "c", side * side).unwrap();
    let a = (&ones, Matrix::new(side, depth));
    let b = (&ones, Matrix::new(side, depth).t());
    gpu.matmul(
        a,
        b,
        None,
        (&mut c, Matrix::new(side, side)),
        Write::Overwrite,
    )
    .unwrap();
    assert_eq!(gpu.read(&c).unwrap(), vec![depth as f32; side * side]);
}

/// The workload `huge`.
const HUGE: ModelSize = ModelSize {
    vocab: 50_304,
    embedding: 2048,
    hidden: 2048,
    batch: 128,
    time_steps: 128,
    biases: 1,
};

/// Records a training step of `HUGE`, as the kernels for GPUs do it.
fn huge_step(gpu: &mut Gpu) {
    gpu.force_variant("matmul", Some("matmul_128"));
    gpu.force_variant("rnn", Some("rnn"));
    gpu.force_variant("rnn_backward", Some("rnn_backward"));
    gpu.force_variant("softmax_cross_entropy", Some("softmax_cross_entropy"));
    let model = &mut RnnLm::new(gpu, HUGE, true).unwrap();
    let mut sgd = Optimizer::sgd(gpu, model, Some(1.0)).unwrap();
    let tokens = vec![7; HUGE.rows()];
    model.forward(gpu, &tokens, &tokens).unwrap();
    model.backward(gpu).unwrap();
    sgd.step(gpu, model).unwrap();
    gpu.finish().unwrap();
}

#[test]
fn no_dispatch_and_no_submission_of_a_huge_step_is_long() {
    let plan =
        |longest| opened(|settings| (settings.plan_only, settings.longest) = (true, longest));
    let Some(mut gpu) = plan(LONGEST) else { return };
    huge_step(&mut gpu);
    let recorded = gpu.recorded();
    eprintln!("huge, with the default limits: {recorded:?}");
    assert!(recorded.longest_dispatch <= LONGEST);
    assert!(recorded.longest_submission <= LONGEST);
    // All of the work is there: the products alone are so many operations, at 50 GFLOP/s.
    assert!(recorded.seconds > HUGE.flops_per_step() / 50e9);
    // What is counted is not what would be anyway.
    let mut uncut = plan(f64::INFINITY).unwrap();
    huge_step(&mut uncut);
    let uncut = uncut.recorded();
    assert!(uncut.longest_dispatch > 2.0 * LONGEST, "{uncut:?}");
    assert!(uncut.longest_submission > 100.0 * LONGEST);
    assert!((uncut.seconds / recorded.seconds - 1.0).abs() < 1e-6);
    assert!(uncut.dispatches < recorded.dispatches);
}

#[test]
fn cuts_by_work_change_no_bits() {
    let Some(mut shared) = common::gpu() else {
        return;
    };
    let results = |gpu: &mut Gpu| -> Vec<_> {
        let mut results = Vec::new();
        for variant in gpu.variants_of("matmul") {
            gpu.force_variant("matmul", Some(variant));
            results.push((trained(gpu, Some(0.5)).unwrap(), cut_by_rows(gpu).unwrap()));
        }
        gpu.force_variant("matmul", None);
        results
    };
    let before = shared.recorded();
    let expected = results(&mut shared);
    let dispatches = shared.recorded().dispatches - before.dispatches;
    drop(shared);
    // A microsecond of the slow GPU's.
    let mut impatient = opened(|settings| settings.longest = 1e-6).unwrap();
    assert_eq!(results(&mut impatient), expected);
    let recorded = impatient.recorded();
    assert!(recorded.dispatches > dispatches, "{recorded:?}");
    assert!(recorded.submissions > dispatches / 2, "{recorded:?}");
}

fn training(size: ModelSize) -> Need {
    Need {
        size,
        of: Use::Train(Box::default()),
        knobs: &["batch-size", "bptt", "nhid", "emsize"],
    }
}

/// The sizes that an error names, each tried out: it fits, and the next larger one does not.
#[track_caller]
fn ways_are_the_smallest(room: &mut Room, size: ModelSize) -> usize {
    let error = room.check(&training(size)).unwrap_err();
    let Error::DoesNotFit { ways, .. } = &error else {
        panic!("{error}");
    };
    let named = ways.strip_suffix(" would fit").unwrap_or_default();
    let ways: Vec<_> = named.split(", or ").filter(|way| !way.is_empty()).collect();
    for way in &ways {
        let (knob, value) = way.strip_prefix("--").unwrap().split_once(' ').unwrap();
        let value: usize = value.parse().unwrap();
        let with = |value| {
            let mut size = size;
            match knob {
                "batch-size" => size.batch = value,
                "bptt" => size.time_steps = value,
                "nhid" => size.hidden = value,
                "emsize" => size.embedding = value,
                other => panic!("{other}"),
            }
            training(size)
        };
        room.check(&with(value)).unwrap();
        room.check(&with(value + 1)).unwrap_err();
    }
    ways.len()
}

#[test]
fn what_does_not_fit_is_refused_with_the_smallest_change_that_would() {
    let size = ModelSize {
        vocab: 1000,
        embedding: 100,
        hidden: 200,
        batch: 64,
        time_steps: 50,
        biases: 1,
    };
    let bytes = training(size).plan().unwrap().total();
    let mut room = Room {
        device: "a device".to_owned(),
        available: Some(bytes),
        rehearsal: None,
    };
    room.check(&training(size)).unwrap();
    room.available = Some(bytes - 1);
    assert_eq!(ways_are_the_smallest(&mut room, size), 4);
    room.available = Some(bytes / 2);
    assert!(ways_are_the_smallest(&mut room, size) >= 2);
    room.available = Some(1000);
    let error = room.check(&training(size)).unwrap_err().to_string();
    assert!(error.contains("no smaller --batch-size, --bptt, --nhid, --emsize alone would"));
    assert!(error.contains("weights"), "{error}");
}

/// The parameters of `huge` are larger than a buffer, and are trained; its state cannot be cut by more
/// than a buffer holds.
#[test]
fn what_a_gpu_s_limits_refuse_is_refused_before_anything_is_allocated() {
    let Some(rehearsal) = opened(|settings| settings.plan_only = true) else {
        return;
    };
    let mut room = Room {
        device: "a GPU with the default limits".to_owned(),
        available: None,
        rehearsal: Some(rehearsal),
    };
    room.check(&training(HUGE)).unwrap();
    let larger = ModelSize { batch: 300, ..HUGE };
    assert!(ways_are_the_smallest(&mut room, larger) >= 2);
    let error = room.check(&training(larger)).unwrap_err().to_string();
    eprintln!("{error}");
    assert!(error.contains("--batch-size 128"), "{error}");
}

/// The mean losses of three windows, with a step of gradient descent between them.
fn losses<O: Ops<Elem = f32>>(ops: &mut O, size: ModelSize) -> Vec<f64> {
    let mut model = RnnLm::new(ops, size, true).unwrap();
    model.init(ops, 1).unwrap();
    let mut optimizer = Optimizer::new(ops, &model, Rule::Sgd, None).unwrap();
    optimizer.set_rate(ops, 0.1).unwrap();
    let tokens: Vec<u32> = (0..=size.rows() as u32).map(|i| i * 9973).collect();
    let step = |_| {
        model
            .forward(ops, &tokens[..size.rows()], &tokens[1..])
            .unwrap();
        model.backward(ops).unwrap();
        optimizer.step(ops, &mut model).unwrap();
        model.take_loss_sum(ops).unwrap()
    };
    (0..3).map(step).collect()
}

/// Wa has 134 MB, WebGPU's default binding 134,217,728 bytes: it is two buffers.
#[test]
fn a_parameter_beyond_the_default_binding_trains_as_on_the_cpu() {
    let Some(mut gpu) = opened(|settings| *settings = GpuSettings::default_limits()) else {
        return;
    };
    let size = ModelSize {
        vocab: 32_800,
        embedding: 8,
        hidden: 1024,
        batch: 1,
        time_steps: 3,
        biases: 1,
    };
    let bytes = 4 * (size.vocab * size.hidden) as u64;
    assert!(bytes > gpu.limits().max_storage_buffer_binding_size);
    let (found, expected) = (losses(&mut gpu, size), losses(&mut Cpu::<f32>::new(), size));
    assert!(expected[2] < expected[0] - 0.1, "{expected:?}");
    for (found, expected) in found.iter().zip(&expected) {
        // Some thousand roundings of 6e-8, which add up as a random walk does.
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}
