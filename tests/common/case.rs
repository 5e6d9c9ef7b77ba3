//! A model at f64 on one window, as a function of each of its variables.

use bptt::device::{Cpu, Device};
use bptt::model::{Init, ModelSize, Parameter, RnnLm};

/// A model, a window, and the initial state from which the window's loss is taken.
pub struct Case {
    pub cpu: Cpu<f64>,
    pub model: RnnLm<Cpu<f64>>,
    pub state: Vec<f64>,
    pub inputs: Vec<u32>,
    pub targets: Vec<u32>,
}

impl Case {
    /// No variable is zero, and no unit is saturated at any size: matrices are N(0, 1/fan_in), the
    /// rest N(0, 0.5²).
    pub fn new(size: ModelSize) -> Self {
        Case::with_chunk_rows(size, None)
    }

    pub fn with_chunk_rows(size: ModelSize, chunk_rows: Option<usize>) -> Self {
        let mut cpu = Cpu::new();
        let mut model = RnnLm::with_chunk_rows(&mut cpu, size, true, chunk_rows).unwrap();
        let half = Init::Normal(0.5);
        for (stream, parameter) in (0..).zip(model.parameters_mut()) {
            let init = match parameter.name {
                "Wx" | "Wh" | "Wa" => Init::fan_in(parameter.shape.0),
                _ => half,
            };
            parameter.init(&mut cpu, init, 1, stream).unwrap();
        }
        Case {
            cpu,
            model,
            state: half.values(1, 6, size.batch * size.hidden),
            inputs: tokens(size, 0),
            targets: tokens(size, 1),
        }
    }

    /// Everything the loss of the window depends on: the parameters and the initial state.
    pub fn variables(&self) -> Vec<&'static str> {
        let parameters = self.model.parameters().map(|p| p.name);
        parameters.chain(["h_init"]).collect()
    }

    /// The mean loss of the window.
    pub fn loss(&mut self) -> f64 {
        self.restart();
        let Case { cpu, model, .. } = self;
        model.evaluate(cpu, &self.inputs, &self.targets).unwrap();
        cpu.read(model.loss()).unwrap()[0]
    }

    /// The gradients of the window, in the order of [`Case::variables`].
    pub fn gradients(&mut self) -> Vec<Vec<f64>> {
        self.restart();
        self.forward();
        self.backward()
    }

    /// Makes the next pass start from `state`.
    pub fn restart(&mut self) {
        let state = &self.state;
        self.model.rnn.set_state(&mut self.cpu, state).unwrap();
    }

    /// From the state that the layer has now.
    pub fn forward(&mut self) {
        let (inputs, targets) = (&self.inputs, &self.targets);
        self.model.forward(&mut self.cpu, inputs, targets).unwrap();
    }

    pub fn backward(&mut self) -> Vec<Vec<f64>> {
        let Case { cpu, model, .. } = self;
        model.backward(cpu).unwrap();
        let gradient_of = |p: &Parameter<Cpu<f64>>| p.gradient.as_slice().to_vec();
        let mut gradients: Vec<_> = model.parameters().map(gradient_of).collect();
        gradients.push(model.rnn.initial_state_gradient(cpu).unwrap());
        gradients
    }

    pub fn value(&self, variable: usize) -> Vec<f64> {
        match self.model.parameters().nth(variable) {
            Some(parameter) => parameter.value.as_slice().to_vec(),
            None => self.state.clone(),
        }
    }

    /// The loss with another value of one variable.
    pub fn loss_at(&mut self, variable: usize, value: &[f64]) -> f64 {
        let original = self.value(variable);
        self.set(variable, value);
        let loss = self.loss();
        self.set(variable, &original);
        loss
    }

    fn set(&mut self, variable: usize, value: &[f64]) {
        match self.model.parameters_mut().nth(variable) {
            Some(parameter) => self.cpu.write(&mut parameter.value, 0, value).unwrap(),
            None => self.state.copy_from_slice(value),
        }
    }
}

/// The tokens of one window, `start` time steps into N streams. Squares repeat some tokens and leave
/// others out.
pub fn tokens(size: ModelSize, start: usize) -> Vec<u32> {
    let token = |row: usize| {
        let (t, n) = (row / size.batch + start, row % size.batch);
        ((t * t + 3 * n) % size.vocab) as u32
    };
    (0..size.rows()).map(token).collect()
}
