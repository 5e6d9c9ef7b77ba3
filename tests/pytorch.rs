//! Losses, gradients and states against PyTorch's, at float64: `fixtures/make_pytorch.py` wrote them.

mod common;
#[path = "common/relative_error.rs"]
mod relative_error;

use std::collections::BTreeMap;

use bptt::device::{Cpu, Device, Element};
use bptt::model::{Init, ModelSize, RnnLm};
use bptt::ops::{Adam, Momentum, Ops};
use bptt::optimizer::{Optimizer, Rule};
use serde::Deserialize;

use relative_error::{norm, relative_error};

#[derive(Deserialize)]
struct Fixture {
    torch: String,
    cases: Vec<Case>,
}

#[derive(Deserialize, Clone)]
struct Case {
    name: String,
    size: Size,
    /// By our names, in our shapes.
    parameters: BTreeMap<String, Vec<f64>>,
    initial_state: Vec<f64>,
    /// N streams, time-major.
    streams: Vec<u32>,
    windows: Vec<Window>,
    trainings: Vec<Training>,
    updates: Vec<Updates>,
}

#[derive(Deserialize, Clone)]
struct Size {
    vocab: usize,
    embedding: usize,
    hidden: usize,
    batch: usize,
    time_steps: usize,
    biases: usize,
}

/// At the initial parameters; the second window starts from the state that the first one left.
#[derive(Deserialize, Clone)]
struct Window {
    loss: f64,
    /// Of the parameters, and of the window's initial state as "h_init".
    gradients: BTreeMap<String, Vec<f64>>,
    final_state: Vec<f64>,
}

/// One step a window from the initial parameters on; loss and gradient norm before each step.
#[derive(Deserialize, Clone)]
struct Training {
    rate: f64,
    max_norm: Option<f32>,
    losses: Vec<f64>,
    norms: Vec<f64>,
}

/// One step a window from the initial parameters on, by an optimizer of PyTorch's; loss before each.
#[derive(Deserialize, Clone)]
struct Updates {
    #[serde(flatten)]
    rule: UpdateRule,
    rate: f64,
    losses: Vec<f64>,
}

#[derive(Deserialize, Clone, Copy, Debug)]
#[serde(tag = "rule", rename_all = "lowercase")]
enum UpdateRule {
    Momentum {
        momentum: f64,
        weight_decay: f64,
        nesterov: bool,
    },
    Adam {
        beta1: f64,
        beta2: f64,
        eps: f64,
        weight_decay: f64,
        decoupled: bool,
    },
}

impl From<UpdateRule> for Rule {
    fn from(rule: UpdateRule) -> Rule {
        match rule {
            UpdateRule::Momentum {
                momentum,
                weight_decay,
                nesterov,
            } => Rule::Momentum(Momentum {
                momentum,
                weight_decay,
                nesterov,
            }),
            UpdateRule::Adam {
                beta1,
                beta2,
                eps,
                weight_decay,
                decoupled,
            } => Rule::Adam(Adam {
                beta1,
                beta2,
                eps,
                weight_decay,
                decoupled,
            }),
        }
    }
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/pytorch.json")).unwrap()
}

impl Case {
    fn size(&self) -> ModelSize {
        let Size {
            vocab,
            embedding,
            hidden,
            batch,
            time_steps,
            biases,
        } = self.size;
        ModelSize {
            vocab,
            embedding,
            hidden,
            batch,
            time_steps,
            biases,
        }
    }

    /// Inputs and targets of one window.
    fn window(&self, index: usize) -> (&[u32], &[u32]) {
        let (rows, batch) = (self.size().rows(), self.size.batch);
        let inputs = index * rows..(index + 1) * rows;
        let targets = inputs.start + batch..inputs.end + batch;
        (&self.streams[inputs], &self.streams[targets])
    }

    /// The model with the fixture's parameters and initial state.
    fn model<O: Ops>(&self, ops: &mut O) -> RnnLm<O> {
        let mut model = RnnLm::new(ops, self.size(), true).unwrap();
        for parameter in model.parameters_mut() {
            let values = elements(&self.parameters[parameter.name]);
            ops.write(&mut parameter.value, 0, &values).unwrap();
        }
        let state = elements(&self.initial_state);
        model.rnn.set_state(ops, &state).unwrap();
        model
    }

    /// The relative error, by norm, that a device with the unit roundoff `u` may have against a
    /// reference rounded at float64.
    ///
    /// Rounding errors are as good as independent, so over a chain of L roundings they grow like
    /// √L (Higham, Accuracy and Stability of Numerical Algorithms, section 2.8). The longest chain
    /// goes forward through every time step of both windows and the vocabulary, back again, and
    /// over the rows. The factor 4 covers the constants.
    fn bound(&self, u: f64) -> f64 {
        let size = self.size();
        let forward = size.embedding + 2 * size.time_steps * size.hidden + size.vocab;
        let chain = 2 * forward + size.rows();
        4.0 * (u + F64_ROUNDOFF) * (chain as f64).sqrt()
    }

    fn parameters_norm(&self) -> f64 {
        let all: Vec<f64> = self.parameters.values().flatten().copied().collect();
        norm(&all)
    }
}

impl Training {
    /// How far a device may be from each loss, which it computes to the relative error `bound`.
    ///
    /// By step k its weights are off by the errors of all updates before, rate·bound·‖g‖, and of
    /// their roundings, u·‖w‖; and that moves the loss by up to ‖g_k‖ times as much. (Gradient
    /// descent at a stable rate does not amplify these errors, but along directions of negative
    /// curvature, which 20 steps hardly follow.) The clip only shortens updates.
    fn bounds(&self, bound: f64, u: f64, weights: f64) -> Vec<f64> {
        let mut strayed = 0.0;
        let steps = self.losses.iter().zip(&self.norms);
        let bound_of = |(loss, norm): (&f64, &f64)| {
            let allowed = bound * loss + norm * strayed;
            strayed += self.rate * bound * norm + u * weights;
            allowed
        };
        steps.map(bound_of).collect()
    }
}

const F64_ROUNDOFF: f64 = f64::EPSILON / 2.0;

fn elements<F: Element>(values: &[f64]) -> Vec<F> {
    values.iter().map(|&x| F::from_f64(x)).collect()
}

fn values<F: Element>(elements: Vec<F>) -> Vec<f64> {
    elements.into_iter().map(F::value).collect()
}

/// Quantities that are further off than they may be, in words.
#[derive(Default)]
struct Disagreements(Vec<String>);

impl Disagreements {
    fn check(&mut self, what: &str, error: f64, bound: f64) {
        if error.is_nan() || error > bound {
            self.0
                .push(format!("{what}: off by {error:e}, may be {bound:e}"));
        }
    }
}

fn assert_agrees<O: Ops>(ops: &mut O) {
    let fixture = fixture();
    let mut found = Disagreements::default();
    for case in &fixture.cases {
        compare_windows(ops, case, &mut found);
        for training in &case.trainings {
            compare_training(ops, case, training, &mut found);
        }
        for updates in &case.updates {
            compare_updates(ops, case, updates, updates.rule.into(), &mut found);
        }
    }
    let (torch, device, found) = (fixture.torch, ops.describe(), found.0);
    assert!(found.is_empty(), "PyTorch {torch}, {device}: {found:#?}");
}

fn compare_windows<O: Ops>(ops: &mut O, case: &Case, found: &mut Disagreements) {
    let mut model = case.model(ops);
    let bound = case.bound(unit_roundoff::<O::Elem>());
    for (index, window) in case.windows.iter().enumerate() {
        let mut compare = |quantity: &str, got: &[f64], want: &[f64]| {
            let what = format!("{}, window {index}, {quantity}", case.name);
            found.check(&what, relative_error(got, want), bound);
        };
        let (inputs, targets) = case.window(index);
        model.forward(ops, inputs, targets).unwrap();
        model.backward(ops).unwrap();
        let loss = ops.read(model.loss()).unwrap()[0].value();
        compare("loss", &[loss], &[window.loss]);
        for parameter in model.parameters() {
            let gradient = values(ops.read(&parameter.gradient).unwrap());
            compare(parameter.name, &gradient, &window.gradients[parameter.name]);
        }
        let dstate = values(model.rnn.initial_state_gradient(ops).unwrap());
        compare("h_init", &dstate, &window.gradients["h_init"]);
        let state = values(model.rnn.final_state(ops).unwrap());
        compare("final state", &state, &window.final_state);
    }
}

fn compare_training<O: Ops>(
    ops: &mut O,
    case: &Case,
    training: &Training,
    found: &mut Disagreements,
) {
    let mut model = case.model(ops);
    let mut sgd = Optimizer::sgd(ops, &model, training.max_norm).unwrap();
    sgd.set_rate(ops, training.rate).unwrap();
    let u = unit_roundoff::<O::Elem>();
    let bounds = training.bounds(case.bound(u), u, case.parameters_norm());
    for (step, (want, bound)) in training.losses.iter().zip(bounds).enumerate() {
        let (inputs, targets) = case.window(step);
        model.forward(ops, inputs, targets).unwrap();
        model.backward(ops).unwrap();
        sgd.step(ops, &mut model).unwrap();
        ops.submit().unwrap();
        let loss = model.take_loss_sum(ops).unwrap();
        let clip = training.max_norm;
        let what = format!("{}, clip {clip:?}, loss of step {step}", case.name);
        found.check(&what, (loss - want).abs(), bound);
    }
}

/// An update by the root of a mean of squares may amplify errors of gradients near zero, so the
/// course itself is run with errors of the permitted size: the device may stray 4 times as far as
/// the farthest of three such runs has by then, and err in the loss.
fn compare_updates<O: Ops>(
    ops: &mut O,
    case: &Case,
    updates: &Updates,
    rule: Rule,
    found: &mut Disagreements,
) {
    let u = unit_roundoff::<O::Elem>();
    let bound = case.bound(u);
    let got = course(ops, case, updates, rule, |_, _| ());
    let mut cpu = Cpu::<f64>::new();
    let exact = course(&mut cpu, case, updates, updates.rule.into(), |_, _| ());
    let disturbed: Vec<_> = (0..3)
        .map(|seed| {
            let mut stream = 0;
            course(
                &mut cpu,
                case,
                updates,
                updates.rule.into(),
                |cpu, model| {
                    disturb(cpu, model, [bound, u + F64_ROUNDOFF], seed, &mut stream);
                },
            )
        })
        .collect();
    let mut strayed = 0.0f64;
    for (step, want) in updates.losses.iter().enumerate() {
        let off = disturbed
            .iter()
            .map(|losses| (losses[step] - exact[step]).abs());
        strayed = off.fold(strayed, f64::max);
        let what = format!("{}, {:?}, loss of step {step}", case.name, updates.rule);
        let error = (got[step] - want).abs();
        found.check(&what, error, bound * want + 4.0 * strayed);
    }
}

/// The losses of training; `disturb` is called between a step's gradients and its update.
fn course<O: Ops>(
    ops: &mut O,
    case: &Case,
    updates: &Updates,
    rule: Rule,
    mut disturb: impl FnMut(&mut O, &mut RnnLm<O>),
) -> Vec<f64> {
    let mut model = case.model(ops);
    let mut optimizer = Optimizer::new(ops, &model, rule, None).unwrap();
    let mut step = |index| {
        let (inputs, targets) = case.window(index);
        optimizer.set_rate(ops, updates.rate).unwrap();
        model.forward(ops, inputs, targets).unwrap();
        model.backward(ops).unwrap();
        disturb(ops, &mut model);
        optimizer.step(ops, &mut model).unwrap();
        ops.submit().unwrap();
        model.take_loss_sum(ops).unwrap()
    };
    (0..updates.losses.len()).map(&mut step).collect()
}

/// Adds random errors: to gradients of a norm of `relative[0]` of theirs, to each weight of
/// `relative[1]` of it. Gradients that are zero, of tokens that do not occur, are so on any device.
fn disturb(
    cpu: &mut Cpu<f64>,
    model: &mut RnnLm<Cpu<f64>>,
    relative: [f64; 2],
    seed: u64,
    stream: &mut u64,
) {
    for parameter in model.parameters_mut() {
        let mut gradient = cpu.read(&parameter.gradient).unwrap();
        let each = relative[0] * norm(&gradient) / (gradient.len() as f64).sqrt();
        let mut weights = cpu.read(&parameter.value).unwrap();
        let mut errors = |size: f64| {
            *stream += 1;
            Init::Normal(size).values::<f64>(seed, *stream, weights.len())
        };
        let (of_gradient, of_weights) = (errors(each), errors(relative[1]));
        for (g, error) in gradient.iter_mut().zip(of_gradient) {
            *g += if *g == 0.0 { 0.0 } else { error };
        }
        for (w, error) in weights.iter_mut().zip(of_weights) {
            *w *= 1.0 + error;
        }
        cpu.write(&mut parameter.gradient, 0, &gradient).unwrap();
        cpu.write(&mut parameter.value, 0, &weights).unwrap();
    }
}

fn unit_roundoff<F: Element>() -> f64 {
    F::epsilon().value() / 2.0
}

#[test]
fn the_f64_cpu_agrees() {
    assert_agrees(&mut Cpu::<f64>::new());
}

#[test]
fn the_f32_cpu_agrees() {
    assert_agrees(&mut Cpu::<f32>::new());
}

#[test]
fn the_gpu_agrees() {
    if let Some(mut gpu) = common::gpu() {
        assert_agrees(&mut *gpu);
    }
}

/// The input layer has two orders, by size.
#[test]
fn the_fixture_takes_the_input_layer_in_both_orders() {
    let mut cpu = Cpu::<f64>::new();
    let models = fixture().cases.into_iter().map(|case| case.model(&mut cpu));
    let orders: Vec<bool> = models.map(|m| m.input.order.is_project_first()).collect();
    assert!(orders.contains(&true) && orders.contains(&false));
}

/// The clip must take effect in the runs that have one, or they would show nothing of it.
#[test]
fn the_fixture_clips() {
    let fixture = fixture();
    let clipped = fixture.cases.iter().flat_map(|case| &case.trainings);
    let clipped = clipped.filter_map(|t| Some((t.max_norm?, &t.norms)));
    for (max_norm, norms) in clipped {
        assert!(norms.iter().all(|&norm| norm > f64::from(max_norm)));
    }
}

/// One value off by 1e-9 of its tensor's norm is not agreed with.
#[test]
fn a_value_that_is_slightly_off_is_rejected() {
    assert_eq!(disagreements_after(|_| ()), 0);
    assert_eq!(disagreements_after(|window| window.loss *= 1.0 + 1e-9), 1);
    assert_eq!(
        disagreements_after(|window| spoil(&mut window.final_state)),
        1
    );
    for name in fixture().cases[0].windows[1].gradients.keys() {
        let found = disagreements_after(|w| spoil(w.gradients.get_mut(name).unwrap()));
        assert_eq!(found, 1, "{name}");
    }
}

/// Every setting of every rule counts: with one slightly off, the losses are not agreed with.
#[test]
fn a_setting_that_is_slightly_off_is_rejected() {
    let case = fixture().cases.remove(0);
    for updates in &case.updates {
        let right = Rule::from(updates.rule);
        assert_eq!(update_disagreements(&case, updates, right), 0);
        for wrong in wrong_settings(right) {
            let found = update_disagreements(&case, updates, wrong);
            assert!(found > 0, "{wrong:?} is taken for {right:?}");
        }
    }
}

fn update_disagreements(case: &Case, updates: &Updates, rule: Rule) -> usize {
    let mut found = Disagreements::default();
    let cpu = &mut Cpu::<f64>::new();
    compare_updates(cpu, case, updates, rule, &mut found);
    found.0.len()
}

/// The rule with one setting off, for each setting.
fn wrong_settings(right: Rule) -> Vec<Rule> {
    const OFF: f64 = 1e-6;
    match right {
        Rule::Sgd => vec![],
        Rule::Momentum(right) => {
            let (mut momentum, mut decay, mut nesterov) = (right, right, right);
            momentum.momentum += OFF;
            decay.weight_decay += OFF;
            nesterov.nesterov = !right.nesterov;
            [momentum, decay, nesterov].map(Rule::Momentum).to_vec()
        }
        Rule::Adam(right) => {
            let [mut beta1, mut beta2, mut eps, mut decay] = [right; 4];
            beta1.beta1 += OFF;
            beta2.beta2 += OFF;
            eps.eps *= 1.1;
            decay.weight_decay += OFF;
            let mut all = vec![beta1, beta2, eps, decay];
            if right.weight_decay > 0.0 {
                all.push(Adam {
                    decoupled: !right.decoupled,
                    ..right
                });
            }
            all.into_iter().map(Rule::Adam).collect()
        }
        other => panic!("{other:?} has no fixture"),
    }
}

/// The sum of two biases is the same model, but is not trained as two are.
#[test]
fn one_bias_for_two_computes_the_same_and_trains_otherwise() {
    let cases = fixture().cases.into_iter();
    let two = cases
        .filter(|case| case.size.biases == 2)
        .collect::<Vec<_>>();
    assert!(!two.is_empty());
    for two in two {
        let mut one = two.clone();
        one.size.biases = 1;
        let second = &two.parameters["bh"];
        let sum = one.parameters.get_mut("b").unwrap().iter_mut().zip(second);
        sum.for_each(|(b, bh)| *b += bh);
        let cpu = &mut Cpu::<f64>::new();
        let mut found = Disagreements::default();
        compare_windows(cpu, &one, &mut found);
        assert_eq!(found.0, [""; 0]);
        for training in &one.trainings {
            compare_training(cpu, &one, training, &mut found);
            assert!(!found.0.is_empty(), "clip {:?}", training.max_norm);
            found.0.clear();
        }
        for updates in &one.updates {
            let found = update_disagreements(&one, updates, updates.rule.into());
            assert!(found > 0, "{:?}", updates.rule);
        }
    }
}

fn disagreements_after(spoil: impl Fn(&mut Window)) -> usize {
    let mut case = fixture().cases.remove(0);
    spoil(&mut case.windows[1]);
    let mut found = Disagreements::default();
    compare_windows(&mut Cpu::<f64>::new(), &case, &mut found);
    found.0.len()
}

fn spoil(values: &mut [f64]) {
    values[0] += 1e-9 * norm(values);
}
