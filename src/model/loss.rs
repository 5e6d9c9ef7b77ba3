//! Softmax and cross-entropy: apart, as layers of their own, and fused, as training uses them.

use crate::device::{Device, Purpose};
use crate::error::Result;
use crate::ops::{Ops, RowChunk};

/// Softmax over rows of V elements.
#[derive(Debug)]
pub struct Softmax<D: Device> {
    /// `[rows, V]`: the probabilities of the last forward pass.
    pub probs: D::Tensor,
    vocab: usize,
}

impl<D: Device> Softmax<D> {
    /// A layer for `rows` rows of `vocab` logits.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn new(device: &mut D, rows: usize, vocab: usize) -> Result<Self> {
        Ok(Softmax {
            probs: device.alloc(Purpose::Activations, "probs", rows * vocab)?,
            vocab,
        })
    }
}

impl<O: Ops> Softmax<O> {
    /// Writes `probs` = softmax(logits / temperature).
    ///
    /// # Errors
    /// As [`Ops::softmax`].
    pub fn forward(&mut self, ops: &mut O, logits: &O::Tensor, temperature: f32) -> Result<()> {
        ops.softmax(logits, &mut self.probs, self.vocab, temperature)
    }

    /// Writes `dlogits` from the gradient in `probs`, for a forward pass at temperature 1.
    ///
    /// # Errors
    /// As [`Ops::softmax_backward`].
    pub fn backward(&self, ops: &mut O, dprobs: &O::Tensor, dlogits: &mut O::Tensor) -> Result<()> {
        ops.softmax_backward(&self.probs, dprobs, dlogits, self.vocab)
    }
}

/// Mean cross-entropy of given probabilities. To train, use [`SoftmaxCeLoss`]: it never takes the
/// logarithm of a probability that underflows.
#[derive(Debug)]
pub struct CeLoss<D: Device> {
    /// The mean loss, and the running sum of means.
    pub loss: D::Tensor,
    /// `[rows, V]`: the gradient in the probabilities.
    pub dprobs: D::Tensor,
    losses: D::Tensor,
    vocab: usize,
}

impl<D: Device> CeLoss<D> {
    /// A layer for `rows` rows of `vocab` probabilities.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn new(device: &mut D, rows: usize, vocab: usize) -> Result<Self> {
        Ok(CeLoss {
            loss: device.alloc(Purpose::Scratch, "loss", 2)?,
            dprobs: device.alloc(Purpose::Activations, "dprobs", rows * vocab)?,
            losses: device.alloc(Purpose::Activations, "losses", rows)?,
            vocab,
        })
    }
}

impl<O: Ops> CeLoss<O> {
    /// Writes `loss` and `dprobs`.
    ///
    /// # Errors
    /// As [`Ops::cross_entropy`].
    pub fn forward(&mut self, ops: &mut O, probs: &O::Tensor, targets: &O::Ids) -> Result<()> {
        let (losses, dprobs) = (&mut self.losses, &mut self.dprobs);
        ops.cross_entropy(probs, targets, losses, dprobs, self.vocab)?;
        ops.mean_loss(&self.losses, &mut self.loss)
    }
}

/// Softmax and mean cross-entropy fused, in chunks of rows.
#[derive(Debug)]
pub struct SoftmaxCeLoss<D: Device> {
    /// The mean loss of the last window, and the running sum of such means.
    pub loss: D::Tensor,
    /// `[rows]`: the loss of each row of the last window.
    pub losses: D::Tensor,
    rows: usize,
    vocab: usize,
}

impl<D: Device> SoftmaxCeLoss<D> {
    /// A layer for windows of `rows` rows of `vocab` logits.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn new(device: &mut D, rows: usize, vocab: usize) -> Result<Self> {
        Ok(SoftmaxCeLoss {
            loss: device.alloc(Purpose::Scratch, "loss", 2)?,
            losses: device.alloc(Purpose::Activations, "losses", rows)?,
            rows,
            vocab,
        })
    }
}

impl<O: Ops> SoftmaxCeLoss<O> {
    /// Rows `first_row..first_row + rows` of the window: writes their losses and, with `gradient`,
    /// turns their logits into the gradient of the window's mean loss.
    ///
    /// # Errors
    /// As [`Ops::softmax_cross_entropy`].
    pub fn chunk(
        &mut self,
        ops: &mut O,
        logits: &mut O::Tensor,
        targets: &O::Ids,
        (first_row, rows): (usize, usize),
        gradient: bool,
    ) -> Result<()> {
        let chunk = RowChunk {
            first_row,
            rows,
            total_rows: self.rows,
            vocab: self.vocab,
        };
        ops.softmax_cross_entropy(logits, targets, &mut self.losses, chunk, gradient)
    }

    /// After all chunks: the mean.
    ///
    /// # Errors
    /// As [`Ops::mean_loss`].
    pub fn mean(&mut self, ops: &mut O) -> Result<()> {
        ops.mean_loss(&self.losses, &mut self.loss)
    }
}
