//! A device that times every op, in the units that a profile is read in: an op at a size, a step.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Instant;

use super::stopwatch::{Clock, Lap, Stopwatch};
use super::{Device, Purpose};
use crate::error::Result;
use crate::ops::{Adam, Choice, Matrix, Momentum, Ops, Recurrence, RowChunk, Write};

/// An op at one size.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// The op's name.
    pub op: &'static str,
    /// Its sizes, in words.
    pub size: String,
}

/// What an op at one size has cost so far.
#[derive(Debug, Clone, Default)]
pub struct Cost {
    /// Calls.
    pub calls: u64,
    /// Dispatches of kernels; 0 on the CPU.
    pub dispatches: u64,
    /// The kernels dispatched; none on the CPU.
    pub kernels: Vec<&'static str>,
    /// The time of its calls in each step that had any.
    pub seconds: Vec<f64>,
    /// Additions, multiplications, divisions and elementary functions, each counted as one.
    pub flops: f64,
    /// Bytes of tensors read and written, each counted once.
    pub bytes: f64,
}

/// `inner`, with every op timed by its [`Stopwatch`] while [`Profiled::timing`] is on.
#[derive(Debug)]
pub struct Profiled<'a, O> {
    inner: &'a mut O,
    /// Is what is called now timed? Otherwise it is only passed on.
    pub timing: bool,
    /// Costs by op and size, up to the last [`Profiled::end_step`].
    pub costs: BTreeMap<Call, Cost>,
    /// The calls since then.
    calls: Vec<Timed>,
}

/// A call, and what it cost if the device does not say.
#[derive(Debug)]
struct Timed {
    call: Call,
    flops: f64,
    bytes: f64,
    seconds: f64,
}

impl<'a, O: Stopwatch> Profiled<'a, O> {
    /// Times what `inner` does, once `timing` is set.
    pub fn new(inner: &'a mut O) -> Self {
        Profiled {
            inner,
            timing: false,
            costs: BTreeMap::new(),
            calls: Vec::new(),
        }
    }

    /// What ops are timed by.
    pub fn clock(&self) -> Clock {
        self.inner.clock()
    }

    /// Books the calls since the last one of these as one step. Waits for the device.
    ///
    /// # Errors
    /// As [`Stopwatch::take_laps`].
    pub fn end_step(&mut self) -> Result<()> {
        let laps = self.inner.take_laps()?.into_iter().map(Some);
        let laps = laps.chain(std::iter::repeat(None));
        let mut step: BTreeMap<Call, f64> = BTreeMap::new();
        for (timed, lap) in self.calls.drain(..).zip(laps) {
            let lap = lap.unwrap_or_default();
            let cost = self.costs.entry(timed.call.clone()).or_default();
            cost.book(&timed, &lap);
            *step.entry(timed.call).or_default() += lap.seconds.unwrap_or(timed.seconds);
        }
        for (call, seconds) in step {
            self.costs.entry(call).or_default().seconds.push(seconds);
        }
        Ok(())
    }

    fn total_len(&self, tensors: &[&O::Tensor]) -> usize {
        tensors.iter().map(|tensor| self.inner.len(tensor)).sum()
    }

    /// Runs `work`, and books it under `op` at `size` if timing is on.
    fn time(
        &mut self,
        op: &'static str,
        size: impl Display,
        flops: usize,
        elements: usize,
        work: impl FnOnce(&mut O) -> Result<()>,
    ) -> Result<()> {
        if !self.timing {
            return work(self.inner);
        }
        let size = size.to_string();
        self.inner.begin_lap()?;
        let begun = Instant::now();
        work(self.inner)?;
        self.inner.end_lap()?;
        self.calls.push(Timed {
            call: Call { op, size },
            flops: flops as f64,
            bytes: (elements * size_of::<O::Elem>()) as f64,
            seconds: begun.elapsed().as_secs_f64(),
        });
        Ok(())
    }
}

impl Cost {
    fn book(&mut self, timed: &Timed, lap: &Lap) {
        self.calls += 1;
        self.dispatches += lap.dispatches;
        self.flops += timed.flops;
        self.bytes += timed.bytes;
        for kernel in &lap.kernels {
            if !self.kernels.contains(kernel) {
                self.kernels.push(kernel);
            }
        }
    }
}

impl<O: Stopwatch> Device for Profiled<'_, O> {
    type Elem = O::Elem;
    type Tensor = O::Tensor;
    type Ids = O::Ids;

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn alloc(&mut self, purpose: Purpose, label: &str, len: usize) -> Result<O::Tensor> {
        self.inner.alloc(purpose, label, len)
    }

    fn alloc_group(
        &mut self,
        purpose: Purpose,
        tensors: &[(&'static str, (usize, usize))],
    ) -> Result<Vec<O::Tensor>> {
        self.inner.alloc_group(purpose, tensors)
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
        // An upload is no work between a device's timestamps: it counts as outside the ops then.
        if !matches!(self.clock(), Clock::Wall | Clock::WallWaiting) {
            return self.inner.write_ids(ids, tokens);
        }
        let elements = tokens.len();
        self.time("write_ids", elements, 0, elements, |ops| {
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

impl<O: Stopwatch> Ops for Profiled<'_, O> {
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
        let size = format_args!("{m}×{k}{} · {k}×{n}{}", transposed(a.1), transposed(b.1));
        // An operand that all matrices of the batch share is read once.
        let stored = |x: Matrix| x.rows * x.cols * if x.batch_stride == 0 { 1 } else { x.batch };
        let outputs = m * n * c.1.batch;
        let written = match write {
            Write::Overwrite => outputs,
            Write::Accumulate => 2 * outputs,
        };
        let (flops, elements) = (2 * k * outputs, stored(a.1) + stored(b.1) + written);
        self.time("matmul", size, flops, elements, |ops| {
            ops.matmul(a, b, bias, c, write)
        })
    }

    fn tanh(&mut self, x: &O::Tensor, y: &mut O::Tensor) -> Result<()> {
        let len = self.len(x);
        self.time("tanh", len, len, 2 * len, |ops| ops.tanh(x, y))
    }

    fn tanh_backward(&mut self, y: &O::Tensor, dy: &O::Tensor, dx: &mut O::Tensor) -> Result<()> {
        let len = self.len(y);
        self.time("tanh_backward", len, 3 * len, 3 * len, |ops| {
            ops.tanh_backward(y, dy, dx)
        })
    }

    fn rnn(&mut self, hidden: &mut O::Tensor, wh: &O::Tensor, size: Recurrence) -> Result<()> {
        let Recurrence {
            time_steps: t,
            batch: n,
            hidden: h,
        } = size;
        let text = format_args!("T={t} N={n} H={h}");
        // z_t is read and h_t written in its place, after the initial state; a sum and a tanh each.
        let (flops, elements) = (2 * t * n * h * (h + 1), (2 * t + 1) * n * h + h * h);
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
        let Recurrence {
            time_steps: t,
            batch: n,
            hidden: h,
        } = size;
        let text = format_args!("T={t} N={n} H={h}");
        // The gradient is read and written, h_t read; no product for the last time step. A sum and
        // three more for 1 − h².
        let products = 2 * t.saturating_sub(1) * n * h * h;
        let (flops, elements) = (products + 4 * t * n * h, 3 * t * n * h + h * h);
        self.time("rnn_backward", text, flops, elements, |ops| {
            ops.rnn_backward(grad, hidden, wh, size)
        })
    }

    fn embedding(
        &mut self,
        table: &O::Tensor,
        ids: &O::Ids,
        out: (&mut O::Tensor, Matrix),
    ) -> Result<()> {
        let (rows, dim) = out.1.shape();
        let size = format_args!("{rows}×{dim}");
        self.time("embedding", size, 0, 2 * rows * dim, |ops| {
            ops.embedding(table, ids, out)
        })
    }

    fn embedding_backward(
        &mut self,
        dout: &O::Tensor,
        ids: &O::Ids,
        dtable: &mut O::Tensor,
        partials: &mut O::Tensor,
        dim: usize,
    ) -> Result<()> {
        let (from, to) = (self.len(dout), self.len(dtable));
        let size = format_args!("{from} to {to}");
        self.time("embedding_backward", size, from, from + to, |ops| {
            ops.embedding_backward(dout, ids, dtable, partials, dim)
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
        let size = format_args!("{}×{}", chunk.rows, chunk.vocab);
        let logits_read = chunk.rows * chunk.vocab;
        // Maximum, difference, exponential and sum; the gradient is one product more, written back.
        let (flops, elements) = match gradient {
            false => (4 * logits_read, logits_read),
            true => (5 * logits_read, 2 * logits_read),
        };
        self.time("softmax_cross_entropy", size, flops, elements, |ops| {
            ops.softmax_cross_entropy(logits, targets, losses, chunk, gradient)
        })
    }

    fn mean_loss(&mut self, losses: &O::Tensor, loss: &mut O::Tensor) -> Result<()> {
        let len = self.len(losses);
        self.time("mean_loss", len, len, len, |ops| {
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
        self.time("softmax", len, 6 * len, 2 * len, |ops| {
            ops.softmax(logits, probs, vocab, temperature)
        })
    }

    fn sample(
        &mut self,
        logits: &O::Tensor,
        uniform: &O::Tensor,
        tokens: &mut O::Tensor,
        vocab: usize,
        choice: Choice,
    ) -> Result<()> {
        let rows = self.len(uniform);
        let elements = rows * vocab;
        self.time("sample", format!("{rows}×{vocab}"), 0, elements, |ops| {
            ops.sample(logits, uniform, tokens, vocab, choice)
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
        self.time("softmax_backward", len, 4 * len, 3 * len, |ops| {
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
        self.time("cross_entropy", len, 0, 2 * len, |ops| {
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
        let (size, elements) = (format_args!("{rows}×{cols}"), rows * cols);
        self.time("sum_rows", size, elements, elements, |ops| {
            ops.sum_rows(x, out, write)
        })
    }

    fn accumulate(
        &mut self,
        sums: &mut [&mut O::Tensor],
        gradients: &[&O::Tensor],
        scale: f64,
        write: Write,
    ) -> Result<()> {
        let len = self.total_len(gradients);
        self.time("accumulate", len, 2 * len, 3 * len, |ops| {
            ops.accumulate(sums, gradients, scale, write)
        })
    }

    fn global_norm(
        &mut self,
        gradients: &[&O::Tensor],
        max_norm: Option<f32>,
        partials: &mut O::Tensor,
        norm: &mut O::Tensor,
    ) -> Result<()> {
        let elements = self.total_len(gradients);
        self.time("global_norm", elements, 2 * elements, elements, |ops| {
            ops.global_norm(gradients, max_norm, partials, norm)
        })
    }

    fn sgd(
        &mut self,
        weights: &mut [&mut O::Tensor],
        gradients: &[&O::Tensor],
        rate: &O::Tensor,
        norm: &O::Tensor,
    ) -> Result<()> {
        let len = self.total_len(gradients);
        self.time("sgd", len, 2 * len, 3 * len, |ops| {
            ops.sgd(weights, gradients, rate, norm)
        })
    }

    fn momentum(
        &mut self,
        weights: &mut [&mut O::Tensor],
        velocities: &mut [&mut O::Tensor],
        gradients: &[&O::Tensor],
        rate: &O::Tensor,
        norm: &O::Tensor,
        settings: Momentum,
    ) -> Result<()> {
        let len = self.total_len(gradients);
        self.time("momentum", len, 4 * len, 5 * len, |ops| {
            ops.momentum(weights, velocities, gradients, rate, norm, settings)
        })
    }

    fn adam(
        &mut self,
        weights: &mut [&mut O::Tensor],
        moments: [&mut [&mut O::Tensor]; 2],
        gradients: &[&O::Tensor],
        rate: &O::Tensor,
        norm: &O::Tensor,
        settings: Adam,
    ) -> Result<()> {
        let len = self.total_len(gradients);
        self.time("adam", len, 14 * len, 7 * len, |ops| {
            ops.adam(weights, moments, gradients, rate, norm, settings)
        })
    }

    fn copy_within(
        &mut self,
        tensor: &mut O::Tensor,
        from: usize,
        to: usize,
        len: usize,
    ) -> Result<()> {
        self.time("copy_within", len, 0, 2 * len, |ops| {
            ops.copy_within(tensor, from, to, len)
        })
    }
}
