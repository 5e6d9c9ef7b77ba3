//! The eight traps into which this project's prototype fell. Each test holds the code to the truth,
//! then puts the trap back and sees the same check fail.

#[path = "common/case.rs"]
mod case;
mod common;
#[path = "common/finite_differences.rs"]
mod finite_differences;
#[path = "common/held_bytes.rs"]
mod held_bytes;
#[path = "common/relative_error.rs"]
mod relative_error;

use std::cell::RefCell;
use std::rc::Rc;

use bptt::device::cpu::CpuTensor;
use bptt::device::{Cpu, Device, Element, Purpose};
use bptt::model::{ModelSize, Order, RnnLm, Softmax};
use bptt::ops::{Ops, RowChunk};

use case::{Case, tokens};
use finite_differences::{TOLERANCE, gradient};
use held_bytes::held_bytes;
use relative_error::relative_error;

const SIZE: ModelSize = ModelSize {
    vocab: 7,
    embedding: 3,
    hidden: 5,
    batch: 2,
    time_steps: 4,
    biases: 1,
};

/// One size for each order of the input layer: with fewer tokens in the vocabulary than in a window,
/// and with more.
const SIZES: [ModelSize; 2] = [SIZE, ModelSize { vocab: 11, ..SIZE }];

#[test]
fn the_sizes_take_the_input_layer_in_both_orders() {
    let orders = SIZES.map(|size| Case::new(size).model.input.order.is_project_first());
    assert_eq!(orders, [true, false]);
}

/// Is `got` the gradient that central differences gave?
fn agrees(got: &[f64], numeric: &[f64]) -> bool {
    relative_error(numeric, got) <= TOLERANCE
}

/// Every gradient of the case by central differences, in the order of [`Case::variables`].
fn numeric_gradients(case: &mut Case) -> Vec<Vec<f64>> {
    let variables = case.variables().len();
    let numeric = |variable| gradient(&case.value(variable), |x| case.loss_at(variable, x));
    (0..variables).map(numeric).collect()
}

/// Trapped: the backward pass sees Whᵀ as its Wh.
#[test]
fn trap_1_the_state_gradient_used_wh_where_its_transpose_belongs() {
    SIZES.into_iter().for_each(assert_wh_is_transposed);
}

fn assert_wh_is_transposed(size: ModelSize) {
    let mut case = Case::new(size);
    let numeric = numeric_gradients(&mut case);
    let right = case.gradients();

    case.restart();
    case.forward();
    let h = size.hidden;
    let wh = case.model.rnn.wh.value.as_slice();
    let transposed: Vec<f64> = (0..h * h).map(|i| wh[i % h * h + i / h]).collect();
    let wh = &mut case.model.rnn.wh.value;
    case.cpu.write(wh, 0, &transposed).unwrap();
    let trapped = case.backward();

    let through_the_state = ["E", "Wx", "Wh", "b", "h_init"];
    for (i, name) in case.variables().iter().enumerate() {
        assert!(agrees(&right[i], &numeric[i]), "{name}");
        let caught = !agrees(&trapped[i], &numeric[i]);
        assert_eq!(caught, through_the_state.contains(name), "{name}");
    }
}

/// Trapped: raw logits in all entries but the label's.
#[test]
fn trap_2_the_softmax_gradient_wrote_only_the_entry_of_the_label() {
    let (vocab, labels) = (3, [2, 0]);
    let logits = [0.3, -1.2, 0.7, 1.1, 0.2, -0.4];
    let numeric = gradient(&logits, |logits| mean_loss(logits, &labels));

    let (_, right) = losses_and_gradient(&mut Cpu::<f64>::new(), &logits, &labels);

    let mut trapped = logits;
    for (row, &label) in trapped.chunks_mut(vocab).zip(&labels) {
        let probs = softmax(row);
        row[label as usize] = (probs[label as usize] - 1.0) / labels.len() as f64;
    }
    assert!(agrees(&right, &numeric));
    assert!(!agrees(&trapped, &numeric));
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let total: f64 = row.iter().map(|a| a.exp()).sum();
    row.iter().map(|a| a.exp() / total).collect()
}

/// By the definition: the mean of −ln p at the labels.
fn mean_loss(logits: &[f64], labels: &[u32]) -> f64 {
    let rows = logits.chunks(logits.len() / labels.len()).zip(labels);
    let losses = rows.map(|(row, &label)| -softmax(row)[label as usize].ln());
    losses.sum::<f64>() / labels.len() as f64
}

/// The loss of each row, and the gradient of their mean, by the op.
fn losses_and_gradient<O: Ops>(
    ops: &mut O,
    logits: &[f64],
    labels: &[u32],
) -> (Vec<f64>, Vec<f64>) {
    let (rows, vocab) = (labels.len(), logits.len() / labels.len());
    let mut targets = ops.alloc_ids("labels", rows, vocab, false).unwrap();
    ops.write_ids(&mut targets, labels).unwrap();
    let mut tensor = ops.alloc(Purpose::Scratch, "logits", logits.len()).unwrap();
    let logits: Vec<O::Elem> = logits.iter().map(|&a| O::Elem::from_f64(a)).collect();
    ops.write(&mut tensor, 0, &logits).unwrap();
    let mut losses = ops.alloc(Purpose::Scratch, "losses", rows).unwrap();
    let chunk = RowChunk {
        first_row: 0,
        rows,
        total_rows: rows,
        vocab,
    };
    ops.softmax_cross_entropy(&mut tensor, &targets, &mut losses, chunk, true)
        .unwrap();
    let mut values = |tensor| {
        ops.read(tensor)
            .unwrap()
            .into_iter()
            .map(Element::value)
            .collect()
    };
    (values(&losses), values(&tensor))
}

/// With all parameters zero every token has the probability 1/V, and the loss is ln V at any N and T.
/// Trapped: sum/N·T, and a gradient that is not averaged.
#[test]
fn trap_3_the_loss_and_its_gradient_were_not_averaged() {
    for (batch, time_steps) in [(1, 1), (2, 4), (3, 5)] {
        let size = ModelSize {
            batch,
            time_steps,
            ..SIZE
        };
        let mut cpu = Cpu::<f64>::new();
        let mut model = RnnLm::new(&mut cpu, size, true).unwrap();
        model
            .evaluate(&mut cpu, &tokens(size, 0), &tokens(size, 1))
            .unwrap();
        let is_mean = |loss: f64| (loss - (size.vocab as f64).ln()).abs() < 1e-14;
        assert!(is_mean(cpu.read(model.loss()).unwrap()[0]));
        let losses = &cpu.read(&model.output.loss.losses).unwrap();
        let trapped = losses.iter().sum::<f64>() / batch as f64 * time_steps as f64;
        assert_eq!(is_mean(trapped), time_steps == 1);
    }

    for size in SIZES {
        let mut case = Case::new(size);
        let numeric = numeric_gradients(&mut case);
        for (right, numeric) in case.gradients().iter().zip(&numeric) {
            let trapped: Vec<f64> = right.iter().map(|g| g * size.rows() as f64).collect();
            assert!(agrees(right, numeric));
            assert!(!agrees(&trapped, numeric));
        }
    }
}

/// A stateful model on two windows is one on a window twice as long; any other starts the second
/// window from zeros. Trapped: `stateful` inverted.
#[test]
fn trap_4_stateful_reset_the_state_and_its_absence_kept_it() {
    SIZES.into_iter().for_each(assert_stateful_keeps_the_state);
}

fn assert_stateful_keeps_the_state(size: ModelSize) {
    let long = ModelSize {
        time_steps: 2 * size.time_steps,
        ..size
    };
    let (t, rows) = (size.time_steps, size.rows());
    let kept = &losses_of_last_window(long, true, &[0])[rows..];
    let zeroed = &losses_of_last_window(size, true, &[t]);
    let second = |stateful| losses_of_last_window(size, stateful, &[0, t]);
    // The same sums in another order: a few hundred roundings at most.
    let equal = |x: &[f64], y: &[f64]| relative_error(x, y) < 1e-14;
    assert!(equal(&second(true), kept));
    assert!(equal(&second(false), zeroed));
    assert!(!equal(&second(false), kept));
    assert!(!equal(&second(true), zeroed));
}

/// The loss of each row of the last of the windows that start at these time steps.
fn losses_of_last_window(size: ModelSize, stateful: bool, starts: &[usize]) -> Vec<f64> {
    let mut cpu = Cpu::<f64>::new();
    let mut model = RnnLm::new(&mut cpu, size, stateful).unwrap();
    model.init(&mut cpu, 1).unwrap();
    for &start in starts {
        let (inputs, targets) = (tokens(size, start), tokens(size, start + 1));
        model.evaluate(&mut cpu, &inputs, &targets).unwrap();
    }
    cpu.read(&model.output.loss.losses).unwrap()
}

/// Trapped: the second backward pass reads the first window's activations.
#[test]
fn trap_5_the_caches_of_the_first_window_served_every_backward_pass() {
    SIZES
        .into_iter()
        .for_each(assert_caches_are_of_the_last_window);
}

fn assert_caches_are_of_the_last_window(size: ModelSize) {
    let mut case = Case::new(size);
    case.gradients();
    let values = |cache: &mut CpuTensor<f64>| cache.as_slice().to_vec();
    let first: Vec<_> = caches(&mut case.model).into_iter().map(values).collect();
    case.inputs = tokens(size, size.time_steps);
    case.targets = tokens(size, size.time_steps + 1);
    let numeric = numeric_gradients(&mut case);
    let right = case.gradients();

    case.restart();
    case.forward();
    for (cache, first) in caches(&mut case.model).into_iter().zip(&first) {
        case.cpu.write(cache, 0, first).unwrap();
    }
    let trapped = case.backward();

    let from_the_caches = ["E", "Wx", "Wh", "b", "h_init"];
    for (i, name) in case.variables().iter().enumerate() {
        assert!(agrees(&right[i], &numeric[i]), "{name}");
        let caught = !agrees(&trapped[i], &numeric[i]);
        assert_eq!(caught, from_the_caches.contains(name), "{name}");
    }
}

/// What the backward pass reads of the forward pass: h, and e if the input layer keeps it.
fn caches(model: &mut RnnLm<Cpu<f64>>) -> Vec<&mut CpuTensor<f64>> {
    let mut caches = vec![&mut model.rnn.hidden];
    if let Order::GatherFirst { e, .. } = &mut model.input.order {
        caches.push(e);
    }
    caches
}

/// Trapped: every forward pass appends its activations to a list.
#[test]
fn trap_5_the_caches_grew_without_end() {
    let mut cpu = Cpu::<f64>::with_threads(1);
    let mut model = RnnLm::new(&mut cpu, SIZE, true).unwrap();
    let (inputs, targets) = (tokens(SIZE, 0), tokens(SIZE, 1));
    let mut step = || {
        model.forward(&mut cpu, &inputs, &targets).unwrap();
        model.backward(&mut cpu).unwrap();
        model.rnn.hidden.as_slice().to_vec()
    };
    // What is made once is made in the first step.
    step();
    assert!(!grows(|| drop(step())));
    let mut caches = Vec::new();
    assert!(grows(|| caches.push(step())));
}

fn grows(mut step: impl FnMut()) -> bool {
    let ((), kept, _) = held_bytes(|| (0..100).for_each(|_| step()));
    kept > 0
}

/// Trapped: weights uniform in [0, 1).
#[test]
fn trap_6_initial_weights_had_a_mean_that_was_not_zero() {
    // Σx has the standard deviation √Σx² if every x is independent with mean 0: 5 of them.
    let mean_is_zero = |x: &[f64]| {
        let (sum, squares) = x.iter().fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
        f64::abs(sum) <= 5.0 * f64::sqrt(squares)
    };
    let mut cpu = Cpu::<f64>::new();
    let mut model = RnnLm::new(&mut cpu, SIZE, true).unwrap();
    for seed in 0..100 {
        model.init(&mut cpu, seed).unwrap();
        let all = model.parameters().flat_map(|p| p.value.as_slice());
        let all: Vec<f64> = all.copied().collect();
        assert!(mean_is_zero(&all), "seed {seed}");
    }
    // Multiples of the golden ratio, modulo 1, are spread evenly over [0, 1).
    let trapped: Vec<f64> = (0..100)
        .map(|i| (f64::from(i) * 0.618_034).fract())
        .collect();
    assert!(!mean_is_zero(&trapped));
}

/// Trapped: the array that is passed in is the one that is kept, and the result overwrites it.
#[test]
fn trap_7_softmax_overwrote_its_input() {
    const LOGITS: [f64; 6] = [0.3, -1.2, 0.7, 1.1, 0.2, -0.4];
    let input_survives = |forward: &mut dyn FnMut(Rc<RefCell<Vec<f64>>>)| {
        let logits = Rc::new(RefCell::new(LOGITS.to_vec()));
        forward(logits.clone());
        *logits.borrow() == LOGITS
    };

    let mut cpu = Cpu::<f64>::new();
    let mut layer = Softmax::new(&mut cpu, 2, 3).unwrap();
    let mut right = |logits: Rc<RefCell<Vec<f64>>>| {
        let mut tensor = cpu.alloc(Purpose::Scratch, "logits", LOGITS.len()).unwrap();
        cpu.write(&mut tensor, 0, &logits.borrow()).unwrap();
        layer.forward(&mut cpu, &tensor, 1.0).unwrap();
        *logits.borrow_mut() = cpu.read(&tensor).unwrap();
    };
    assert!(input_survives(&mut right));

    let mut trapped = |cache: Rc<RefCell<Vec<f64>>>| {
        for row in cache.borrow_mut().chunks_mut(3) {
            let probs = softmax(row);
            row.copy_from_slice(&probs);
        }
    };
    assert!(!input_survives(&mut trapped));
}

/// e^−20000 is 0 at f32 and at f64. Trapped: −ln of the softmax.
#[test]
fn trap_8_the_loss_took_the_logarithm_of_a_probability_that_underflows() {
    let trapped = -softmax(&[1e4 - 1e4, -1e4 - 1e4, -1e4])[1].ln();
    assert!(!is_20000(trapped));
    assert_loss_without_underflow(&mut Cpu::<f64>::new());
    assert_loss_without_underflow(&mut Cpu::<f32>::new());
    if let Some(mut gpu) = common::gpu() {
        assert_loss_without_underflow(&mut *gpu);
    }
}

fn assert_loss_without_underflow<O: Ops>(ops: &mut O) {
    let logits = [1e4, -1e4, 0.0, 1e4, -1e4, 0.0];
    let (losses, gradient) = losses_and_gradient(ops, &logits, &[1, 0]);
    assert!(is_20000(losses[0]), "{}: {losses:?}", ops.describe());
    // (p − y) / 2, and p is one-hot but for a quotient of two equal numbers, which WGSL lets be off
    // by 2.5 ULP.
    let error = relative_error(&gradient, &[0.5, -0.5, 0.0, 0.0, 0.0, 0.0]);
    let name = ops.describe();
    assert!(
        error <= 2.5 * f64::from(f32::EPSILON),
        "{name}: {gradient:?}"
    );
}

/// To the last bit of an f32.
fn is_20000(loss: f64) -> bool {
    (loss - 2e4).abs() <= 2e4 * f64::from(f32::EPSILON)
}
