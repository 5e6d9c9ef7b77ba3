//! The host sides: parameters, bindings, checks, choice of variant and grid of each kernel.

mod accumulate;
mod adam;
mod copy_within;
mod cross_entropy;
mod embedding;
mod embedding_backward;
mod global_norm;
mod matmul;
mod mean_loss;
mod momentum;
mod rnn;
mod rnn_backward;
mod sample;
mod sgd;
mod softmax;
mod softmax_backward;
pub(crate) mod softmax_cross_entropy;
mod subgroup;
pub(crate) mod sum_rows;
mod tanh;
mod tanh_backward;

use super::{Adam, Choice, Matrix, Momentum, Ops, Recurrence, RowChunk, Write};
use crate::device::Gpu;
use crate::device::gpu::{GpuIds, GpuTensor};
use crate::device::kernel::Kernel;
use crate::error::{Error, Result};

/// Every op by name, with the kernels that it may use.
pub static KERNELS: &[(&str, &[&Kernel])] = &[
    ("accumulate", accumulate::KERNELS),
    ("adam", adam::KERNELS),
    ("copy_within", copy_within::KERNELS),
    ("cross_entropy", cross_entropy::KERNELS),
    ("embedding", embedding::KERNELS),
    ("embedding_backward", embedding_backward::KERNELS),
    ("global_norm", global_norm::KERNELS),
    ("matmul", matmul::KERNELS),
    ("mean_loss", mean_loss::KERNELS),
    ("momentum", momentum::KERNELS),
    ("rnn", rnn::KERNELS),
    ("rnn_backward", rnn_backward::KERNELS),
    ("sample", sample::KERNELS),
    ("sgd", sgd::KERNELS),
    ("softmax", softmax::KERNELS),
    ("softmax_backward", softmax_backward::KERNELS),
    ("softmax_cross_entropy", softmax_cross_entropy::KERNELS),
    ("sum_rows", sum_rows::KERNELS),
    ("tanh", tanh::KERNELS),
    ("tanh_backward", tanh_backward::KERNELS),
];

/// The kernels of which any one does what `op` does; empty where there is nothing to choose.
pub fn variants(op: &str) -> &'static [&'static Kernel] {
    match op {
        "embedding" => embedding::KERNELS,
        "embedding_backward" => embedding_backward::VARIANTS,
        "matmul" => matmul::VARIANTS,
        "rnn" => rnn::KERNELS,
        "rnn_backward" => rnn_backward::KERNELS,
        "softmax_cross_entropy" => softmax_cross_entropy::KERNELS,
        "sum_rows" => sum_rows::KERNELS,
        _ => &[],
    }
}

/// Refuses rows beyond the `longest` that a kernel reads whole on an adapter that computes on the CPU:
/// lavapipe ends an invocation's loops after 65,535 iterations in all, without a word.
fn check_row(gpu: &Gpu, op: &'static str, vocab: usize, longest: usize) -> Result<()> {
    if !gpu.is_software() || vocab <= longest {
        return Ok(());
    }
    Err(Error::Shape {
        op,
        operand: "vocabulary",
        expected: format!("at most {longest} on a software adapter"),
        found: vocab,
    })
}

impl Ops for Gpu {
    fn matmul(
        &mut self,
        a: (&GpuTensor, Matrix),
        b: (&GpuTensor, Matrix),
        bias: Option<&GpuTensor>,
        c: (&mut GpuTensor, Matrix),
        write: Write,
    ) -> Result<()> {
        matmul::matmul(self, a, b, bias, c, write)
    }

    fn tanh(&mut self, x: &GpuTensor, y: &mut GpuTensor) -> Result<()> {
        tanh::tanh(self, x, y)
    }

    fn tanh_backward(&mut self, y: &GpuTensor, dy: &GpuTensor, dx: &mut GpuTensor) -> Result<()> {
        tanh_backward::tanh_backward(self, y, dy, dx)
    }

    fn rnn(&mut self, hidden: &mut GpuTensor, wh: &GpuTensor, size: Recurrence) -> Result<()> {
        rnn::rnn(self, hidden, wh, size)
    }

    fn rnn_backward(
        &mut self,
        grad: &mut GpuTensor,
        hidden: &GpuTensor,
        wh: &GpuTensor,
        size: Recurrence,
    ) -> Result<()> {
        rnn_backward::rnn_backward(self, grad, hidden, wh, size)
    }

    fn embedding(
        &mut self,
        table: &GpuTensor,
        ids: &GpuIds,
        out: (&mut GpuTensor, Matrix),
    ) -> Result<()> {
        embedding::embedding(self, table, ids, out)
    }

    fn embedding_backward(
        &mut self,
        dout: &GpuTensor,
        ids: &GpuIds,
        dtable: &mut GpuTensor,
        partials: &mut GpuTensor,
        dim: usize,
    ) -> Result<()> {
        embedding_backward::embedding_backward(self, dout, ids, dtable, partials, dim)
    }

    fn softmax_cross_entropy(
        &mut self,
        logits: &mut GpuTensor,
        targets: &GpuIds,
        losses: &mut GpuTensor,
        chunk: RowChunk,
        gradient: bool,
    ) -> Result<()> {
        softmax_cross_entropy::softmax_cross_entropy(self, logits, targets, losses, chunk, gradient)
    }

    fn mean_loss(&mut self, losses: &GpuTensor, loss: &mut GpuTensor) -> Result<()> {
        mean_loss::mean_loss(self, losses, loss)
    }

    fn softmax(
        &mut self,
        logits: &GpuTensor,
        probs: &mut GpuTensor,
        vocab: usize,
        temperature: f32,
    ) -> Result<()> {
        softmax::softmax(self, logits, probs, vocab, temperature)
    }

    fn sample(
        &mut self,
        logits: &GpuTensor,
        uniform: &GpuTensor,
        tokens: &mut GpuTensor,
        vocab: usize,
        choice: Choice,
    ) -> Result<()> {
        sample::sample(self, logits, uniform, tokens, vocab, choice)
    }

    fn softmax_backward(
        &mut self,
        probs: &GpuTensor,
        dprobs: &GpuTensor,
        dlogits: &mut GpuTensor,
        vocab: usize,
    ) -> Result<()> {
        softmax_backward::softmax_backward(self, probs, dprobs, dlogits, vocab)
    }

    fn cross_entropy(
        &mut self,
        probs: &GpuTensor,
        targets: &GpuIds,
        losses: &mut GpuTensor,
        dprobs: &mut GpuTensor,
        vocab: usize,
    ) -> Result<()> {
        cross_entropy::cross_entropy(self, probs, targets, losses, dprobs, vocab)
    }

    fn sum_rows(
        &mut self,
        x: (&GpuTensor, Matrix),
        out: &mut GpuTensor,
        write: Write,
    ) -> Result<()> {
        sum_rows::sum_rows(self, x, out, write)
    }

    fn accumulate(
        &mut self,
        sums: &mut [&mut GpuTensor],
        gradients: &[&GpuTensor],
        scale: f64,
        write: Write,
    ) -> Result<()> {
        accumulate::accumulate(self, sums, gradients, scale, write)
    }

    fn global_norm(
        &mut self,
        gradients: &[&GpuTensor],
        max_norm: Option<f32>,
        partials: &mut GpuTensor,
        norm: &mut GpuTensor,
    ) -> Result<()> {
        global_norm::global_norm(self, gradients, max_norm, partials, norm)
    }

    fn sgd(
        &mut self,
        weights: &mut [&mut GpuTensor],
        gradients: &[&GpuTensor],
        rate: &GpuTensor,
        norm: &GpuTensor,
    ) -> Result<()> {
        sgd::sgd(self, weights, gradients, rate, norm)
    }

    fn momentum(
        &mut self,
        weights: &mut [&mut GpuTensor],
        velocities: &mut [&mut GpuTensor],
        gradients: &[&GpuTensor],
        rate: &GpuTensor,
        norm: &GpuTensor,
        settings: Momentum,
    ) -> Result<()> {
        momentum::momentum(self, weights, velocities, gradients, rate, norm, settings)
    }

    fn adam(
        &mut self,
        weights: &mut [&mut GpuTensor],
        moments: [&mut [&mut GpuTensor]; 2],
        gradients: &[&GpuTensor],
        rate: &GpuTensor,
        norm: &GpuTensor,
        settings: Adam,
    ) -> Result<()> {
        adam::adam(self, weights, moments, gradients, rate, norm, settings)
    }

    fn copy_within(
        &mut self,
        tensor: &mut GpuTensor,
        from: usize,
        to: usize,
        len: usize,
    ) -> Result<()> {
        copy_within::copy_within(self, tensor, from, to, len)
    }
}
