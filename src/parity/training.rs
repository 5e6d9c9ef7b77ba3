//! The whole training step against f64: loss and gradients after one step, losses of 200 steps.

use super::bounds::{TINY, U, log_absolute};
use super::report::OpReport;
use super::subject::Subject;
use crate::device::cpu::CpuTensor;
use crate::device::{Cpu, Device, Element};
use crate::error::Result;
use crate::model::parameters::specs;
use crate::model::{Init, ModelSize, RnnLm};
use crate::ops::Ops;
use crate::optimizer::Optimizer;

/// Sizes like those of real runs, small enough to check in seconds.
const SIZES: &[(&str, ModelSize)] = &[
    (
        "book",
        ModelSize {
            vocab: 418,
            embedding: 100,
            hidden: 100,
            batch: 10,
            time_steps: 5,
            biases: 1,
        },
    ),
    (
        "char",
        ModelSize {
            vocab: 65,
            embedding: 32,
            hidden: 96,
            batch: 8,
            time_steps: 32,
            biases: 1,
        },
    ),
    (
        "b + bh",
        ModelSize {
            vocab: 43,
            embedding: 12,
            hidden: 31,
            batch: 4,
            time_steps: 10,
            biases: 2,
        },
    ),
];

/// Steps of the loss curve.
const STEPS: usize = 200;
/// Different windows that the steps take in turn.
const WINDOWS: usize = 8;
/// Reference runs with errors of the permitted size, to see how training amplifies them.
const PERTURBED: u64 = 3;

/// Checks all sizes.
pub fn check<O: Subject>(device: &mut O, mut done: impl FnMut(OpReport)) -> Result<()> {
    for (name, size) in SIZES {
        let on_device = run(device, *size, |_, _| Ok(()))?;
        let exact = run(&mut Cpu::<f64>::new(), *size, |_, _| Ok(()))?;
        let mut perturbed = Vec::new();
        for seed in 0..PERTURBED {
            let mut noise = Noise::new(seed, *size);
            let errs = |cpu: &mut Cpu<f64>, model: &mut RnnLm<_>| noise.disturb(cpu, model);
            perturbed.push(run(&mut Cpu::<f64>::new(), *size, errs)?.losses);
        }
        done(compare_step(name, *size, &on_device, &exact));
        done(compare_curve(name, *size, &on_device, &exact, &perturbed));
    }
    Ok(())
}

/// Checks the loss and the gradients of one window, at any size, with weights of `seed`'s.
pub fn check_at<O: Subject>(device: &mut O, size: ModelSize, seed: u64) -> Result<OpReport> {
    let mut report = OpReport::new("model", "all");
    let got = step(device, size, seed, |_, _| Ok(()))?;
    let exact = |disturb: &mut dyn FnMut(&mut Cpu<f64>, &mut RnnLm<_>) -> Result<()>| {
        step(&mut Cpu::<f64>::new(), size, seed, disturb)
    };
    let want = exact(&mut |_, _| Ok(()))?;
    let mut disturbed = Vec::new();
    for noise in 0..PERTURBED {
        let mut noise = Noise::new(seed + noise, size);
        let relative = small_step_bound(size);
        disturbed.push(exact(&mut |cpu, model| {
            noise.disturb_values(cpu, model, relative)
        })?);
    }
    let terms = terms(size, seed)?;
    let bound = small_step_bound(size);
    let strayed = |error: &dyn Fn(&Course) -> f64| disturbed.iter().map(error).fold(0.0, f64::max);
    let (got_loss, want_loss) = (got.losses[0], want.losses[0]);
    let loss_strayed = strayed(&|course| (course.losses[0] - want_loss).abs());
    // A sum of exponentials near 1 has a logarithm that errs absolutely.
    let tolerance = bound * want_loss + log_absolute(1.0) + 4.0 * loss_strayed;
    report.cases = 1;
    report.compare(got_loss, want_loss, tolerance, || {
        format!("loss at {size:?}")
    });
    for (at, (name, want)) in want.gradients.iter().enumerate() {
        let strayed = strayed(&|course| distance(&course.gradients[at].1, want));
        let tolerance = bound * terms[at] + 4.0 * strayed + TINY * want.len() as f64;
        let (norm, error) = (norm(want), distance(&got.gradients[at].1, want));
        report.cases += 1;
        report.compare(norm + error, norm, tolerance, || {
            format!("gradient of {name}, by norm, at {size:?}")
        });
    }
    Ok(report.finish())
}

/// [`step_bound`] for any size: where sums are short, functions count. A time step has a tanh of
/// 14.5 u and 5 roundings on its way back; a row a maximum, an exp, a division and a logarithm, of
/// less than 40 u together.
fn small_step_bound(size: ModelSize) -> f64 {
    step_bound(size) + (20.0 * size.time_steps as f64 + 40.0) * U
}

/// Loss and gradients of the first window, after `disturb` has had the weights.
fn step<O: Ops>(
    ops: &mut O,
    size: ModelSize,
    seed: u64,
    disturb: impl FnOnce(&mut O, &mut RnnLm<O>) -> Result<()>,
) -> Result<Course> {
    let (inputs, targets) = window(size, 0);
    course_of(ops, size, seed, (&inputs, &targets), disturb)
}

fn course_of<O: Ops>(
    ops: &mut O,
    size: ModelSize,
    seed: u64,
    (inputs, targets): (&[u32], &[u32]),
    disturb: impl FnOnce(&mut O, &mut RnnLm<O>) -> Result<()>,
) -> Result<Course> {
    let mut model = RnnLm::new(ops, size, true)?;
    model.init(ops, seed)?;
    disturb(ops, &mut model)?;
    model.forward(ops, inputs, targets)?;
    model.backward(ops)?;
    let gradients = gradients(ops, &model)?;
    let losses = vec![model.take_loss_sum(ops)?];
    Ok(Course { gradients, losses })
}

/// For each parameter, the sum of the norms of the gradients that each single target gives: what
/// rounding errors are a share of, where such gradients cancel.
///
/// Streams are independent, and a target's gradient is what a window that ends with it has more
/// than one that ends before it.
fn terms(size: ModelSize, seed: u64) -> Result<Vec<f64>> {
    let (inputs, targets) = window(size, 0);
    let mut terms = vec![0.0; specs(&size).len()];
    for stream in 0..size.batch {
        let of = |tokens: &[u32], steps: usize| -> Vec<u32> {
            let tokens = tokens.iter().skip(stream).step_by(size.batch);
            tokens.take(steps).copied().collect()
        };
        let mut before: Vec<Vec<f64>> = Vec::new();
        for time_steps in 1..=size.time_steps {
            let size = ModelSize {
                batch: 1,
                time_steps,
                ..size
            };
            let (inputs, targets) = (of(&inputs, time_steps), of(&targets, time_steps));
            let cpu = &mut Cpu::<f64>::new();
            let course = course_of(cpu, size, seed, (&inputs, &targets), |_, _| Ok(()))?;
            let total = |(_, gradient): &(_, Vec<f64>)| -> Vec<f64> {
                gradient.iter().map(|g| g * time_steps as f64).collect()
            };
            let sums: Vec<Vec<f64>> = course.gradients.iter().map(total).collect();
            for (at, sum) in sums.iter().enumerate() {
                terms[at] += match before.get(at) {
                    Some(before) => distance(sum, before),
                    None => norm(sum),
                };
            }
            before = sums;
        }
    }
    let rows = size.rows() as f64;
    Ok(terms.into_iter().map(|term| term / rows).collect())
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn distance(x: &[f64], y: &[f64]) -> f64 {
    let squares = x.iter().zip(y).map(|(x, y)| (x - y) * (x - y));
    squares.sum::<f64>().sqrt()
}

fn gradients<O: Ops>(ops: &mut O, model: &RnnLm<O>) -> Result<Vec<(&'static str, Vec<f64>)>> {
    let mut gradients = Vec::new();
    for parameter in model.parameters() {
        let gradient = ops.read(&parameter.gradient)?;
        let gradient = gradient.into_iter().map(Element::value).collect();
        gradients.push((parameter.name, gradient));
    }
    Ok(gradients)
}

/// What a device came to.
struct Course {
    /// Every gradient after the first backward pass, by name.
    gradients: Vec<(&'static str, Vec<f64>)>,
    /// The loss of each step.
    losses: Vec<f64>,
}

/// Trains, and calls `disturb` between a step's gradients and its update.
fn run<O: Ops>(
    ops: &mut O,
    size: ModelSize,
    mut disturb: impl FnMut(&mut O, &mut RnnLm<O>) -> Result<()>,
) -> Result<Course> {
    let mut model = RnnLm::new(ops, size, true)?;
    model.init(ops, 1)?;
    let mut sgd = Optimizer::sgd(ops, &model, Some(0.25))?;
    sgd.set_rate(ops, 0.05)?;
    let mut course = Course {
        gradients: Vec::new(),
        losses: Vec::new(),
    };
    for step in 0..STEPS {
        let (inputs, targets) = window(size, step % WINDOWS);
        model.forward(ops, &inputs, &targets)?;
        model.backward(ops)?;
        if step == 0 {
            course.gradients = gradients(ops, &model)?;
        }
        disturb(ops, &mut model)?;
        sgd.step(ops, &mut model)?;
        ops.submit()?;
        course.losses.push(model.take_loss_sum(ops)?);
    }
    Ok(course)
}

/// The errors that an f32 device may make, as random numbers: each element of a gradient is off by
/// [`step_bound`], each weight by the rounding to f32.
struct Noise {
    seed: u64,
    stream: u64,
    relative: f64,
}

impl Noise {
    fn new(seed: u64, size: ModelSize) -> Self {
        Noise {
            seed,
            stream: 0,
            relative: step_bound(size),
        }
    }

    fn disturb(&mut self, cpu: &mut Cpu<f64>, model: &mut RnnLm<Cpu<f64>>) -> Result<()> {
        for parameter in model.parameters_mut() {
            self.scale(cpu, &mut parameter.gradient, self.relative)?;
            self.scale(cpu, &mut parameter.value, U)?;
        }
        Ok(())
    }

    /// Weights that are off by `relative`.
    fn disturb_values(
        &mut self,
        cpu: &mut Cpu<f64>,
        model: &mut RnnLm<Cpu<f64>>,
        relative: f64,
    ) -> Result<()> {
        for parameter in model.parameters_mut() {
            self.scale(cpu, &mut parameter.value, relative)?;
        }
        Ok(())
    }

    fn scale(
        &mut self,
        cpu: &mut Cpu<f64>,
        tensor: &mut CpuTensor<f64>,
        relative: f64,
    ) -> Result<()> {
        self.stream += 1;
        let mut values = cpu.read(tensor)?;
        let errors = Init::Normal(relative).values::<f64>(self.seed, self.stream, values.len());
        for (value, error) in values.iter_mut().zip(errors) {
            *value *= 1.0 + error;
        }
        cpu.write(tensor, 0, &values)
    }
}

/// A window of a text with a rule that can be learnt, and exceptions.
fn window(size: ModelSize, index: usize) -> (Vec<u32>, Vec<u32>) {
    let token = |row: usize| {
        let (t, n) = (row / size.batch + index * size.time_steps, row % size.batch);
        let exception = if (t * 7 + n) % 11 == 0 { t * t } else { 0 };
        ((t * 3 + n * 5 + exception) % size.vocab) as u32
    };
    let inputs = (0..size.rows()).map(token).collect();
    let targets = (size.batch..size.rows() + size.batch).map(token).collect();
    (inputs, targets)
}

/// Relative error of a whole step, by norm. Rounding errors are as good as independent, so over a
/// chain of L roundings they grow like √L (Higham, section 2.8); the longest chain goes through
/// every time step, the vocabulary and the rows. The factor 4 covers the constants.
fn step_bound(size: ModelSize) -> f64 {
    let forward = size.embedding + size.time_steps * size.hidden + size.vocab;
    let chain = 2 * forward + size.rows();
    4.0 * U * (chain as f64).sqrt()
}

fn compare_step(name: &str, size: ModelSize, device: &Course, exact: &Course) -> OpReport {
    let mut report = OpReport::new(&format!("training: {name}, first step"), "all");
    let bound = step_bound(size);
    let (got_loss, want_loss) = (device.losses[0], exact.losses[0]);
    report.cases = 1;
    report.compare(got_loss, want_loss, bound * want_loss, || "loss".to_owned());
    for ((parameter, got), (_, want)) in device.gradients.iter().zip(&exact.gradients) {
        let (norm, error) = (norm(want), distance(got, want));
        report.cases += 1;
        report.compare(norm + error, norm, bound * norm, || {
            format!("gradient of {parameter}, by norm")
        });
    }
    report.finish()
}

/// Errors feed back into later steps, and how much they grow depends on the course of training, not
/// on its length alone. So the reference itself is run with errors of the permitted size: the device
/// may stray from it 4 times as far as the farthest of such runs has by then.
fn compare_curve(
    name: &str,
    size: ModelSize,
    device: &Course,
    exact: &Course,
    perturbed: &[Vec<f64>],
) -> OpReport {
    let mut report = OpReport::new(&format!("training: {name}, {STEPS} losses"), "all");
    let mut strayed = 0.0f64;
    for (step, (&got, &want)) in device.losses.iter().zip(&exact.losses).enumerate() {
        for losses in perturbed {
            strayed = strayed.max((losses[step] - want).abs());
        }
        let bound = step_bound(size) * want + 4.0 * strayed;
        report.cases += 1;
        report.compare(got, want, bound, || format!("loss of step {step}"));
    }
    report.finish()
}
