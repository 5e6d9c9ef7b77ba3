//! Numbers at the edge of f32: results are finite and right where mathematics is finite, and what
//! is not is reported as [`Error::Diverged`], on the CPU and on the GPU.

mod common;

use std::path::Path;

use bptt::Error;
use bptt::checkpoint::Weights;
use bptt::config::{Config, OptimizerChoice};
use bptt::data::Corpus;
use bptt::device::{Cpu, Device, Element, Purpose};
use bptt::model::{ModelSize, RnnLm};
use bptt::ops::{Adam, Choice, Matrix, Momentum, Ops, Recurrence, RowChunk, Write, norm_partials};
use bptt::parity::bounds::{TINY, U, exp_relative, gamma, log_absolute};
use bptt::train::{Advance, Trainer};
use common::gpu;

/// A test of `$check` on the CPU and on the GPU.
macro_rules! on_each_device {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[test]
        fn $name() {
            $check(&mut Cpu::<f32>::new());
            if let Some(mut gpu) = gpu() {
                $check(&mut *gpu);
            }
        }
    };
}

fn tensor<O: Ops>(ops: &mut O, values: &[O::Elem]) -> O::Tensor {
    let mut tensor = ops.alloc(Purpose::Scratch, "edge", values.len()).unwrap();
    ops.write(&mut tensor, 0, values).unwrap();
    tensor
}

fn ids<O: Ops>(ops: &mut O, tokens: &[u32], vocab: usize) -> O::Ids {
    let mut ids = ops.alloc_ids("edge", tokens.len(), vocab, true).unwrap();
    ops.write_ids(&mut ids, tokens).unwrap();
    ids
}

#[track_caller]
fn assert_near(what: &str, got: f32, want: f64, bound: f64) {
    let error = (f64::from(got) - want).abs();
    assert!(
        error <= bound,
        "{what}: got {got}, expected {want} ± {bound:e}"
    );
}

/// A row's logits, and the label.
type Row = ([f32; 4], u32);

/// ±1e4, all equal at three heights, and labels whose probability is below every f32.
const ROWS: [Row; 9] = [
    ([1e4, -1e4, 0.0, 0.0], 0),
    ([1e4, -1e4, 0.0, 0.0], 1),
    ([-1e4, -1e4, -1e4, 1e4], 2),
    ([1e4, 1e4, -1e4, 1e4], 3),
    ([1e4; 4], 3),
    ([-1e4; 4], 2),
    ([0.0; 4], 0),
    ([0.0, -200.0, -150.0, -110.0], 1),
    ([5.0, 5.0 - 3e-7, -103.0, -104.5], 3),
];

/// A row in exact arithmetic.
struct Exact {
    probabilities: Vec<f64>,
    loss: f64,
    loss_bound: f64,
    /// Relative error of each probability.
    relative: Vec<f64>,
}

impl Exact {
    /// As parity's bound of a row, for any order of the sum: each term errs as exp does, each new
    /// maximum rescales the sum (7 u), and as many roundings as there are terms and halvings of 256
    /// lanes make the chain.
    fn new((logits, label): Row) -> Self {
        let logits = logits.map(f64::from);
        let max = logits.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let weights = logits.map(|a| (a - max).exp());
        let sum: f64 = weights.iter().sum();
        let errors = logits.map(|a| exp_relative(a - max));
        let terms: f64 = weights.iter().zip(errors).map(|(w, e)| w * e).sum();
        let chain = logits.len() + 8;
        let sum_relative = 2.0 * terms / sum + chain as f64 * 7.0 * U + gamma(chain);
        let distance = max - logits[label as usize];
        Exact {
            probabilities: weights.iter().map(|w| w / sum).collect(),
            loss: sum.ln() + distance,
            loss_bound: log_absolute(sum) + sum_relative + 2.0 * U * (distance + sum.ln()),
            relative: errors.map(|e| e + sum_relative + 4.0 * U).into(),
        }
    }
}

fn losses_and_gradients<O: Ops<Elem = f32>>(ops: &mut O, rows: &[Row]) -> (Vec<f32>, Vec<f32>) {
    let values: Vec<f32> = rows.iter().flat_map(|row| row.0).collect();
    let labels: Vec<u32> = rows.iter().map(|row| row.1).collect();
    let mut logits = tensor(ops, &values);
    let targets = ids(ops, &labels, 4);
    let mut losses = tensor(ops, &vec![f32::NAN; rows.len()]);
    let chunk = RowChunk {
        first_row: 0,
        rows: rows.len(),
        total_rows: rows.len(),
        vocab: 4,
    };
    ops.softmax_cross_entropy(&mut logits, &targets, &mut losses, chunk, true)
        .unwrap();
    (ops.read(&losses).unwrap(), ops.read(&logits).unwrap())
}

fn check_logits<O: Ops<Elem = f32>>(ops: &mut O) {
    let (losses, gradients) = losses_and_gradients(ops, &ROWS);
    for (r, row) in ROWS.into_iter().enumerate() {
        let exact = Exact::new(row);
        assert_near(
            &format!("loss of {row:?}"),
            losses[r],
            exact.loss,
            exact.loss_bound,
        );
        for (v, &p) in exact.probabilities.iter().enumerate() {
            let is_label = f64::from(u8::from(v == row.1 as usize));
            let want = (p - is_label) / ROWS.len() as f64;
            let bound = (p * exact.relative[v] + 2.0 * U * is_label) / ROWS.len() as f64 + TINY;
            let what = format!("gradient {v} of {row:?}");
            assert_near(&what, gradients[4 * r + v], want, bound);
        }
    }
    // Known without any formula.
    assert_eq!((losses[0], losses[1], losses[2]), (0.0, 2e4, 2e4));
    assert_eq!(losses[7], 200.0);
}

on_each_device!(
    logits_of_ten_thousand_equal_logits_and_labels_that_underflow,
    check_logits
);

/// 6e38 is a number, but not an f32: it must not look like a loss.
fn check_loss_beyond_f32<O: Ops<Elem = f32>>(ops: &mut O) {
    let row = ([3e38, -3e38, 0.0, 0.0], 1);
    let (losses, _) = losses_and_gradients(ops, &[row]);
    assert!(!losses[0].is_finite(), "{losses:?}");
}

on_each_device!(a_loss_beyond_f32_is_not_finite, check_loss_beyond_f32);

fn check_samples<O: Ops<Elem = f32>>(ops: &mut O) {
    let logits = tensor(
        ops,
        &[
            1e4, -1e4, 0.0, -1e4, -1e4, 1e4, -1e4, -1e4, -1e4, -1e4, -1e4, 1e4,
        ],
    );
    let uniform = tensor(ops, &[0.0, 0.5, 0.999_999_94]);
    for temperature in [0.0, 1e-30, 1.0, 100.0] {
        let mut tokens = tensor(ops, &[f32::NAN; 3]);
        let choice = Choice {
            temperature,
            top_k: 0,
            top_p: 1.0,
        };
        ops.sample(&logits, &uniform, &mut tokens, 4, choice)
            .unwrap();
        assert_eq!(ops.read(&tokens).unwrap(), [0.0, 1.0, 3.0], "{temperature}");
    }
}

on_each_device!(
    a_token_that_is_certain_is_drawn_at_any_temperature,
    check_samples
);

/// tanh of ±1000 is ±1, whatever the other units add to it, and no gradient comes through.
fn check_saturated<O: Ops<Elem = f32>>(ops: &mut O) {
    let size = Recurrence {
        time_steps: 3,
        batch: 5,
        hidden: 7,
    };
    let step = size.batch * size.hidden;
    let sign = |i: usize| {
        if (i * i).is_multiple_of(3) {
            1.0f32
        } else {
            -1.0
        }
    };
    let state: Vec<f32> = (0..4 * step)
        .map(|i| sign(i) * if i < step { 1.0 } else { 1e3 })
        .collect();
    let weights: Vec<f32> = (0..49).map(|i| 10.0 * sign(i + 1)).collect();
    let (mut hidden, wh) = (tensor(ops, &state), tensor(ops, &weights));
    ops.rnn(&mut hidden, &wh, size).unwrap();
    let got = ops.read(&hidden).unwrap();
    assert_eq!(got, (0..4 * step).map(sign).collect::<Vec<_>>());
    let mut grad = tensor(ops, &vec![3.0; 3 * step]);
    ops.rnn_backward(&mut grad, &hidden, &wh, size).unwrap();
    assert_eq!(ops.read(&grad).unwrap(), vec![0.0; 3 * step]);
}

on_each_device!(pre_activations_of_a_thousand_saturate, check_saturated);

fn check_tanh<O: Ops<Elem = f32>>(ops: &mut O) {
    let values = [1e3, -1e3, f32::MAX, f32::MIN, 0.0, 1e-40, -1e-45, 1e-30];
    let (x, mut y) = (tensor(ops, &values), tensor(ops, &[f32::NAN; 8]));
    ops.tanh(&x, &mut y).unwrap();
    let got = ops.read(&y).unwrap();
    assert_eq!(got[..5], [1.0, -1.0, 1.0, -1.0, 0.0]);
    for i in 5..8 {
        let want = f64::from(values[i]).tanh();
        assert_near("tanh", got[i], want, 15.0 * U * want.abs() + TINY);
    }
}

on_each_device!(tanh_of_everything_is_at_most_one, check_tanh);

/// a·b for a `[1, K]` and b `[K, 1]`.
fn dot<O: Ops<Elem = f32>>(ops: &mut O, a: &[f32], b: &[f32]) -> f32 {
    let k = a.len();
    let (a, b, mut c) = (tensor(ops, a), tensor(ops, b), tensor(ops, &[f32::NAN]));
    let (rows, cols) = (Matrix::new(1, k), Matrix::new(k, 1));
    ops.matmul(
        (&a, rows),
        (&b, cols),
        None,
        (&mut c, Matrix::new(1, 1)),
        Write::Overwrite,
    )
    .unwrap();
    ops.read(&c).unwrap()[0]
}

/// Subnormal factors may be taken for 0, which loses as much as the smallest normal number times
/// the other factor; else γ of the sum, as ever.
fn check_products<O: Ops<Elem = f32>>(ops: &mut O) {
    for (x, y) in [
        (1e-40, 1e5),
        (1e-40, 1e-40),
        (1e30, 1e-30),
        (1e19, 1e19),
        (1e-20, 1e-20),
    ] {
        let k = 3;
        let got = dot(ops, &vec![x; k], &vec![y; k]);
        let (x, y) = (f64::from(x), f64::from(y));
        let want = k as f64 * x * y;
        let flushed = TINY * (1.0 + x.min(1.0) + if x < TINY { y } else { 0.0 });
        assert_near(
            &format!("{x}·{y}"),
            got,
            want,
            gamma(k + 2) * want + k as f64 * flushed,
        );
    }
    assert!(!dot(ops, &[1e20], &[1e20]).is_finite());
}

on_each_device!(
    products_of_very_large_and_very_small_numbers,
    check_products
);

/// ‖g‖ and the factor of clipping to 0.25.
fn norm<O: Ops<Elem = f32>>(ops: &mut O, gradient: &[f32]) -> O::Tensor {
    let g = tensor(ops, gradient);
    let mut partials = tensor(ops, &vec![f32::NAN; norm_partials([gradient.len()])]);
    let mut norm = tensor(ops, &[f32::NAN; 2]);
    ops.global_norm(&[&g], Some(0.25), &mut partials, &mut norm)
        .unwrap();
    norm
}

fn check_norms<O: Ops<Elem = f32>>(ops: &mut O) {
    let mut of = |gradient: &[f32]| {
        let norm = norm(ops, gradient);
        ops.read(&norm).unwrap()
    };
    // Nothing to clip, and nothing to divide by.
    assert_eq!(of(&[0.0; 10]), [0.0, 1.0]);
    for small in [1e-40f32, 1e-25] {
        let [length, factor] = of(&[small; 10])[..] else {
            unreachable!()
        };
        // Squares below the smallest normal number may be lost: the norm by as much as their root.
        assert_near(
            "norm",
            length,
            10f64.sqrt() * f64::from(small),
            (10.0 * TINY).sqrt(),
        );
        assert_eq!(factor, 1.0);
    }
    let [length, factor] = of(&[1e18; 4])[..] else {
        unreachable!()
    };
    assert_near("norm", length, 2e18, 2e18 * (gamma(12) + 5.0 * U));
    assert_near(
        "factor",
        factor,
        0.125e-18,
        0.125e-18 * (gamma(12) + 11.0 * U),
    );
    // 2e20 is an f32, but its square is not: that shows.
    assert!(!of(&[1e20; 4])[0].is_finite());
}

on_each_device!(gradients_of_zero_and_of_any_size_are_clipped, check_norms);

/// A step by a gradient of zeros, clipped, by each rule without weight decay: the same bits.
fn check_no_gradient<O: Ops<Elem = f32>>(ops: &mut O) {
    // Twice the smallest normal number: subnormal weights may become 0.
    let weights = [1.0f32, -0.3, 3e38, -2.5e-38, 0.0];
    let zeros = [0.0; 5];
    let (gradient, norm) = (tensor(ops, &zeros), norm(ops, &zeros));
    let rate = tensor(
        ops,
        &[0.1, 0.1 / (1.0 - 0.9), 1.0 / (1.0f32 - 0.999).sqrt()],
    );
    let assert_same = |ops: &mut O, rule: &str, w: O::Tensor, state: &[&O::Tensor]| {
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(
            bits(ops.read(&w).unwrap()),
            bits(weights.to_vec()),
            "{rule}"
        );
        for state in state {
            assert_eq!(ops.read(state).unwrap(), zeros, "{rule}");
        }
    };
    let mut w = tensor(ops, &weights);
    ops.sgd(&mut [&mut w], &[&gradient], &rate, &norm).unwrap();
    assert_same(ops, "sgd", w, &[]);
    let (mut w, mut v) = (tensor(ops, &weights), tensor(ops, &zeros));
    let settings = Momentum {
        momentum: 0.9,
        weight_decay: 0.0,
        nesterov: true,
    };
    ops.momentum(
        &mut [&mut w],
        &mut [&mut v],
        &[&gradient],
        &rate,
        &norm,
        settings,
    )
    .unwrap();
    assert_same(ops, "momentum", w, &[&v]);
    let (mut w, mut m, mut v) = (
        tensor(ops, &weights),
        tensor(ops, &zeros),
        tensor(ops, &zeros),
    );
    let settings = Adam {
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.0,
        decoupled: true,
    };
    ops.adam(
        &mut [&mut w],
        [&mut [&mut m], &mut [&mut v]],
        &[&gradient],
        &rate,
        &norm,
        settings,
    )
    .unwrap();
    assert_same(ops, "adam", w, &[&m, &v]);
}

on_each_device!(no_gradient_changes_nothing_by_any_rule, check_no_gradient);

const SIZE: ModelSize = ModelSize {
    vocab: 11,
    embedding: 3,
    hidden: 6,
    batch: 4,
    time_steps: 5,
    biases: 1,
};

/// The mean loss and the gradients, by name, of a model whose parameters `value` gives.
fn model_at<O: Ops>(
    ops: &mut O,
    value: impl Fn(&str, usize) -> f32,
) -> (f64, Vec<(&'static str, Vec<f64>)>) {
    let mut model = RnnLm::new(ops, SIZE, false).unwrap();
    for parameter in model.parameters_mut() {
        let values = (0..parameter.len()).map(|i| f64::from(value(parameter.name, i)));
        let values: Vec<_> = values.map(O::Elem::from_f64).collect();
        ops.write(&mut parameter.value, 0, &values).unwrap();
    }
    let token = |i: usize| (i * i % 11) as u32;
    let inputs: Vec<u32> = (0..SIZE.rows()).map(token).collect();
    let targets: Vec<u32> = (1..=SIZE.rows()).map(token).collect();
    model.forward(ops, &inputs, &targets).unwrap();
    model.backward(ops).unwrap();
    let loss = ops.read(model.loss()).unwrap()[0].value();
    let read = |p: &bptt::model::Parameter<O>| {
        let gradient = ops.read(&p.gradient).unwrap();
        (p.name, gradient.into_iter().map(Element::value).collect())
    };
    (loss, model.parameters().map(read).collect())
}

/// Subnormal weights are as good as none: every token has the same probability.
fn check_subnormal_weights<O: Ops<Elem = f32>>(ops: &mut O) {
    let (loss, gradients) = model_at(ops, |_, i| if i.is_multiple_of(2) { 1e-40 } else { -1e-40 });
    let want = 11f64.ln();
    // The logarithm, a sum of 11 terms of exp 0, and a mean of 20 rows.
    let bound = log_absolute(11.0) + gamma(11) + 19.0 * 7.0 * U + 2.0 * U * want;
    assert!((loss - want).abs() <= bound + gamma(25) * want, "{loss}");
    let mut values = gradients.iter().flat_map(|(_, values)| values);
    assert!(values.all(|g| g.is_finite()));
}

on_each_device!(
    a_model_of_subnormal_weights_knows_nothing,
    check_subnormal_weights
);

/// With biases of ±1000 every hidden unit is ±1: nothing before them gets a gradient, and the loss
/// is that of the reference but for the roundings of the logits and of the row.
fn check_saturated_model<O: Ops<Elem = f32>>(ops: &mut O) {
    let value = |name: &str, i: usize| match name {
        "b" if i.is_multiple_of(2) => 1e3,
        "b" => -1e3,
        _ => ((i * 7 % 13) as f32 - 6.0) / 6.0,
    };
    let (want, exact) = model_at(&mut Cpu::<f64>::new(), value);
    let (loss, gradients) = model_at(ops, value);
    // Logits are sums of 7 terms of at most 1, so the distances in a row are at most 14.
    let logit = gamma(8) * 7.0;
    let row = 2.0 * exp_relative(14.0) + 19.0 * 7.0 * U + gamma(19) + log_absolute(11.0);
    let bound = 2.0 * logit + row + 2.0 * U * 17.0 + gamma(25) * want;
    assert!(
        (loss - want).abs() <= bound,
        "{loss}, expected {want} ± {bound:e}"
    );
    for ((name, got), (_, want)) in gradients.iter().zip(&exact) {
        let before = ["E", "Wx", "Wh", "b"].contains(name);
        for (got, want) in got.iter().zip(want) {
            if before {
                assert_eq!((*got, *want), (0.0, 0.0), "{name}");
            }
            // A mean of p − y times ±1, or of p − y: p errs relatively as the row does.
            let bound = bound + gamma(SIZE.rows() + 2);
            assert!(
                (got - want).abs() <= bound,
                "{name}: {got}, expected {want}"
            );
        }
    }
}

on_each_device!(
    a_saturated_model_has_the_loss_of_the_reference,
    check_saturated_model
);

fn corpus(folder: &Path, config: Config) -> (Config, Corpus) {
    let text = folder.join("text.txt");
    std::fs::write(&text, "the lamp is lit. ".repeat(60)).unwrap();
    let config = Config {
        data: vec![text],
        emsize: 4,
        nhid: 8,
        batch_size: 4,
        bptt: 8,
        log_interval: 1,
        epochs: 2,
        ..config
    };
    let corpus = Corpus::load(&config.source()).unwrap();
    (config, corpus)
}

/// Trains to the end, or to an error.
fn train<O: Ops<Elem = f32>>(ops: &mut O, trainer: &mut Trainer<'_, O>) -> Result<(), Error> {
    loop {
        match trainer.advance(ops, &mut || false)? {
            Advance::Finished | Advance::Stopped => return Ok(()),
            Advance::Event(_) | Advance::Save => {}
        }
    }
}

fn check_explosions<O: Ops<Elem = f32>>(ops: &mut O) {
    use OptimizerChoice::{Adam, Adamw, Momentum, Sgd};
    let folder = tempfile::tempdir().unwrap();
    for (optimizer, lr, clip) in [
        (Sgd, 1e30, 0.0),
        (Sgd, 1e30, 0.25),
        (Momentum, 1e30, 0.25),
        (Adam, 1e30, 0.25),
        (Adamw, 1e30, 0.0),
        (Sgd, 1e38, 2.0),
    ] {
        let config = Config {
            optimizer,
            lr,
            clip,
            ..Config::default()
        };
        let (config, corpus) = corpus(folder.path(), config);
        let mut trainer = Trainer::new(ops, &config, &corpus).unwrap();
        let error = train(ops, &mut trainer).unwrap_err();
        assert!(
            matches!(error, Error::Diverged { .. }),
            "{optimizer:?}: {error}"
        );
        // What is not a number is never saved.
        let saved = trainer.checkpoint(ops, &corpus.vocabulary);
        assert!(!saved.is_ok_and(|checkpoint| !checkpoint.weights.are_finite()));
    }
}

on_each_device!(
    a_learning_rate_that_explodes_is_reported_by_every_rule,
    check_explosions
);

/// E·Wx is as ever, but the gradient of E is beyond 1e19: its square is beyond f32, and clipping by
/// its norm would leave nothing of any gradient, without a word.
fn check_norm_beyond_f32<O: Ops<Elem = f32>>(ops: &mut O) {
    let folder = tempfile::tempdir().unwrap();
    for (factor, diverges) in [(1.0, false), (1e25f32, true)] {
        let (config, corpus) = corpus(folder.path(), Config::default());
        let mut trainer = Trainer::new(ops, &config, &corpus).unwrap();
        let mut checkpoint = trainer.checkpoint(ops, &corpus.vocabulary).unwrap();
        let size = config.model_size(corpus.vocabulary.len());
        let mut model = RnnLm::new(ops, size, true).unwrap();
        checkpoint.weights.put(ops, &mut model).unwrap();
        for parameter in model.parameters_mut() {
            let scale = match parameter.name {
                "E" => 1.0 / factor,
                "Wx" => factor,
                _ => 1.0,
            };
            let values = ops.read(&parameter.value).unwrap();
            let values: Vec<f32> = values.iter().map(|w| w * scale).collect();
            ops.write(&mut parameter.value, 0, &values).unwrap();
        }
        checkpoint.weights = Weights::of(ops, &model).unwrap();
        trainer.restore(ops, &checkpoint, folder.path()).unwrap();
        match train(ops, &mut trainer) {
            Ok(()) => assert!(!diverges),
            Err(Error::Diverged {
                loss,
                gradient_norm,
                ..
            }) => {
                assert!(diverges && loss.is_finite() && !gradient_norm.is_finite());
            }
            Err(error) => panic!("{error}"),
        }
    }
}

on_each_device!(
    a_gradient_whose_norm_is_beyond_f32_is_reported,
    check_norm_beyond_f32
);

/// Rows of which a software driver would end the loops too early, without a word.
#[test]
fn rows_that_a_software_adapter_does_not_read_whole_are_refused() {
    let Some(mut gpu) = gpu().filter(|gpu| gpu.is_software()) else {
        return;
    };
    let vocab = 8_000_001;
    let mut alloc = |name| gpu.alloc(Purpose::Scratch, name, vocab).unwrap();
    let (mut logits, mut probs, mut out) = (alloc("logits"), alloc("probs"), alloc("out"));
    let (labels, uniform) = (ids(&mut *gpu, &[0], vocab), tensor(&mut *gpu, &[0.5]));
    let mut one = tensor(&mut *gpu, &[0.0]);
    let chunk = RowChunk {
        first_row: 0,
        rows: 1,
        total_rows: 1,
        vocab,
    };
    let choice = Choice {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
    };
    let refused = [
        gpu.softmax(&logits, &mut probs, vocab, 1.0),
        gpu.softmax_backward(&logits, &probs, &mut out, vocab),
        gpu.softmax_cross_entropy(&mut logits, &labels, &mut one, chunk, true),
        gpu.sample(&logits, &uniform, &mut one, vocab, choice),
    ];
    for refused in refused {
        let operand = match &refused {
            Err(Error::Shape { operand, .. }) => *operand,
            _ => "",
        };
        assert_eq!(operand, "vocabulary", "{refused:?}");
    }
}

/// What f32 takes for 0 or for infinity would train nothing, clip nothing, or explode.
#[test]
fn rates_and_bounds_that_f32_cannot_hold_are_refused() {
    let check = |lr, clip| {
        let config = Config {
            lr,
            clip,
            ..Config::default()
        };
        config.check()
    };
    for (lr, clip) in [(1e-300, 0.25), (1e300, 0.25), (1.0, 1e-50), (1.0, 1e50)] {
        let refused = check(lr, clip);
        assert!(matches!(refused, Err(Error::Config { .. })), "{lr} {clip}");
    }
    for (lr, clip) in [(1e-30, 1e-30), (1e30, 1e30), (1.0, 0.0)] {
        check(lr, clip).unwrap();
    }
}

/// The comparison that all of this rests on fails for a number that is off, and for one that is none.
#[test]
fn what_is_beyond_its_bound_is_noticed() {
    for wrong in [1.0 + 3e-6, f32::NAN, f32::INFINITY] {
        let compared = std::panic::catch_unwind(|| assert_near("it", wrong, 1.0, 1e-6));
        assert!(compared.is_err(), "{wrong}");
    }
    assert_near("it", 1.0, 1.0, 0.0);
    // A naive log-sum-exp is none of ROWS' losses.
    let naive = |(logits, label): Row| {
        let sum: f32 = logits.iter().map(|a| a.exp()).sum();
        sum.ln() - logits[label as usize]
    };
    let (losses, exact) = (ROWS.map(naive), ROWS.map(Exact::new));
    let wrong = losses.iter().zip(&exact).take(6).filter(|(got, exact)| {
        // Also for NaN.
        let right = (f64::from(**got) - exact.loss).abs() <= exact.loss_bound;
        !right
    });
    assert_eq!(wrong.count(), 6);
}
