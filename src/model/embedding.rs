//! Token ids → rows of a table.

use super::parameters::Parameter;
use crate::device::{Device, Purpose};
use crate::error::Result;
use crate::ops::Ops;

/// The embedding layer: `out[r, :] = E[ids[r], :]`.
#[derive(Debug)]
pub struct Embedding<D: Device> {
    /// E, `[V, D]`.
    pub table: Parameter<D>,
    /// `[rows, D]`: the rows of the last forward pass.
    pub out: D::Tensor,
    /// `[rows, D]`: the gradient in `out`, for the next backward pass.
    pub dout: D::Tensor,
}

impl<D: Device> Embedding<D> {
    /// A layer for windows of `rows` tokens.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn new(device: &mut D, vocab: usize, dim: usize, rows: usize) -> Result<Self> {
        Ok(Embedding {
            table: Parameter::new(device, "E", (vocab, dim))?,
            out: device.alloc(Purpose::Activations, "e", rows * dim)?,
            dout: device.alloc(Purpose::Activations, "de", rows * dim)?,
        })
    }
}

impl<O: Ops> Embedding<O> {
    /// Writes `out`.
    ///
    /// # Errors
    /// As [`Ops::embedding`].
    pub fn forward(&mut self, ops: &mut O, ids: &O::Ids) -> Result<()> {
        let dim = self.table.shape.1;
        ops.embedding(&self.table.value, ids, &mut self.out, dim)
    }

    /// Writes the table's gradient from `dout`; `ids` are those of the forward pass.
    ///
    /// # Errors
    /// As [`Ops::embedding_backward`].
    pub fn backward(&mut self, ops: &mut O, ids: &O::Ids) -> Result<()> {
        let dim = self.table.shape.1;
        ops.embedding_backward(&self.dout, ids, &mut self.table.gradient, dim)
    }
}
