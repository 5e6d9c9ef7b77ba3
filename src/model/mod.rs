//! The language model: token ids → input layer → recurrent layer → logits → loss, and back.
//!
//! Written once over [`Ops`]: the f64 reference, the CPU path and the GPU run this code.

pub mod affine;
pub mod input;
pub mod loss;
pub mod output;
pub mod parameters;
pub mod rnn;
pub mod second_bias;

pub use affine::Affine;
pub use input::{Input, Order};
pub use loss::{CeLoss, Softmax, SoftmaxCeLoss};
pub use output::Output;
pub use parameters::{Init, Parameter, Spec};
pub use rnn::Rnn;
pub use second_bias::SecondBias;

use crate::device::{Device, Element, MemoryPlan, Planner};
use crate::error::{Result, require};
use crate::ops::{Ops, Recurrence};

/// Largest value of a size, and of the vocabulary's: products of any three, and their bytes, fit
/// 64 bits.
const MAX_SIZE: usize = 1 << 16;
pub(crate) const MAX_VOCAB: usize = 1 << 28;

/// The sizes of a model and of the windows it is run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ModelSize {
    /// V, the vocabulary.
    pub vocab: usize,
    /// D, the embedding.
    pub embedding: usize,
    /// H, the hidden units.
    pub hidden: usize,
    /// N, the parallel streams.
    pub batch: usize,
    /// T, the time steps of a window.
    pub time_steps: usize,
    /// The biases of the recurrence: 1, b, or 2, b and bh, as nn.RNN has them. Their sum is what
    /// counts, but two are trained otherwise: see [`SecondBias`].
    pub biases: usize,
}

impl ModelSize {
    /// Checks that every size is one that a model can have.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for the first that is not, by its name on the command line.
    pub fn check(&self) -> Result<()> {
        let sizes = [
            ("emsize", self.embedding),
            ("nhid", self.hidden),
            ("batch-size", self.batch),
            ("bptt", self.time_steps),
        ];
        for (field, value) in sizes {
            let expected = format!("1 to {MAX_SIZE}");
            require(field, value, (1..=MAX_SIZE).contains(&value), &expected)?;
        }
        let biases = matches!(self.biases, 1 | 2);
        require("rnn-biases", self.biases, biases, "1 or 2")?;
        let vocab = (1..=MAX_VOCAB).contains(&self.vocab);
        require(
            "vocab-size",
            self.vocab,
            vocab,
            &format!("1 to {MAX_VOCAB}"),
        )
    }

    /// Rows of a window: N·T.
    pub fn rows(&self) -> usize {
        self.batch * self.time_steps
    }

    /// The sizes of the recurrence.
    pub fn recurrence(&self) -> Recurrence {
        Recurrence {
            time_steps: self.time_steps,
            batch: self.batch,
            hidden: self.hidden,
        }
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        let specs = parameters::specs(self).into_iter();
        specs.map(|spec| spec.shape.0 * spec.shape.1).sum()
    }

    /// The sizes that make the number of parameters, in words.
    pub fn describe(&self) -> String {
        let (v, d, h) = (self.vocab, self.embedding, self.hidden);
        let biases = match self.biases {
            2 => ", two biases",
            _ => "",
        };
        format!("V={v} D={d} H={h}{biases}")
    }

    /// Floating-point operations of a training step: the products of the forward pass (2 for each
    /// multiply-add), and twice as many in the backward pass. [`Order`] says why Wx meets no more
    /// rows than there are tokens.
    pub fn flops_per_step(&self) -> f64 {
        let (v, d, h) = (self.vocab as f64, self.embedding as f64, self.hidden as f64);
        let rows = self.rows() as f64;
        6.0 * (rows.min(v) * d * h + rows * (h * h + h * v))
    }

    /// The memory of a model of this size, by purpose, for elements of type `F`.
    ///
    /// # Errors
    /// None today; a size that overflows is reported when it is allocated.
    pub fn plan<F: Element>(&self) -> Result<MemoryPlan> {
        let mut planner = Planner::<F>::default();
        RnnLm::new(&mut planner, *self, true)?;
        Ok(planner.into_plan())
    }
}

/// The RNN language model.
#[derive(Debug)]
pub struct RnnLm<D: Device> {
    /// Token ids → z.
    pub input: Input<D>,
    /// z → h.
    pub rnn: Rnn<D>,
    /// h → loss.
    pub output: Output<D>,
    inputs: D::Ids,
    targets: D::Ids,
    size: ModelSize,
}

impl<D: Device> RnnLm<D> {
    /// A model with all parameters zero; see [`RnnLm::init`].
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn new(device: &mut D, size: ModelSize, stateful: bool) -> Result<Self> {
        RnnLm::with_chunk_rows(device, size, stateful, None)
    }

    /// As [`RnnLm::new`], with at most `chunk_rows` rows of logits at once.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn with_chunk_rows(
        device: &mut D,
        size: ModelSize,
        stateful: bool,
        chunk_rows: Option<usize>,
    ) -> Result<Self> {
        let rows = size.rows();
        let specs = parameters::specs(&size).into_iter();
        let shapes: Vec<_> = specs.map(|spec| (spec.name, spec.shape)).collect();
        let (all, mut second) = Parameter::group_and_rest(device, &shapes)?;
        let [table, wx, wh, b, wa, ba] = all;
        let affine = Affine { w: wa, b: ba };
        Ok(RnnLm {
            input: Input::new(device, [table, wx, b], second.pop(), rows)?,
            rnn: Rnn::new(device, wh, size.recurrence(), stateful)?,
            output: Output::new(device, affine, rows, chunk_rows)?,
            inputs: device.alloc_ids("inputs", rows, size.vocab, true)?,
            targets: device.alloc_ids("targets", rows, size.vocab, false)?,
            size,
        })
    }

    /// The sizes.
    pub fn size(&self) -> ModelSize {
        self.size
    }

    /// Every parameter, in the order of [`parameters::specs`]: E, Wx, Wh, b, Wa, ba and, if there
    /// is one, bh.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter<D>> {
        let (input, affine) = (&self.input, &self.output.affine);
        let all = [
            &input.table,
            &input.wx,
            &self.rnn.wh,
            &input.b,
            &affine.w,
            &affine.b,
        ];
        all.into_iter().chain(input.second.as_ref().map(|s| &s.bh))
    }

    /// Every parameter, in the order of [`RnnLm::parameters`].
    pub fn parameters_mut(&mut self) -> impl Iterator<Item = &mut Parameter<D>> {
        let (input, affine) = (&mut self.input, &mut self.output.affine);
        let all = [
            &mut input.table,
            &mut input.wx,
            &mut self.rnn.wh,
            &mut input.b,
            &mut affine.w,
            &mut affine.b,
        ];
        let second = input.second.as_mut().map(|s| &mut s.bh);
        all.into_iter().chain(second)
    }

    /// The parameter of this name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter<D>> {
        self.parameters().find(|p| p.name == name)
    }

    /// Initialises every parameter from `seed`: the embedding N(0, 0.01²), other matrices
    /// N(0, 1/fan_in), biases zero.
    ///
    /// # Errors
    /// As [`Device::write`].
    pub fn init(&mut self, device: &mut D, seed: u64) -> Result<()> {
        let specs = parameters::specs(&self.size);
        for (stream, (parameter, spec)) in self.parameters_mut().zip(specs).enumerate() {
            parameter.init(device, spec.init, seed, stream as u64)?;
        }
        Ok(())
    }

    /// On the device: the mean loss of the last window, and the sum of such means since the sum
    /// was last cleared.
    pub fn loss(&self) -> &D::Tensor {
        &self.output.loss.loss
    }

    /// The running sum of losses.
    ///
    /// # Errors
    /// As [`Device::read`].
    pub fn loss_sum(&self, device: &mut D) -> Result<D::Elem> {
        Ok(device.read(&self.output.loss.loss)?[1])
    }

    /// Sets the running sum of losses.
    ///
    /// # Errors
    /// As [`Device::write`].
    pub fn set_loss_sum(&mut self, device: &mut D, sum: D::Elem) -> Result<()> {
        device.write(&mut self.output.loss.loss, 1, &[sum])
    }

    /// Brings the running sum of losses back, and clears it.
    ///
    /// # Errors
    /// As [`Device::read`].
    pub fn take_loss_sum(&mut self, device: &mut D) -> Result<f64> {
        let sum = self.loss_sum(device)?;
        self.set_loss_sum(device, D::Elem::default())?;
        Ok(sum.value())
    }
}

impl<O: Ops> RnnLm<O> {
    /// The mean loss of a window of N·T inputs and targets, time-major, left on the device; the
    /// output layer's gradients are made in the same visit to its logits.
    ///
    /// # Errors
    /// As [`Device::write_ids`] and the ops.
    pub fn forward(&mut self, ops: &mut O, inputs: &[u32], targets: &[u32]) -> Result<()> {
        ops.write_ids(&mut self.targets, targets)?;
        self.read(ops, inputs)?;
        let h = (&self.rnn.hidden, self.rnn.output());
        let dh = Some(&mut self.rnn.dhidden);
        self.output.forward(ops, h, &self.targets, dh)
    }

    /// All other gradients, of the window that [`RnnLm::forward`] was just called with: once, and
    /// before anything else runs through the model. It works in place, on what that call left.
    ///
    /// # Errors
    /// As the ops.
    pub fn backward(&mut self, ops: &mut O) -> Result<()> {
        self.rnn.backward(ops)?;
        self.input.backward(ops, &self.inputs, self.rnn.dz())
    }

    /// The loss alone, without gradients.
    ///
    /// # Errors
    /// As [`RnnLm::forward`].
    pub fn evaluate(&mut self, ops: &mut O, inputs: &[u32], targets: &[u32]) -> Result<()> {
        ops.write_ids(&mut self.targets, targets)?;
        self.read(ops, inputs)?;
        let h = (&self.rnn.hidden, self.rnn.output());
        self.output.forward(ops, h, &self.targets, None)
    }

    /// The logits `[N, V]` after the last time step of a window, for sampling.
    ///
    /// # Errors
    /// As [`Device::write_ids`] and the ops.
    pub fn last_logits(&mut self, ops: &mut O, inputs: &[u32]) -> Result<&O::Tensor> {
        self.read(ops, inputs)?;
        let all = self.rnn.output();
        let last_row = all.rows - self.size.batch;
        let mut last = all.at(all.offset + last_row * all.cols);
        last.rows = self.size.batch;
        self.output.logits(ops, (&self.rnn.hidden, last))
    }

    /// Runs a window through the recurrent layer alone, to advance its state.
    ///
    /// # Errors
    /// As [`Device::write_ids`] and the ops.
    pub fn read(&mut self, ops: &mut O, inputs: &[u32]) -> Result<()> {
        ops.write_ids(&mut self.inputs, inputs)?;
        let z = self.rnn.begin(ops)?;
        self.input.forward(ops, &self.inputs, z)?;
        self.rnn.forward(ops)
    }
}
