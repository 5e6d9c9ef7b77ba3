//! Optimizers as training uses them: one dispatch, and a state that can be stored.

mod common;

use bptt::device::{Cpu, Device, Gpu};
use bptt::model::{ModelSize, RnnLm};
use bptt::ops::{Adam, Momentum, Ops};
use bptt::optimizer::{Optimizer, Rule};

const SIZE: ModelSize = ModelSize {
    vocab: 11,
    embedding: 5,
    hidden: 7,
    batch: 3,
    time_steps: 4,
    biases: 1,
};

const RULES: [Rule; 3] = [
    Rule::Sgd,
    Rule::Momentum(Momentum {
        momentum: 0.9,
        weight_decay: 0.01,
        nesterov: true,
    }),
    Rule::Adam(Adam {
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.01,
        decoupled: true,
    }),
];

/// A model under training, and the step it is at.
struct Run<O: Ops> {
    model: RnnLm<O>,
    optimizer: Optimizer<O>,
    step: usize,
}

impl<O: Ops> Run<O> {
    fn new(ops: &mut O, rule: Rule) -> Self {
        let mut model = RnnLm::new(ops, SIZE, false).unwrap();
        model.init(ops, 1).unwrap();
        Run {
            optimizer: Optimizer::new(ops, &model, rule, Some(0.1)).unwrap(),
            model,
            step: 0,
        }
    }

    fn train(&mut self, ops: &mut O, steps: usize) {
        for _ in 0..steps {
            let (inputs, targets) = window(self.step);
            self.optimizer.set_rate(ops, 0.05).unwrap();
            self.model.forward(ops, &inputs, &targets).unwrap();
            self.model.backward(ops).unwrap();
            self.optimizer.step(ops, &mut self.model).unwrap();
            ops.submit().unwrap();
            self.step += 1;
        }
    }

    fn weights(&self, ops: &mut O) -> Vec<Vec<O::Elem>> {
        let parameters = self.model.parameters();
        parameters.map(|p| ops.read(&p.value).unwrap()).collect()
    }

    /// Another run that goes on from what can be stored of this one.
    fn restored(&self, ops: &mut O, rule: Rule) -> Self {
        let mut other = Run::new(ops, rule);
        other.step = self.step;
        other.optimizer.set_steps(self.optimizer.steps());
        let weights = self.weights(ops);
        for (parameter, values) in other.model.parameters_mut().zip(weights) {
            ops.write(&mut parameter.value, 0, &values).unwrap();
        }
        let state = self.optimizer.state();
        for ((name, tensor), (stored, values)) in other.optimizer.state_mut().into_iter().zip(state)
        {
            assert_eq!(name, stored);
            let values = ops.read(values).unwrap();
            ops.write(tensor, 0, &values).unwrap();
        }
        other
    }
}

fn window(step: usize) -> (Vec<u32>, Vec<u32>) {
    let token = |row: usize| ((row * row + 5 * step) % SIZE.vocab) as u32;
    let targets = (3..SIZE.rows() + 3).map(token);
    ((0..SIZE.rows()).map(token).collect(), targets.collect())
}

fn assert_goes_on<O: Ops>(ops: &mut O) {
    for rule in RULES {
        let mut run = Run::new(ops, rule);
        run.train(ops, 5);
        let mut other = run.restored(ops, rule);
        run.train(ops, 5);
        other.train(ops, 5);
        assert_eq!(run.weights(ops), other.weights(ops), "{rule:?}");
        assert_eq!(run.optimizer.steps(), 10);
    }
}

#[test]
fn a_stored_state_goes_on_as_if_nothing_had_been() {
    assert_goes_on(&mut Cpu::<f64>::new());
    assert_goes_on(&mut Cpu::<f32>::new());
    if let Some(mut gpu) = common::gpu() {
        assert_goes_on(&mut *gpu);
    }
}

/// What is left out of the stored state shows.
#[test]
fn every_part_of_the_state_counts() {
    let cpu = &mut Cpu::<f64>::new();
    for rule in RULES {
        let mut run = Run::new(cpu, rule);
        run.train(cpu, 5);
        let names: Vec<String> = run.optimizer.state().into_iter().map(|(n, _)| n).collect();
        let mut without: Vec<_> = names.iter().map(|_| run.restored(cpu, rule)).collect();
        run.train(cpu, 1);
        for (i, other) in without.iter_mut().enumerate() {
            let (_, tensor) = other.optimizer.state_mut().swap_remove(i);
            let zeros = vec![0.0; tensor.as_slice().len()];
            cpu.write(tensor, 0, &zeros).unwrap();
            other.train(cpu, 1);
            assert_ne!(run.weights(cpu), other.weights(cpu), "{}", names[i]);
        }
    }
    let [_, _, adam] = RULES;
    let mut run = Run::new(cpu, adam);
    run.train(cpu, 5);
    let mut other = run.restored(cpu, adam);
    other.optimizer.set_steps(4);
    run.train(cpu, 1);
    other.train(cpu, 1);
    assert_ne!(run.weights(cpu), other.weights(cpu));
}

#[test]
fn states_have_names() {
    let cpu = &mut Cpu::<f32>::new();
    let names = RULES.map(|rule| {
        let optimizer = Run::new(cpu, rule).optimizer;
        let names = optimizer.state().into_iter().map(|(name, _)| name);
        names.collect::<Vec<_>>()
    });
    assert_eq!(names.each_ref().map(Vec::len), [0, 6, 12]);
    assert_eq!(names[1][1], "momentum_buffer.Wx");
    assert_eq!(
        [&names[2][0], &names[2][11]],
        ["exp_avg.E", "exp_avg_sq.ba"]
    );
}

#[test]
fn an_update_is_one_dispatch_by_every_rule() {
    let Some(mut gpu) = common::gpu() else { return };
    for rule in RULES {
        let mut model = RnnLm::new(&mut *gpu, SIZE, true).unwrap();
        let mut optimizer = Optimizer::new(&mut *gpu, &model, rule, None).unwrap();
        let before = Gpu::dispatches(&gpu);
        optimizer.step(&mut gpu, &mut model).unwrap();
        assert_eq!(Gpu::dispatches(&gpu) - before, 1, "{rule:?}");
    }
}

/// A step by the mean of K windows is one by the mean of K gradients, each of them at the same
/// weights, with the state carried on.
#[test]
fn accumulated_windows_are_averaged() {
    let cpu = &mut Cpu::<f64>::new();
    for windows in [1, 2, 3] {
        let mut model = RnnLm::new(cpu, SIZE, true).unwrap();
        model.init(cpu, 1).unwrap();
        let optimizer = Optimizer::sgd(cpu, &model, None).unwrap();
        let mut optimizer = optimizer.with_mean(cpu, &model).unwrap();
        optimizer.set_rate(cpu, 1.0).unwrap();
        let values = |cpu: &mut Cpu<f64>, model: &RnnLm<_>| {
            let read = model.parameters().map(|p| cpu.read(&p.value).unwrap());
            read.collect::<Vec<_>>().concat()
        };
        let before = values(cpu, &model);
        let mut sum = vec![0.0; before.len()];
        // Twice, so that the second mean begins anew.
        for _ in 0..2 {
            for index in 0..windows {
                let (inputs, targets) = window(index);
                model.forward(cpu, &inputs, &targets).unwrap();
                model.backward(cpu).unwrap();
                let gradients = model.parameters().map(|p| cpu.read(&p.gradient).unwrap());
                sum.iter_mut()
                    .zip(gradients.collect::<Vec<_>>().concat())
                    .for_each(|(sum, g)| *sum += g);
                optimizer.accumulate(cpu, &model, index, windows).unwrap();
            }
            optimizer.step(cpu, &mut model).unwrap();
        }
        for ((after, before), sum) in values(cpu, &model).iter().zip(before).zip(sum) {
            let want = before - sum / windows as f64;
            assert!((after - want).abs() <= 1e-15, "{after}, expected {want}");
        }
    }
}
