//! out = x·W + b.

use super::parameters::Parameter;
use crate::device::Device;
use crate::error::Result;
use crate::ops::{Matrix, Ops, Write};

/// The affine layer.
#[derive(Debug)]
pub struct Affine<D: Device> {
    /// `[input, output]`.
    pub w: Parameter<D>,
    /// `[1, output]`.
    pub b: Parameter<D>,
}

impl<O: Ops> Affine<O> {
    /// Writes `out`, a matrix `[rows, output]` at the start of its tensor, from `x`,
    /// `[rows, input]`.
    ///
    /// # Errors
    /// As [`Ops::matmul`].
    pub fn forward(&self, ops: &mut O, x: (&O::Tensor, Matrix), out: &mut O::Tensor) -> Result<()> {
        let (input, output) = self.w.shape;
        let w = (&self.w.value, Matrix::new(input, output));
        let out = (out, Matrix::new(x.1.rows, output));
        ops.matmul(x, w, Some(&self.b.value), out, Write::Overwrite)
    }

    /// dW = xᵀ·dout and db = Σ dout, written or accumulated; dx = dout·Wᵀ.
    ///
    /// `dout` is `[rows, output]` at the start of its tensor, `x` that of the forward pass.
    ///
    /// # Errors
    /// As [`Ops::matmul`].
    pub fn backward(
        &mut self,
        ops: &mut O,
        x: (&O::Tensor, Matrix),
        dout: &O::Tensor,
        dx: (&mut O::Tensor, Matrix),
        write: Write,
    ) -> Result<()> {
        let (input, output) = self.w.shape;
        let dout = (dout, Matrix::new(x.1.rows, output));
        let dw = (&mut self.w.gradient, Matrix::new(input, output));
        ops.matmul((x.0, x.1.t()), dout, None, dw, write)?;
        ops.sum_rows(dout, &mut self.b.gradient, write)?;
        let w = (&self.w.value, Matrix::new(input, output).t());
        ops.matmul(dout, w, None, dx, Write::Overwrite)
    }
}
