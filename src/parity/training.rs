//! The whole training step against f64: loss and gradients after one step, losses of 200 steps.

use super::bounds::U;
use super::report::OpReport;
use super::subject::Subject;
use crate::device::cpu::CpuTensor;
use crate::device::{Cpu, Device, Element};
use crate::error::Result;
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
pub fn check<O: Subject>(device: &mut O) -> Result<Vec<OpReport>> {
    let mut reports = Vec::new();
    for (name, size) in SIZES {
        let on_device = run(device, *size, |_, _| Ok(()))?;
        let exact = run(&mut Cpu::<f64>::new(), *size, |_, _| Ok(()))?;
        let mut perturbed = Vec::new();
        for seed in 0..PERTURBED {
            let mut noise = Noise::new(seed, *size);
            let errs = |cpu: &mut Cpu<f64>, model: &mut RnnLm<_>| noise.disturb(cpu, model);
            perturbed.push(run(&mut Cpu::<f64>::new(), *size, errs)?.losses);
        }
        reports.push(compare_step(name, *size, &on_device, &exact));
        reports.push(compare_curve(name, *size, &on_device, &exact, &perturbed));
    }
    Ok(reports)
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
            for parameter in model.parameters() {
                let gradient = ops.read(&parameter.gradient)?;
                let gradient = gradient.into_iter().map(Element::value).collect();
                course.gradients.push((parameter.name, gradient));
            }
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
        let squares = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
        let norm = squares(&mut want.iter().copied());
        let error = squares(&mut got.iter().zip(want).map(|(got, want)| got - want));
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
