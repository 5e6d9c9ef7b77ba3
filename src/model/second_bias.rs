//! The second bias of a recurrence, as nn.RNN has it: h_t = tanh(x_t·Wx + b + h_{t−1}·Wh + bh).

use super::parameters::Parameter;
use crate::device::{Device, Purpose};
use crate::error::Result;
use crate::ops::{Ops, Write};

/// bh, and b + bh, which is what the layer adds.
///
/// Two biases are no other function than one, but are trained otherwise. Both have the gradient
/// Σ dz: an update changes their sum by as much as it does both together, the norm that gradients
/// are clipped by counts it twice, and weight decay is of each.
#[derive(Debug)]
pub struct SecondBias<D: Device> {
    /// `[1, H]`: bh.
    pub bh: Parameter<D>,
    /// `[1, H]`: b + bh of the last forward pass.
    sum: D::Tensor,
}

impl<D: Device> SecondBias<D> {
    /// With the parameter bh.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn new(device: &mut D, bh: Parameter<D>) -> Result<Self> {
        let sum = device.alloc(Purpose::Activations, "b + bh", bh.len())?;
        Ok(SecondBias { bh, sum })
    }
}

impl<O: Ops> SecondBias<O> {
    /// b + bh, for the forward pass.
    ///
    /// # Errors
    /// As [`Ops::accumulate`].
    pub fn sum(&mut self, ops: &mut O, b: &Parameter<O>) -> Result<&O::Tensor> {
        let sum = &mut self.sum;
        ops.accumulate(&mut [&mut *sum], &[&b.value], 1.0, Write::Overwrite)?;
        ops.accumulate(&mut [sum], &[&self.bh.value], 1.0, Write::Accumulate)?;
        Ok(&self.sum)
    }
}
