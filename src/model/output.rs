//! The output layer: affine, softmax and loss, in chunks of rows, so that the logits of a whole
//! window never need to exist at once.

use super::affine::Affine;
use super::loss::SoftmaxCeLoss;
use crate::device::{Device, Purpose};
use crate::error::Result;
use crate::ops::{Matrix, Ops, Write};

/// Most logits that exist at once, unless one row has more: 32 MiB of f32.
const MAX_LOGITS: usize = 8 << 20;

/// Rows of logits that exist at once, unless there are fewer.
fn fitting_rows(vocab: usize) -> usize {
    (MAX_LOGITS / vocab.max(1)).max(1)
}

/// The smallest vocabulary that has as many rows of logits at once as this one: from there on, memory
/// grows with the vocabulary, until it has fewer rows.
pub(crate) fn least_vocab_with_rows_of(vocab: usize) -> usize {
    MAX_LOGITS / (fitting_rows(vocab) + 1) + 1
}

/// Hidden rows → loss, and in the same visit the gradients.
#[derive(Debug)]
pub struct Output<D: Device> {
    /// h → logits.
    pub affine: Affine<D>,
    /// logits → loss.
    pub loss: SoftmaxCeLoss<D>,
    logits: D::Tensor,
    rows: usize,
    chunk_rows: usize,
}

impl<D: Device> Output<D> {
    /// A layer with these parameters, for windows of `rows` rows. `chunk_rows` bounds the rows whose logits exist at
    /// once; by default as many as fit 32 MiB.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn new(
        device: &mut D,
        affine: Affine<D>,
        rows: usize,
        chunk_rows: Option<usize>,
    ) -> Result<Self> {
        let (_, vocab) = affine.w.shape;
        let chunk_rows = chunk_rows
            .unwrap_or(fitting_rows(vocab))
            .clamp(1, rows.max(1));
        Ok(Output {
            affine,
            loss: SoftmaxCeLoss::new(device, rows, vocab)?,
            logits: device.alloc(Purpose::Activations, "logits", chunk_rows * vocab)?,
            rows,
            chunk_rows,
        })
    }
}

impl<O: Ops> Output<O> {
    /// The window's loss, from `hidden`, whose rows lie as `layout` says. With `dhidden`,
    /// `[rows, H]`, also its gradient and those of the parameters.
    ///
    /// # Errors
    /// As [`Ops::matmul`] and [`Ops::softmax_cross_entropy`].
    pub fn forward(
        &mut self,
        ops: &mut O,
        (hidden, layout): (&O::Tensor, Matrix),
        targets: &O::Ids,
        mut dhidden: Option<&mut O::Tensor>,
    ) -> Result<()> {
        for first_row in (0..self.rows).step_by(self.chunk_rows) {
            let rows = self.chunk_rows.min(self.rows - first_row);
            let chunk = Matrix::new(rows, layout.cols);
            let h = (hidden, chunk.at(layout.offset + first_row * layout.cols));
            self.affine.forward(ops, h, &mut self.logits)?;
            let gradient = dhidden.is_some();
            let range = (first_row, rows);
            self.loss
                .chunk(ops, &mut self.logits, targets, range, gradient)?;
            if let Some(dhidden) = dhidden.as_deref_mut() {
                let dh = (dhidden, chunk.at(first_row * layout.cols));
                let write = if first_row == 0 {
                    Write::Overwrite
                } else {
                    Write::Accumulate
                };
                self.affine.backward(ops, h, &self.logits, dh, write)?;
            }
        }
        self.loss.mean(ops)
    }

    /// The logits of `rows` rows of `hidden`, at most one chunk of them.
    ///
    /// # Errors
    /// As [`Ops::matmul`].
    pub fn logits(&mut self, ops: &mut O, h: (&O::Tensor, Matrix)) -> Result<&O::Tensor> {
        self.affine.forward(ops, h, &mut self.logits)?;
        Ok(&self.logits)
    }
}
