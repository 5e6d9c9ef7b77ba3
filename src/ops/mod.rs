//! The operations: their contracts, and the layouts they take.
//!
//! An op has one name everywhere: its contract is the method here, its reference is
//! `ops/cpu/<op>.rs`, its host side `ops/gpu/<op>.rs`, its kernel `shaders/<op>.wgsl` (variants:
//! `<op>_<how>.wgsl`), its parity test `tests/parity/<op>.rs`.
//!
//! Everything is time-major: `[T, N, ·]` is a matrix of T·N rows, and a time step is N of them.

pub mod cpu;
pub mod gpu;

use crate::device::tokens::Segments;
use crate::device::{Device, check_range};
use crate::error::{Error, Result, require};

/// Where a row-major matrix, or a batch of them, lies in a tensor, and whether it is read
/// transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Elements before the first matrix.
    pub offset: usize,
    /// Rows as stored.
    pub rows: usize,
    /// Columns as stored.
    pub cols: usize,
    /// Is op(matrix) its transpose?
    pub transposed: bool,
    /// Number of matrices.
    pub batch: usize,
    /// Elements from one matrix to the next; 0 repeats the first (for operands that are read).
    pub batch_stride: usize,
}

impl Matrix {
    /// One matrix at the start of a tensor.
    pub const fn new(rows: usize, cols: usize) -> Self {
        Matrix {
            offset: 0,
            rows,
            cols,
            transposed: false,
            batch: 1,
            batch_stride: 0,
        }
    }

    /// The same matrix, `offset` elements into its tensor.
    pub const fn at(self, offset: usize) -> Self {
        Matrix { offset, ..self }
    }

    /// The same matrix, read transposed.
    pub const fn t(self) -> Self {
        Matrix {
            transposed: !self.transposed,
            ..self
        }
    }

    /// `batch` matrices, `batch_stride` elements apart.
    pub const fn batched(self, batch: usize, batch_stride: usize) -> Self {
        Matrix {
            batch,
            batch_stride,
            ..self
        }
    }

    /// Rows and columns of op(matrix).
    pub const fn shape(&self) -> (usize, usize) {
        if self.transposed {
            (self.cols, self.rows)
        } else {
            (self.rows, self.cols)
        }
    }

    /// Elements from one row, and from one column, of op(matrix) to the next.
    pub const fn strides(&self) -> (usize, usize) {
        if self.transposed {
            (1, self.cols)
        } else {
            (self.cols, 1)
        }
    }

    /// Checks that every element lies in a tensor of `len` elements.
    fn check(&self, op: &'static str, operand: &'static str, len: usize) -> Result<()> {
        let extent = (self.batch.saturating_sub(1))
            .checked_mul(self.batch_stride)
            .and_then(|skip| skip.checked_add(self.rows.checked_mul(self.cols)?))
            .unwrap_or(usize::MAX);
        check_range(op, operand, len, self.offset, extent)
    }
}

/// Does an op replace its output or add to it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// out = result; what was there before is not read, even if it is NaN.
    Overwrite,
    /// out += result.
    Accumulate,
}

/// The sizes of a recurrence: T time steps of N rows of H hidden units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recurrence {
    /// T, the time steps of a window.
    pub time_steps: usize,
    /// N, the parallel streams.
    pub batch: usize,
    /// H, the hidden units.
    pub hidden: usize,
}

/// A chunk of the rows of a window at the output layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowChunk {
    /// The chunk's first row among the window's `total_rows`.
    pub first_row: usize,
    /// Rows in the chunk.
    pub rows: usize,
    /// All rows of the window, N·T: what the mean is taken over.
    pub total_rows: usize,
    /// V, the length of a row.
    pub vocab: usize,
}

/// The settings of [`Ops::momentum`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    /// μ, what is kept of the velocity.
    pub momentum: f64,
    /// λ, the share of the weights that is added to their gradient.
    pub weight_decay: f64,
    /// Nesterov's momentum?
    pub nesterov: bool,
}

/// The settings of [`Ops::adam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// β₁, what is kept of the mean of gradients.
    pub beta1: f64,
    /// β₂, what is kept of the mean of their squares.
    pub beta2: f64,
    /// ε, added to the root.
    pub eps: f64,
    /// The share of the weights that decays.
    pub weight_decay: f64,
    /// Do weights decay by themselves (AdamW), rather than through their gradient (Adam)?
    pub decoupled: bool,
}

/// μ = 0.9, and no more.
impl Default for Momentum {
    fn default() -> Self {
        Momentum {
            momentum: 0.9,
            weight_decay: 0.0,
            nesterov: false,
        }
    }
}

/// Adam as it was published (Kingma & Ba 2015), without weight decay.
impl Default for Adam {
    fn default() -> Self {
        Adam {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            decoupled: false,
        }
    }
}

impl Adam {
    /// Weight decay through the gradient, and by itself; one of the two is 0.
    pub(crate) fn decays(&self) -> (f64, f64) {
        if self.decoupled {
            (0.0, self.weight_decay)
        } else {
            (self.weight_decay, 0.0)
        }
    }
}

/// How [`Ops::sample`] chooses among the tokens of a row.
///
/// Tokens are ranked by their logits, the largest first, and among equals the lowest id first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Logits are divided by this before softmax: below 1 likely tokens become likelier. At 0 the
    /// first in rank is taken.
    pub temperature: f32,
    /// Only this many, the first in rank, are kept; 0 keeps all.
    pub top_k: usize,
    /// Of those, only the first in rank are kept whose probabilities add up to this share of the
    /// sum over all that `top_k` keeps, and one at least; 1 keeps all (Holtzman et al. 2020).
    pub top_p: f32,
}

/// Tokens as likely as the model says.
impl Default for Choice {
    fn default() -> Self {
        Choice {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
        }
    }
}

impl Choice {
    /// Checks that each number is one that tokens can be chosen by.
    ///
    /// # Errors
    /// [`Error::Config`] for the first that is not, by its name on the command line.
    pub fn check(&self) -> Result<()> {
        let (temperature, top_p) = (self.temperature, self.top_p);
        // Kernels multiply by the inverse.
        let usable = temperature == 0.0
            || temperature > 0.0 && temperature.is_finite() && temperature.recip().is_finite();
        let expected = "a positive number, or 0 for the likeliest token";
        require("temperature", temperature, usable, expected)?;
        let share = top_p > 0.0 && top_p <= 1.0;
        require("top-p", top_p, share, "above 0 and at most 1")
    }

    /// What differences of logits are multiplied by.
    pub(crate) fn inverse_temperature(&self) -> f64 {
        match self.temperature {
            0.0 => 1.0,
            temperature => 1.0 / f64::from(temperature),
        }
    }

    /// How many of `vocab` tokens are kept for their rank alone.
    pub(crate) fn kept(&self, vocab: usize) -> usize {
        match (self.temperature, self.top_k) {
            (0.0, _) => 1,
            (_, 0) => vocab,
            (_, k) => k.min(vocab),
        }
    }
}

/// Longest row that [`Ops::sample`] takes: every id below it is an f32.
pub const MAX_SAMPLED: usize = 1 << 24;

/// The device operations that layers, model and training are written on.
///
/// Sums are taken in an order that is fixed for a device and a shape: the same call gives the same
/// bits. Every op checks the sizes of its operands and returns [`Error::Shape`] for the first that
/// does not fit; a GPU reports its own failures at [`Device::submit`].
pub trait Ops: Device {
    /// C = op(A)·op(B) + bias, for each matrix of a batch; with [`Write::Accumulate`], C += it.
    ///
    /// op(A) is M×K, op(B) K×N, C M×N and not transposed; `bias` has N elements and is added to
    /// every row. The batch size is C's; an operand's `batch_stride` of 0 shares it.
    fn matmul(
        &mut self,
        a: (&Self::Tensor, Matrix),
        b: (&Self::Tensor, Matrix),
        bias: Option<&Self::Tensor>,
        c: (&mut Self::Tensor, Matrix),
        write: Write,
    ) -> Result<()>;

    /// y = tanh x, element by element; x and y have the same length.
    fn tanh(&mut self, x: &Self::Tensor, y: &mut Self::Tensor) -> Result<()>;

    /// dx = dy ⊙ (1 − y²), with y = tanh x.
    fn tanh_backward(
        &mut self,
        y: &Self::Tensor,
        dy: &Self::Tensor,
        dx: &mut Self::Tensor,
    ) -> Result<()>;

    /// h_t = tanh(z_t + h_{t−1}·Wh) for t = 1 … T, in place.
    ///
    /// `hidden` is `[T + 1, N, H]`: slot 0 holds the initial state, slots 1 to T hold
    /// z_t = x_t·Wx + b on entry and h_t on return. `wh` is `[H, H]`.
    fn rnn(&mut self, hidden: &mut Self::Tensor, wh: &Self::Tensor, size: Recurrence)
    -> Result<()>;

    /// dz_t = (dh_t + dz_{t+1}·Whᵀ) ⊙ (1 − h_t²) for t = T … 1, with dz_{T+1} = 0, in place.
    ///
    /// `grad` is `[T, N, H]`: the gradient of the loss in each h_t through its output on entry,
    /// dz_t on return. `hidden` is as [`Ops::rnn`] left it.
    fn rnn_backward(
        &mut self,
        grad: &mut Self::Tensor,
        hidden: &Self::Tensor,
        wh: &Self::Tensor,
        size: Recurrence,
    ) -> Result<()>;

    /// out\[r, :\] = table\[ids\[r\], :\]: the rows of a table with as many columns as `out`.
    fn embedding(
        &mut self,
        table: &Self::Tensor,
        ids: &Self::Ids,
        out: (&mut Self::Tensor, Matrix),
    ) -> Result<()>;

    /// dtable\[v, :\] = Σ dout\[r, :\] over the rows r with ids\[r\] = v, in ascending order of r, or
    /// of segments of such rows; 0 for a token that does not occur. All of dtable is written.
    ///
    /// `partials` is scratch of at least [`embedding_partials`] elements.
    fn embedding_backward(
        &mut self,
        dout: &Self::Tensor,
        ids: &Self::Ids,
        dtable: &mut Self::Tensor,
        partials: &mut Self::Tensor,
        dim: usize,
    ) -> Result<()>;

    /// losses\[r\] = log Σ_v exp a\[r, v\] − a\[r, y_r\], and with `gradient` the logits become their
    /// gradient in place: a\[r, v\] ← (softmax(a_r)\[v\] − \[v = y_r\]) / `total_rows`.
    ///
    /// `logits` holds the chunk's rows from its start; `targets` and `losses` are indexed by row
    /// of the window. log-sum-exp is taken after the row's maximum is subtracted: no logit
    /// overflows, and no probability that underflows is taken the logarithm of.
    fn softmax_cross_entropy(
        &mut self,
        logits: &mut Self::Tensor,
        targets: &Self::Ids,
        losses: &mut Self::Tensor,
        chunk: RowChunk,
        gradient: bool,
    ) -> Result<()>;

    /// loss\[0\] = mean of all `losses`, loss\[1\] += loss\[0\]: the step's loss and a running sum.
    fn mean_loss(&mut self, losses: &Self::Tensor, loss: &mut Self::Tensor) -> Result<()>;

    /// probs\[r, :\] = softmax(logits\[r, :\] / temperature), for rows of `vocab` elements.
    fn softmax(
        &mut self,
        logits: &Self::Tensor,
        probs: &mut Self::Tensor,
        vocab: usize,
        temperature: f32,
    ) -> Result<()>;

    /// tokens\[r\] = the id, as a number, of a token drawn from row r of `logits`, N rows of
    /// `vocab` elements: the first kept id v, in ascending order, with
    /// Σ_{i ≤ v} w_i > uniform\[r\]·Σ_i w_i. The sums are over the kept tokens, those that
    /// [`Choice`] says, and w_i = exp((a_i − max a) / temperature).
    ///
    /// `uniform` has N numbers of \[0, 1), and as many `tokens` are written. `vocab` is at most
    /// [`MAX_SAMPLED`].
    fn sample(
        &mut self,
        logits: &Self::Tensor,
        uniform: &Self::Tensor,
        tokens: &mut Self::Tensor,
        vocab: usize,
        choice: Choice,
    ) -> Result<()>;

    /// dlogits = p ⊙ (dp − Σ_v p_v·dp_v), row by row: the gradient through [`Ops::softmax`] at
    /// temperature 1.
    fn softmax_backward(
        &mut self,
        probs: &Self::Tensor,
        dprobs: &Self::Tensor,
        dlogits: &mut Self::Tensor,
        vocab: usize,
    ) -> Result<()>;

    /// losses\[r\] = −ln p\[r, y_r\] and dprobs\[r, v\] = −\[v = y_r\] / (R·p\[r, y_r\]) for R rows.
    ///
    /// p is taken as at least 2⁻¹²⁶, the smallest normal f32: where it could be less, use
    /// [`Ops::softmax_cross_entropy`], which is exact there.
    fn cross_entropy(
        &mut self,
        probs: &Self::Tensor,
        targets: &Self::Ids,
        losses: &mut Self::Tensor,
        dprobs: &mut Self::Tensor,
        vocab: usize,
    ) -> Result<()>;

    /// out\[c\] = Σ_r x\[r, c\]: the sum of `x`'s rows, which is a bias gradient.
    fn sum_rows(
        &mut self,
        x: (&Self::Tensor, Matrix),
        out: &mut Self::Tensor,
        write: Write,
    ) -> Result<()>;

    /// sum = scale·g for each of `sums` and its gradient; with [`Write::Accumulate`], sum += scale·g.
    /// At a scale of 1/K that is the mean of K gradients.
    fn accumulate(
        &mut self,
        sums: &mut [&mut Self::Tensor],
        gradients: &[&Self::Tensor],
        scale: f64,
        write: Write,
    ) -> Result<()>;

    /// norm\[0\] = ‖all gradients together‖₂, norm\[1\] = min(1, `max_norm` / norm\[0\]): what
    /// [`Ops::sgd`] multiplies gradients by. Without `max_norm`, norm\[1\] = 1.
    ///
    /// `partials` is scratch of at least [`norm_partials`] elements.
    fn global_norm(
        &mut self,
        gradients: &[&Self::Tensor],
        max_norm: Option<f32>,
        partials: &mut Self::Tensor,
        norm: &mut Self::Tensor,
    ) -> Result<()>;

    /// w ← w − rate\[0\]·norm\[1\]·g, for each of `weights` and its gradient.
    fn sgd(
        &mut self,
        weights: &mut [&mut Self::Tensor],
        gradients: &[&Self::Tensor],
        rate: &Self::Tensor,
        norm: &Self::Tensor,
    ) -> Result<()>;

    /// g' = norm\[1\]·g + λ·w, v ← μ·v + g', w ← w − rate\[0\]·v, for each of `weights` with its
    /// velocity and gradient; with Nesterov's momentum w ← w − rate\[0\]·(g' + μ·v). That is
    /// PyTorch's form: the rate is not part of the velocity.
    ///
    /// `rate` and `norm` are as for [`Ops::sgd`].
    fn momentum(
        &mut self,
        weights: &mut [&mut Self::Tensor],
        velocities: &mut [&mut Self::Tensor],
        gradients: &[&Self::Tensor],
        rate: &Self::Tensor,
        norm: &Self::Tensor,
        settings: Momentum,
    ) -> Result<()>;

    /// g' = norm\[1\]·g + λ₂·w, m ← β₁·m + (1 − β₁)·g', v ← β₂·v + (1 − β₂)·g'²,
    /// w ← w − rate\[0\]·λ·w − rate\[1\]·m / (√v·rate\[2\] + ε), for each of `weights` with its two
    /// `moments` and its gradient.
    ///
    /// `rate` holds what changes from step to step: the rate η, η / (1 − β₁ᵗ) and 1 / √(1 − β₂ᵗ).
    /// Weight decay is λ where it is decoupled, else λ₂; the other is 0.
    fn adam(
        &mut self,
        weights: &mut [&mut Self::Tensor],
        moments: [&mut [&mut Self::Tensor]; 2],
        gradients: &[&Self::Tensor],
        rate: &Self::Tensor,
        norm: &Self::Tensor,
        settings: Adam,
    ) -> Result<()>;

    /// tensor\[to..to + len\] = tensor\[from..from + len\]; the ranges do not overlap.
    fn copy_within(
        &mut self,
        tensor: &mut Self::Tensor,
        from: usize,
        to: usize,
        len: usize,
    ) -> Result<()>;
}

/// Elements of the partial sums that [`Ops::embedding_backward`] needs for `rows` tokens of a
/// vocabulary of `vocab` and rows of `dim` elements.
pub fn embedding_partials(rows: usize, vocab: usize, dim: usize) -> usize {
    Segments::most(rows, vocab) * dim
}

/// Elements of a gradient whose squares one partial sum of [`Ops::global_norm`] takes.
pub const NORM_CHUNK: usize = 4096;

/// Partial sums that [`Ops::global_norm`] needs for gradients of these lengths. Where a device keeps
/// one as several tensors, each of them may need one more.
pub fn norm_partials(lengths: impl IntoIterator<Item = usize>) -> usize {
    lengths.into_iter().map(|n| n.div_ceil(NORM_CHUNK)).sum()
}

/// The checks that both devices make of an op's operands.
pub(crate) mod check {
    use super::*;

    /// `operand` must have exactly `expected` elements.
    pub fn exact(
        op: &'static str,
        operand: &'static str,
        expected: usize,
        found: usize,
    ) -> Result<()> {
        if found == expected {
            return Ok(());
        }
        Err(Error::Shape {
            op,
            operand,
            expected: expected.to_string(),
            found,
        })
    }

    /// `operand` must have at least `expected` elements.
    pub fn at_least(
        op: &'static str,
        operand: &'static str,
        expected: usize,
        found: usize,
    ) -> Result<()> {
        if found >= expected {
            return Ok(());
        }
        Err(Error::Shape {
            op,
            operand,
            expected: format!("at least {expected}"),
            found,
        })
    }

    /// Each of a list of operands must have at least as many elements as its gradient.
    pub fn like_gradients(
        op: &'static str,
        operand: &'static str,
        gradients: impl ExactSizeIterator<Item = usize>,
        found: impl ExactSizeIterator<Item = usize>,
    ) -> Result<()> {
        if found.len() != gradients.len() {
            return Err(Error::Shape {
                op,
                operand,
                expected: format!("{} lists of them", gradients.len()),
                found: found.len(),
            });
        }
        let mut pairs = gradients.zip(found);
        pairs.try_for_each(|(expected, found)| at_least(op, operand, expected, found))
    }

    /// The M, N and K of a product, whose operands fit each other and their tensors.
    pub fn matmul(
        a: (usize, Matrix),
        b: (usize, Matrix),
        bias: Option<usize>,
        c: (usize, Matrix),
    ) -> Result<(usize, usize, usize)> {
        let (m, k) = a.1.shape();
        let (b_rows, n) = b.1.shape();
        exact("matmul", "op(B), rows", k, b_rows)?;
        exact("matmul", "C, rows", m, c.1.rows)?;
        exact("matmul", "C, columns", n, c.1.cols)?;
        if let Some(bias) = bias {
            exact("matmul", "bias", n, bias)?;
        }
        exact("matmul", "C, transposed", 0, usize::from(c.1.transposed))?;
        if c.1.batch > 1 {
            at_least("matmul", "C, batch stride", m * n, c.1.batch_stride)?;
        }
        for (operand, (len, matrix)) in [("A", a), ("B", b), ("C", c)] {
            let matrix = Matrix {
                batch: c.1.batch,
                ..matrix
            };
            matrix.check("matmul", operand, len)?;
        }
        Ok((m, n, k))
    }

    /// The length of a row that `out` takes from a table of a vocabulary, for each of the ids.
    pub fn embedding(
        table: usize,
        (ids, vocab): (usize, usize),
        (out, layout): (usize, Matrix),
    ) -> Result<usize> {
        exact("embedding", "table", vocab * layout.cols, table)?;
        exact("embedding", "out, rows", ids, layout.rows)?;
        stored("embedding", "out", out, layout)?;
        Ok(layout.cols)
    }

    /// The operands of the gradient in an embedding's table, for tokens of a vocabulary.
    pub fn embedding_backward(
        (ids, vocab): (usize, usize),
        dout: usize,
        dtable: usize,
        partials: usize,
        dim: usize,
    ) -> Result<()> {
        let op = "embedding_backward";
        exact(op, "dout", ids * dim, dout)?;
        at_least(op, "dtable", vocab * dim, dtable)?;
        at_least(
            op,
            "partials",
            embedding_partials(ids, vocab, dim),
            partials,
        )
    }

    /// The rows of `x`, which must be whole rows of `cols`.
    pub fn rows(op: &'static str, operand: &'static str, len: usize, cols: usize) -> Result<usize> {
        if cols > 0 && len.is_multiple_of(cols) {
            return Ok(len / cols);
        }
        Err(Error::Shape {
            op,
            operand,
            expected: format!("a multiple of {cols}"),
            found: len,
        })
    }

    /// The operands of a draw: [`Choice::check`], and a token for each of `uniform` numbers.
    pub fn sample(
        logits: usize,
        uniform: usize,
        tokens: usize,
        vocab: usize,
        choice: &Choice,
    ) -> Result<()> {
        choice.check()?;
        if !(1..=MAX_SAMPLED).contains(&vocab) {
            return Err(Error::Shape {
                op: "sample",
                operand: "vocabulary",
                expected: format!("1 to {MAX_SAMPLED}"),
                found: vocab,
            });
        }
        at_least("sample", "logits", uniform * vocab, logits)?;
        at_least("sample", "tokens", uniform, tokens)
    }

    /// A matrix that is read as it is stored.
    pub fn stored(op: &'static str, operand: &'static str, len: usize, x: Matrix) -> Result<()> {
        exact(op, operand, 0, usize::from(x.transposed))?;
        x.check(op, operand, len)
    }
}
