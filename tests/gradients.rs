//! Every gradient against central differences of the loss, at f64.

#[path = "common/case.rs"]
mod case;
#[path = "common/finite_differences.rs"]
mod finite_differences;
#[path = "common/relative_error.rs"]
mod relative_error;

use bptt::device::cpu::CpuTensor;
use bptt::device::{Cpu, Device, Purpose};
use bptt::model::{
    Affine, CeLoss, Init, Input, ModelSize, Order, Parameter, Softmax, SoftmaxCeLoss,
};
use bptt::ops::{Matrix, Ops, Write};

use case::{Case, tokens};
use finite_differences::{TOLERANCE, derivative_along, gradient};
use relative_error::relative_error;

const fn size(
    vocab: usize,
    embedding: usize,
    hidden: usize,
    batch: usize,
    time_steps: usize,
) -> ModelSize {
    ModelSize {
        vocab,
        embedding,
        hidden,
        batch,
        time_steps,
        biases: 1,
    }
}

const fn with_two_biases(size: ModelSize) -> ModelSize {
    ModelSize { biases: 2, ..size }
}

/// With repeated and with missing tokens, single streams, single steps, the smallest vocabulary, one
/// bias and two; the input layer in both of its orders.
const SIZES: [ModelSize; 9] = [
    size(7, 3, 5, 2, 4),
    size(2, 3, 4, 3, 5),
    size(5, 4, 3, 1, 1),
    size(3, 1, 1, 1, 6),
    size(11, 2, 6, 4, 1),
    size(4, 6, 7, 5, 9),
    size(13, 3, 4, 2, 6),
    with_two_biases(size(7, 3, 5, 2, 4)),
    with_two_biases(size(13, 3, 4, 2, 6)),
];

fn assert_gradient(name: &str, analytic: &[f64], numeric: &[f64]) {
    let error = relative_error(numeric, analytic);
    assert!(
        error <= TOLERANCE,
        "gradient of {name}: relative error {error:e}"
    );
}

/// Every element of every gradient of the case's window.
fn assert_gradients(case: &mut Case, analytic: &[Vec<f64>]) {
    let variables = case.variables();
    assert_eq!(analytic.len(), variables.len());
    for (variable, analytic) in analytic.iter().enumerate() {
        let numeric = gradient(&case.value(variable), |x| case.loss_at(variable, x));
        let name = format!("{} at {:?}", variables[variable], case.model.size());
        assert_gradient(&name, analytic, &numeric);
    }
}

#[test]
fn every_element_of_every_gradient_of_the_model() {
    let mut project_first = Vec::new();
    for size in SIZES {
        let mut case = Case::new(size);
        let analytic = case.gradients();
        assert_gradients(&mut case, &analytic);
        project_first.push(case.model.input.order.is_project_first());
    }
    assert!(project_first.contains(&true) && project_first.contains(&false));
}

/// Chunks of one row, of several with a rest, and larger than the window.
#[test]
fn the_output_layer_in_chunks_of_rows() {
    for chunk_rows in [1, 3, 8, 100] {
        let mut case = Case::with_chunk_rows(SIZES[0], Some(chunk_rows));
        let analytic = case.gradients();
        assert_gradients(&mut case, &analytic);
    }
}

/// The state that the first window leaves is a constant to the second: no gradient flows back.
#[test]
fn the_second_of_two_stateful_windows() {
    for size in SIZES {
        let mut case = Case::new(size);
        case.gradients();
        case.state = case.model.rnn.final_state(&mut case.cpu).unwrap();
        case.inputs = tokens(size, size.time_steps);
        case.targets = tokens(size, size.time_steps + 1);
        case.forward();
        let analytic = case.backward();
        assert_gradients(&mut case, &analytic);
    }
}

/// The relative error that derivatives along directions may have at the sizes of real runs. A loss
/// f = 4 carries the rounding errors of 64 time steps: √64·ε·f/h = 1.2e-9. The derivatives in the
/// initial state, which only the first time steps feel, are the smallest, 5e-3 by norm: a quotient
/// of 2.4e-7, and four times that for the constants.
const TOLERANCE_ALONG: f64 = 1e-6;

/// At the sizes of real runs: the derivative of the loss along random directions.
fn assert_along_directions(size: ModelSize, directions: u64) {
    let mut case = Case::new(size);
    let analytic = case.gradients();
    for (variable, analytic) in analytic.iter().enumerate() {
        let value = case.value(variable);
        let mut loss = |x: &[f64]| case.loss_at(variable, x);
        let random = |seed| Init::Normal(1.0).values(seed, variable as u64, value.len());
        let directions: Vec<Vec<f64>> = (0..directions).map(random).collect();
        let numeric: Vec<f64> = directions
            .iter()
            .map(|d| derivative_along(&value, d, &mut loss))
            .collect();
        let analytic: Vec<f64> = directions.iter().map(|d| dot(analytic, d)).collect();
        let error = relative_error(&numeric, &analytic);
        let name = case.variables()[variable];
        assert!(error <= TOLERANCE_ALONG, "{name}: relative error {error:e}");
    }
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

#[test]
fn along_directions_at_the_size_of_the_book() {
    assert_along_directions(size(418, 100, 100, 10, 5), 8);
}

#[test]
fn along_directions_at_the_size_of_a_character_model() {
    assert_along_directions(size(65, 64, 256, 32, 64), 3);
}

/// A device, and tensors of N(0, 1) numbers on it.
struct Layer {
    cpu: Cpu<f64>,
    stream: u64,
}

impl Layer {
    fn new() -> Self {
        Layer {
            cpu: Cpu::new(),
            stream: 0,
        }
    }

    fn random(&mut self, len: usize) -> Vec<f64> {
        self.stream += 1;
        Init::Normal(1.0).values(2, self.stream, len)
    }

    fn tensor(&mut self, values: &[f64]) -> CpuTensor<f64> {
        let mut tensor = self.zeros(values.len());
        self.cpu.write(&mut tensor, 0, values).unwrap();
        tensor
    }

    fn zeros(&mut self, len: usize) -> CpuTensor<f64> {
        self.cpu.alloc(Purpose::Scratch, "test", len).unwrap()
    }
}

// Each layer alone: the loss is upstream·out, with a random upstream gradient.

#[test]
fn affine() {
    let (rows, input, output) = (5, 4, 3);
    let mut layer = Layer::new();
    let shapes = [("Wa", (input, output)), ("ba", (1, output))];
    let [weights, bias] = Parameter::group(&mut layer.cpu, shapes).unwrap();
    let mut affine = Affine {
        w: weights,
        b: bias,
    };
    let [x, w, b, upstream] =
        [rows * input, input * output, output, rows * output].map(|n| layer.random(n));
    let mut out = layer.zeros(rows * output);
    let shape = Matrix::new(rows, input);
    let mut loss = |x: &[f64], w: &[f64], b: &[f64]| {
        let x = layer.tensor(x);
        layer.cpu.write(&mut affine.w.value, 0, w).unwrap();
        layer.cpu.write(&mut affine.b.value, 0, b).unwrap();
        affine
            .forward(&mut layer.cpu, (&x, shape), &mut out)
            .unwrap();
        dot(&upstream, out.as_slice())
    };
    let numeric_x = gradient(&x, |x| loss(x, &w, &b));
    let numeric_w = gradient(&w, |w| loss(&x, w, &b));
    let numeric_b = gradient(&b, |b| loss(&x, &w, b));
    loss(&x, &w, &b);
    let (x, dout) = (layer.tensor(&x), layer.tensor(&upstream));
    let mut dx = layer.zeros(rows * input);
    affine
        .backward(
            &mut layer.cpu,
            (&x, shape),
            &dout,
            (&mut dx, shape),
            Write::Overwrite,
        )
        .unwrap();
    assert_gradient("x", dx.as_slice(), &numeric_x);
    assert_gradient("W", affine.w.gradient.as_slice(), &numeric_w);
    assert_gradient("b", affine.b.gradient.as_slice(), &numeric_b);
}

#[test]
fn input_with_repeated_and_missing_tokens_in_both_orders() {
    assert!(input_with(5).is_project_first());
    assert!(!input_with(8).is_project_first());
}

/// Checks the input layer for six tokens of a vocabulary of `vocab`, and says in which order it was.
fn input_with(vocab: usize) -> Order<Cpu<f64>> {
    let (dim, hidden, ids) = (3, 4, [1, 4, 1, 0, 1, 4]);
    let z_shape = Matrix::new(ids.len(), hidden);
    let mut layer = Layer::new();
    let lengths = [vocab * dim, dim * hidden, hidden, ids.len() * hidden];
    let [table, wx, b, upstream] = lengths.map(|n| layer.random(n));
    let (mut z, dz) = (layer.zeros(upstream.len()), layer.tensor(&upstream));
    let cpu = &mut layer.cpu;
    let shapes = [
        ("E", (vocab, dim)),
        ("Wx", (dim, hidden)),
        ("b", (1, hidden)),
    ];
    let parameters = Parameter::group(cpu, shapes).unwrap();
    let mut input = Input::new(cpu, parameters, None, ids.len()).unwrap();
    let mut indexed = cpu.alloc_ids("ids", ids.len(), vocab, true).unwrap();
    cpu.write_ids(&mut indexed, &ids).unwrap();
    let mut loss = |input: &mut Input<_>, table: &[f64], wx: &[f64], b: &[f64]| {
        cpu.write(&mut input.table.value, 0, table).unwrap();
        cpu.write(&mut input.wx.value, 0, wx).unwrap();
        cpu.write(&mut input.b.value, 0, b).unwrap();
        input.forward(cpu, &indexed, (&mut z, z_shape)).unwrap();
        dot(&upstream, z.as_slice())
    };
    let numeric_table = gradient(&table, |table| loss(&mut input, table, &wx, &b));
    let numeric_wx = gradient(&wx, |wx| loss(&mut input, &table, wx, &b));
    let numeric_b = gradient(&b, |b| loss(&mut input, &table, &wx, b));
    loss(&mut input, &table, &wx, &b);
    input.backward(cpu, &indexed, (&dz, z_shape)).unwrap();
    assert_gradient("E", input.table.gradient.as_slice(), &numeric_table);
    assert_gradient("Wx", input.wx.gradient.as_slice(), &numeric_wx);
    assert_gradient("b", input.b.gradient.as_slice(), &numeric_b);
    input.order
}

#[test]
fn tanh() {
    let mut layer = Layer::new();
    let [x, upstream] = [20, 20].map(|n| layer.random(n));
    let (mut y, mut dx) = (layer.zeros(20), layer.zeros(20));
    let numeric = gradient(&x, |x| {
        let x = layer.tensor(x);
        layer.cpu.tanh(&x, &mut y).unwrap();
        dot(&upstream, y.as_slice())
    });
    let (x, dy) = (layer.tensor(&x), layer.tensor(&upstream));
    layer.cpu.tanh(&x, &mut y).unwrap();
    layer.cpu.tanh_backward(&y, &dy, &mut dx).unwrap();
    assert_gradient("x", dx.as_slice(), &numeric);
}

const ROWS: usize = 6;
const VOCAB: usize = 5;
const LABELS: [u32; ROWS] = [4, 0, 2, 2, 1, 4];

fn labels(cpu: &mut Cpu<f64>) -> <Cpu<f64> as Device>::Ids {
    let mut labels = cpu.alloc_ids("labels", ROWS, VOCAB, false).unwrap();
    cpu.write_ids(&mut labels, &LABELS).unwrap();
    labels
}

#[test]
fn softmax() {
    let mut layer = Layer::new();
    let [logits, upstream] = [ROWS * VOCAB; 2].map(|n| layer.random(n));
    let mut softmax = Softmax::new(&mut layer.cpu, ROWS, VOCAB).unwrap();
    let forward = |layer: &mut Layer, softmax: &mut Softmax<_>, logits: &[f64]| {
        let logits = layer.tensor(logits);
        softmax.forward(&mut layer.cpu, &logits, 1.0).unwrap();
        dot(&upstream, softmax.probs.as_slice())
    };
    let numeric = gradient(&logits, |x| forward(&mut layer, &mut softmax, x));
    forward(&mut layer, &mut softmax, &logits);
    let (dprobs, mut dlogits) = (layer.tensor(&upstream), layer.zeros(ROWS * VOCAB));
    softmax
        .backward(&mut layer.cpu, &dprobs, &mut dlogits)
        .unwrap();
    assert_gradient("logits", dlogits.as_slice(), &numeric);
}

/// Probabilities as free variables: the loss does not need them to sum to one.
#[test]
fn cross_entropy() {
    let mut layer = Layer::new();
    let probs: Vec<f64> = layer
        .random(ROWS * VOCAB)
        .iter()
        .map(|x| 0.1 + x.abs())
        .collect();
    let labels = labels(&mut layer.cpu);
    let mut ce = CeLoss::new(&mut layer.cpu, ROWS, VOCAB).unwrap();
    let forward = |layer: &mut Layer, ce: &mut CeLoss<_>, probs: &[f64]| {
        let probs = layer.tensor(probs);
        ce.forward(&mut layer.cpu, &probs, &labels).unwrap();
        ce.loss.as_slice()[0]
    };
    let numeric = gradient(&probs, |x| forward(&mut layer, &mut ce, x));
    forward(&mut layer, &mut ce, &probs);
    assert_gradient("probs", ce.dprobs.as_slice(), &numeric);
}

/// dlogits by the chain of the two layers, by the fused one, and by central differences.
#[test]
fn softmax_and_cross_entropy_apart_and_fused() {
    let mut layer = Layer::new();
    let logits = layer.random(ROWS * VOCAB);
    let labels = labels(&mut layer.cpu);
    let mut fused = SoftmaxCeLoss::new(&mut layer.cpu, ROWS, VOCAB).unwrap();
    let numeric = gradient(&logits, |x| {
        fused_loss(&mut layer, &mut fused, &labels, x).0
    });
    let (loss, dlogits) = fused_loss(&mut layer, &mut fused, &labels, &logits);
    assert_gradient("logits, fused", &dlogits, &numeric);

    let cpu = &mut layer.cpu;
    let mut softmax = Softmax::new(cpu, ROWS, VOCAB).unwrap();
    let mut ce = CeLoss::new(cpu, ROWS, VOCAB).unwrap();
    let (logits, mut chained) = (layer.tensor(&logits), layer.zeros(ROWS * VOCAB));
    let cpu = &mut layer.cpu;
    softmax.forward(cpu, &logits, 1.0).unwrap();
    ce.forward(cpu, &softmax.probs, &labels).unwrap();
    softmax.backward(cpu, &ce.dprobs, &mut chained).unwrap();
    // Both are exact but for a few dozen roundings of 1.1e-16.
    assert!(relative_error(&[ce.loss.as_slice()[0]], &[loss]) < 1e-14);
    assert!(relative_error(chained.as_slice(), &dlogits) < 1e-14);
}

fn fused_loss(
    layer: &mut Layer,
    fused: &mut SoftmaxCeLoss<Cpu<f64>>,
    labels: &<Cpu<f64> as Device>::Ids,
    logits: &[f64],
) -> (f64, Vec<f64>) {
    let mut logits = layer.tensor(logits);
    fused
        .chunk(&mut layer.cpu, &mut logits, labels, (0, ROWS), true)
        .unwrap();
    fused.mean(&mut layer.cpu).unwrap();
    (fused.loss.as_slice()[0], logits.as_slice().to_vec())
}

/// The same comparison must reject gradients that are slightly wrong.
#[test]
fn wrong_gradients_are_rejected() {
    let mut case = Case::new(with_two_biases(SIZES[0]));
    let analytic = case.gradients();
    let names = case.variables();
    for (variable, right) in analytic.iter().enumerate() {
        let numeric = gradient(&case.value(variable), |x| case.loss_at(variable, x));
        let rejected = |wrong: &[f64]| relative_error(&numeric, wrong) > TOLERANCE;
        assert!(!rejected(right));

        let scaled: Vec<f64> = right.iter().map(|g| g * 1.001).collect();
        assert!(rejected(&scaled), "{} scaled", names[variable]);

        for element in (0..right.len()).filter(|&i| right[i] != 0.0) {
            let mut negated = right.clone();
            negated[element] = -right[element];
            assert!(rejected(&negated), "{} at {element}", names[variable]);
        }
    }
}
