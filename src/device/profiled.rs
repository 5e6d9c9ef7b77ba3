//! A device that times every op: it waits for each before the next, which is slower than letting
//! the device run on, and shows where the time goes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Device, Purpose};
use crate::error::Result;
use crate::ops::{Matrix, Ops, Recurrence, RowChunk, Write};

/// An op at one size.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// The op's name.
    pub op: &'static str,
    /// Its sizes, in words.
    pub size: String,
}

/// What an op at one size has cost so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Calls.
    pub calls: u64,
    /// Their time.
    pub time: Duration,
    /// Floating-point operations of products.
    pub flops: f64,
    /// Bytes of tensors read and written, each counted once.
    pub bytes: f64,
}

/// `inner`, timed.
#[derive(Debug)]
pub struct Profiled<'a, O> {
    inner: &'a mut O,
    /// Time by op and size.
    pub costs: BTreeMap<Call, Cost>,
}

impl<'a, O: Ops> Profiled<'a, O> {
    /// Times what `inner` does from now on.
    pub fn new(inner: &'a mut O) -> Self {
        Profiled {
            inner,
            costs: BTreeMap::new(),
        }
    }

    /// Runs `work`, waits for it, and books it under `op` at `size`.
    fn time(
        &mut self,
        op: &'static str,
        size: String,
        flops: usize,
        elements: usize,
        work: impl FnOnce(&mut O) -> Result<()>,
    ) -> Result<()> {
        self.inner.finish()?;
        let begun = Instant::now();
        work(self.inner)?;
        self.inner.finish()?;
        let cost = self.costs.entry(Call { op, size }).or_default();
        cost.calls += 1;
        cost.time += begun.elapsed();
        cost.flops += flops as f64;
        cost.bytes += (elements * size_of::<O::Elem>()) as f64;
        Ok(())
    }
}

impl<O: Ops> Device for Profiled<'_, O> {
    type Elem = O::Elem;
    type Tensor = O::Tensor;
    type Ids = O::Ids;

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn alloc(&mut self, purpose: Purpose, label: &str, len: usize) -> Result<O::Tensor> {
        self.inner.alloc(purpose, label, len)
    }

    fn alloc_ids(
        &mut self,
        label: &str,
        count: usize,
        vocab: usize,
        indexed: bool,
    ) -> Result<O::Ids> {
        self.inner.alloc_ids(label, count, vocab, indexed)
    }

    fn len(&self, tensor: &O::Tensor) -> usize {
        self.inner.len(tensor)
    }

    fn write(&mut self, tensor: &mut O::Tensor, offset: usize, data: &[O::Elem]) -> Result<()> {
        self.inner.write(tensor, offset, data)
    }

    fn write_ids(&mut self, ids: &mut O::Ids, tokens: &[u32]) -> Result<()> {
        let elements = tokens.len();
        self.time("write_ids", format!("{elements}"), 0, elements, |ops| {
            ops.write_ids(ids, tokens)
        })
    }

    fn read_into(&mut self, tensor: &O::Tensor, offset: usize, out: &mut [O::Elem]) -> Result<()> {
        self.inner.read_into(tensor, offset, out)
    }

    fn submit(&mut self) -> Result<()> {
        self.inner.submit()
    }

    fn finish(&mut self) -> Result<()> {
        self.inner.finish()
    }
}

impl<O: Ops> Ops for Profiled<'_, O> {
    fn matmul(
        &mut self,
        a: (&O::Tensor, Matrix),
        b: (&O::Tensor, Matrix),
        bias: Option<&O::Tensor>,
        c: (&mut O::Tensor, Matrix),
        write: Write,
    ) -> Result<()> {
        let ((m, k), n) = (a.1.shape(), c.1.cols);
        let transposed = |x: Matrix| if x.transposed { "ᵀ" } else { "" };
        let size = format!("{m}×{k}{} · {k}×{n}{}", transposed(a.1), transposed(b.1));
        let batch = c.1.batch;
        let (flops, elements) = (2 * m * n * k * batch, (m * k + k * n + m * n) * batch);
        self.time("matmul", size, flops, elements, |ops| {
            ops.matmul(a, b, bias, c, write)
        })
    }

    fn tanh(&mut self, x: &O::Tensor, y: &mut O::Tensor) -> Result<()> {
        let len = self.len(x);
        self.time("tanh", format!("{len}"), 0, 2 * len, |ops| ops.tanh(x, y))
    }

    fn tanh_backward(&mut self, y: &O::Tensor, dy: &O::Tensor, dx: &mut O::Tensor) -> Result<()> {
        let len = self.len(y);
        self.time("tanh_backward", format!("{len}"), 0, 3 * len, |ops| {
            ops.tanh_backward(y, dy, dx)
        })
    }

    fn rnn(&mut self, hidden: &mut O::Tensor, wh: &O::Tensor, size: Recurrence) -> Result<()> {
        let (text, flops, elements) = recurrence(size);
        self.time("rnn", text, flops, elements, |ops| {
            ops.rnn(hidden, wh, size)
        })
    }

    fn rnn_backward(
        &mut self,
        grad: &mut O::Tensor,
        hidden: &O::Tensor,
        wh: &O::Tensor,
        size: Recurrence,
    ) -> Result<()> {
        let (text, flops, elements) = recurrence(size);
        self.time("rnn_backward", text, flops, elements, |ops| {
            ops.rnn_backward(grad, hidden, wh, size)
        })
    }

    fn embedding(
        &mut self,
        table: &O::Tensor,
        ids: &O::Ids,
        out: &mut O::Tensor,
        dim: usize,
    ) -> Result<()> {
        let len = self.len(out);
        self.time("embedding", format!("{len}"), 0, 2 * len, |ops| {
            ops.embedding(table, ids, out, dim)
        })
    }

    fn embedding_backward(
        &mut self,
        dout: &O::Tensor,
        ids: &O::Ids,
        dtable: &mut O::Tensor,
        dim: usize,
    ) -> Result<()> {
        let elements = self.len(dout) + self.len(dtable);
        let size = format!("{} to {}", self.len(dout), self.len(dtable));
        self.time("embedding_backward", size, 0, elements, |ops| {
            ops.embedding_backward(dout, ids, dtable, dim)
        })
    }

    fn softmax_cross_entropy(
        &mut self,
        logits: &mut O::Tensor,
        targets: &O::Ids,
        losses: &mut O::Tensor,
        chunk: RowChunk,
        gradient: bool,
    ) -> Result<()> {
        let size = format!("{}×{}", chunk.rows, chunk.vocab);
        let elements = 2 * chunk.rows * chunk.vocab;
        self.time("softmax_cross_entropy", size, 0, elements, |ops| {
            ops.softmax_cross_entropy(logits, targets, losses, chunk, gradient)
        })
    }

    fn mean_loss(&mut self, losses: &O::Tensor, loss: &mut O::Tensor) -> Result<()> {
        let len = self.len(losses);
        self.time("mean_loss", format!("{len}"), 0, len, |ops| {
            ops.mean_loss(losses, loss)
        })
    }

    fn softmax(
        &mut self,
        logits: &O::Tensor,
        probs: &mut O::Tensor,
        vocab: usize,
        temperature: f32,
    ) -> Result<()> {
        let len = self.len(logits);
        self.time("softmax", format!("{len}"), 0, 2 * len, |ops| {
            ops.softmax(logits, probs, vocab, temperature)
        })
    }

    fn softmax_backward(
        &mut self,
        probs: &O::Tensor,
        dprobs: &O::Tensor,
        dlogits: &mut O::Tensor,
        vocab: usize,
    ) -> Result<()> {
        let len = self.len(probs);
        self.time("softmax_backward", format!("{len}"), 0, 3 * len, |ops| {
            ops.softmax_backward(probs, dprobs, dlogits, vocab)
        })
    }

    fn cross_entropy(
        &mut self,
        probs: &O::Tensor,
        targets: &O::Ids,
        losses: &mut O::Tensor,
        dprobs: &mut O::Tensor,
        vocab: usize,
    ) -> Result<()> {
        let len = self.len(probs);
        self.time("cross_entropy", format!("{len}"), 0, 2 * len, |ops| {
            ops.cross_entropy(probs, targets, losses, dprobs, vocab)
        })
    }

    fn sum_rows(
        &mut self,
        x: (&O::Tensor, Matrix),
        out: &mut O::Tensor,
        write: Write,
    ) -> Result<()> {
        let (rows, cols) = x.1.shape();
        self.time(
            "sum_rows",
            format!("{rows}×{cols}"),
            0,
            rows * cols,
            |ops| ops.sum_rows(x, out, write),
        )
    }

    fn global_norm(
        &mut self,
        gradients: &[&O::Tensor],
        max_norm: Option<f32>,
        partials: &mut O::Tensor,
        norm: &mut O::Tensor,
    ) -> Result<()> {
        let elements: usize = gradients.iter().map(|g| self.len(g)).sum();
        self.time("global_norm", format!("{elements}"), 0, elements, |ops| {
            ops.global_norm(gradients, max_norm, partials, norm)
        })
    }

    fn sgd(
        &mut self,
        weights: &mut O::Tensor,
        gradient: &O::Tensor,
        rate: &O::Tensor,
        norm: &O::Tensor,
    ) -> Result<()> {
        let len = self.len(gradient);
        self.time("sgd", format!("{len}"), 0, 3 * len, |ops| {
            ops.sgd(weights, gradient, rate, norm)
        })
    }

    fn copy_within(
        &mut self,
        tensor: &mut O::Tensor,
        from: usize,
        to: usize,
        len: usize,
    ) -> Result<()> {
        self.time("copy_within", format!("{len}"), 0, 2 * len, |ops| {
            ops.copy_within(tensor, from, to, len)
        })
    }
}

/// Size in words, operations of the products, elements read and written.
fn recurrence(size: Recurrence) -> (String, usize, usize) {
    let Recurrence {
        time_steps: t,
        batch: n,
        hidden: h,
    } = size;
    (
        format!("T={t} N={n} H={h}"),
        2 * t * n * h * h,
        2 * t * n * h + h * h,
    )
}
