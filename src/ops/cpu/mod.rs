//! The CPU reference: each op as its formula, generic over f32 and f64.

mod accumulate;
mod adam;
mod copy_within;
mod cross_entropy;
mod embedding;
mod embedding_backward;
mod global_norm;
#[expect(unsafe_code, reason = "tasks write disjoint parts of one matrix")]
mod matmul;
mod mean_loss;
mod momentum;
mod rnn;
mod rnn_backward;
mod sample;
mod sgd;
mod softmax;
mod softmax_backward;
mod softmax_cross_entropy;
mod sum_rows;
mod tanh;
mod tanh_backward;

use super::{Adam, Choice, Matrix, Momentum, Ops, Recurrence, RowChunk, Write};
use crate::device::cpu::CpuTensor;
use crate::device::tokens::TokenIndex;
use crate::device::{Cpu, Element};
use crate::error::Result;

impl<F: Element> Ops for Cpu<F> {
    fn matmul(
        &mut self,
        a: (&CpuTensor<F>, Matrix),
        b: (&CpuTensor<F>, Matrix),
        bias: Option<&CpuTensor<F>>,
        c: (&mut CpuTensor<F>, Matrix),
        write: Write,
    ) -> Result<()> {
        let threads = self.threads();
        let bias = bias.map(|b| b.0.as_slice());
        matmul::matmul(
            (&a.0.0, a.1),
            (&b.0.0, b.1),
            bias,
            (&mut c.0.0, c.1),
            write,
            &mut self.scratch,
            threads,
        )
    }

    fn tanh(&mut self, x: &CpuTensor<F>, y: &mut CpuTensor<F>) -> Result<()> {
        tanh::tanh(&x.0, &mut y.0, self.threads())
    }

    fn tanh_backward(
        &mut self,
        y: &CpuTensor<F>,
        dy: &CpuTensor<F>,
        dx: &mut CpuTensor<F>,
    ) -> Result<()> {
        tanh_backward::tanh_backward(&y.0, &dy.0, &mut dx.0)
    }

    fn rnn(
        &mut self,
        hidden: &mut CpuTensor<F>,
        wh: &CpuTensor<F>,
        size: Recurrence,
    ) -> Result<()> {
        rnn::rnn(&mut hidden.0, &wh.0, size, self.threads())
    }

    fn rnn_backward(
        &mut self,
        grad: &mut CpuTensor<F>,
        hidden: &CpuTensor<F>,
        wh: &CpuTensor<F>,
        size: Recurrence,
    ) -> Result<()> {
        let threads = self.threads();
        let scratch = &mut self.scratch;
        rnn_backward::rnn_backward(&mut grad.0, &hidden.0, &wh.0, size, scratch, threads)
    }

    fn embedding(
        &mut self,
        table: &CpuTensor<F>,
        ids: &TokenIndex,
        out: (&mut CpuTensor<F>, Matrix),
    ) -> Result<()> {
        embedding::embedding(&table.0, ids, &mut out.0.0, out.1)
    }

    fn embedding_backward(
        &mut self,
        dout: &CpuTensor<F>,
        ids: &TokenIndex,
        dtable: &mut CpuTensor<F>,
        partials: &mut CpuTensor<F>,
        dim: usize,
    ) -> Result<()> {
        let (dtable, partials) = (&mut dtable.0, partials.0.len());
        let threads = self.threads();
        embedding_backward::embedding_backward(&dout.0, ids, dtable, partials, dim, threads)
    }

    fn softmax_cross_entropy(
        &mut self,
        logits: &mut CpuTensor<F>,
        targets: &TokenIndex,
        losses: &mut CpuTensor<F>,
        chunk: RowChunk,
        gradient: bool,
    ) -> Result<()> {
        softmax_cross_entropy::softmax_cross_entropy(
            &mut logits.0,
            targets,
            &mut losses.0,
            chunk,
            gradient,
            self.threads(),
        )
    }

    fn mean_loss(&mut self, losses: &CpuTensor<F>, loss: &mut CpuTensor<F>) -> Result<()> {
        mean_loss::mean_loss(&losses.0, &mut loss.0)
    }

    fn softmax(
        &mut self,
        logits: &CpuTensor<F>,
        probs: &mut CpuTensor<F>,
        vocab: usize,
        temperature: f32,
    ) -> Result<()> {
        softmax::softmax(&logits.0, &mut probs.0, vocab, temperature, self.threads())
    }

    fn sample(
        &mut self,
        logits: &CpuTensor<F>,
        uniform: &CpuTensor<F>,
        tokens: &mut CpuTensor<F>,
        vocab: usize,
        choice: Choice,
    ) -> Result<()> {
        let threads = self.threads();
        sample::sample(&logits.0, &uniform.0, &mut tokens.0, vocab, choice, threads)
    }

    fn softmax_backward(
        &mut self,
        probs: &CpuTensor<F>,
        dprobs: &CpuTensor<F>,
        dlogits: &mut CpuTensor<F>,
        vocab: usize,
    ) -> Result<()> {
        softmax_backward::softmax_backward(&probs.0, &dprobs.0, &mut dlogits.0, vocab)
    }

    fn cross_entropy(
        &mut self,
        probs: &CpuTensor<F>,
        targets: &TokenIndex,
        losses: &mut CpuTensor<F>,
        dprobs: &mut CpuTensor<F>,
        vocab: usize,
    ) -> Result<()> {
        cross_entropy::cross_entropy(&probs.0, targets, &mut losses.0, &mut dprobs.0, vocab)
    }

    fn sum_rows(
        &mut self,
        x: (&CpuTensor<F>, Matrix),
        out: &mut CpuTensor<F>,
        write: Write,
    ) -> Result<()> {
        sum_rows::sum_rows(&x.0.0, x.1, &mut out.0, write, self.threads())
    }

    fn accumulate(
        &mut self,
        sums: &mut [&mut CpuTensor<F>],
        gradients: &[&CpuTensor<F>],
        scale: f64,
        write: Write,
    ) -> Result<()> {
        accumulate::accumulate(sums, gradients, scale, write, self.threads())
    }

    fn global_norm(
        &mut self,
        gradients: &[&CpuTensor<F>],
        max_norm: Option<f32>,
        partials: &mut CpuTensor<F>,
        norm: &mut CpuTensor<F>,
    ) -> Result<()> {
        let threads = self.threads();
        global_norm::global_norm(gradients, max_norm, &mut partials.0, &mut norm.0, threads)
    }

    fn sgd(
        &mut self,
        weights: &mut [&mut CpuTensor<F>],
        gradients: &[&CpuTensor<F>],
        rate: &CpuTensor<F>,
        norm: &CpuTensor<F>,
    ) -> Result<()> {
        sgd::sgd(weights, gradients, &rate.0, &norm.0, self.threads())
    }

    fn momentum(
        &mut self,
        weights: &mut [&mut CpuTensor<F>],
        velocities: &mut [&mut CpuTensor<F>],
        gradients: &[&CpuTensor<F>],
        rate: &CpuTensor<F>,
        norm: &CpuTensor<F>,
        settings: Momentum,
    ) -> Result<()> {
        let rate = (rate.0.as_slice(), norm.0.as_slice());
        let threads = self.threads();
        momentum::momentum(weights, velocities, gradients, rate, settings, threads)
    }

    fn adam(
        &mut self,
        weights: &mut [&mut CpuTensor<F>],
        moments: [&mut [&mut CpuTensor<F>]; 2],
        gradients: &[&CpuTensor<F>],
        rate: &CpuTensor<F>,
        norm: &CpuTensor<F>,
        settings: Adam,
    ) -> Result<()> {
        let rate = (rate.0.as_slice(), norm.0.as_slice());
        let threads = self.threads();
        adam::adam(weights, moments, gradients, rate, settings, threads)
    }

    fn copy_within(
        &mut self,
        tensor: &mut CpuTensor<F>,
        from: usize,
        to: usize,
        len: usize,
    ) -> Result<()> {
        copy_within::copy_within(&mut tensor.0, from, to, len)
    }
}
