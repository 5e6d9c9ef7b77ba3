//! Where tensors live: allocation, transfer and the end of a step, on the CPU and on a GPU.
//!
//! Everything that names wgpu apart from the ops' host sides is below this module.

pub mod adapter;
pub mod cpu;
pub mod gpu;
pub(crate) mod groups;
pub mod kernel;
pub(crate) mod loops;
pub mod memory;
pub mod plan;
pub mod profiled;
mod recorder;
pub mod stopwatch;
pub mod tokens;
pub mod trials;
pub mod work;

pub use cpu::Cpu;
pub use gpu::{Fault, Gpu, GpuSettings};
pub use plan::{MemoryPlan, Planner};

use crate::error::{Error, Result};

/// A floating-point element: f32 for training, f64 for the reference.
pub trait Element: ndarray::NdFloat + bytemuck::Pod + Default {
    /// The type's name: "f32" or "f64".
    const NAME: &'static str;

    /// Rounds `value` to the nearest element.
    fn from_f64(value: f64) -> Self;

    /// The element's value, exactly.
    fn value(self) -> f64;

    /// e^`self`, for the CPU path's loops (f32: [`crate::math::exp`]).
    fn exp_fast(self) -> Self;

    /// tanh `self`, for the CPU path's loops (f32: [`crate::math::tanh`]).
    fn tanh_fast(self) -> Self;
}

impl Element for f32 {
    const NAME: &'static str = "f32";

    fn from_f64(value: f64) -> Self {
        value as f32
    }

    fn value(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn exp_fast(self) -> Self {
        crate::math::exp(self)
    }

    #[inline(always)]
    fn tanh_fast(self) -> Self {
        crate::math::tanh(self)
    }
}

impl Element for f64 {
    const NAME: &'static str = "f64";

    fn from_f64(value: f64) -> Self {
        value
    }

    fn value(self) -> f64 {
        self
    }

    fn exp_fast(self) -> Self {
        self.exp()
    }

    fn tanh_fast(self) -> Self {
        self.tanh()
    }
}

/// What a tensor is for: the memory plan sums sizes by purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Purpose {
    /// Parameters of the model.
    Weights,
    /// Gradients of the parameters.
    Gradients,
    /// What an optimizer keeps of earlier steps for each parameter.
    Optimizer,
    /// Activations and their gradients, overwritten every step.
    Activations,
    /// The hidden state carried from window to window is part of its layer's activations;
    /// this is scratch space of ops and the few scalars (loss, norm, learning rate).
    Scratch,
    /// Token ids of a window, and their index by token.
    Tokens,
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Purpose::Weights => "weights",
            Purpose::Gradients => "gradients",
            Purpose::Optimizer => "optimizer",
            Purpose::Activations => "activations",
            Purpose::Scratch => "scratch",
            Purpose::Tokens => "tokens",
        })
    }
}

/// Memory of one kind, and the order of work in it.
///
/// Calls take effect in program order: a `write` after an op is seen by later ops only, a `read`
/// sees every op before it.
pub trait Device {
    /// The element of this device's tensors.
    type Elem: Element;
    /// A flat array of elements; layouts are the ops' business.
    type Tensor: std::fmt::Debug;
    /// Token ids of one window, with their index by token where it was asked for.
    type Ids: std::fmt::Debug;

    /// The device in words: adapter, backend and driver, or the CPU with its threads.
    fn describe(&self) -> String;

    /// A tensor of `len` zeros.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if one tensor exceeds what the adapter can hold in a buffer,
    /// [`Error::OutOfMemory`] if the device has no such memory left.
    fn alloc(&mut self, purpose: Purpose, label: &str, len: usize) -> Result<Self::Tensor>;

    /// Tensors of zeros, by label, rows and columns, that ops which take lists of tensors may work through
    /// as one where the lists name them in this order. An op that writes one of them may not read
    /// another. A device may keep one that it cannot bind at once as several of whole rows.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    fn alloc_group(
        &mut self,
        purpose: Purpose,
        tensors: &[(&'static str, (usize, usize))],
    ) -> Result<Vec<Self::Tensor>> {
        let tensors = tensors.iter();
        let tensors = tensors.map(|(label, (rows, cols))| self.alloc(purpose, label, rows * cols));
        tensors.collect()
    }

    /// Room for `count` token ids of a vocabulary of `vocab`. With `indexed`, positions sorted by
    /// token are kept as well: the gradient of an embedding needs them.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    fn alloc_ids(
        &mut self,
        label: &str,
        count: usize,
        vocab: usize,
        indexed: bool,
    ) -> Result<Self::Ids>;

    /// Number of elements of `tensor`.
    fn len(&self, tensor: &Self::Tensor) -> usize;

    /// Copies `data` to `tensor[offset..]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if it does not fit; [`Error::Device`] if the device failed.
    fn write(
        &mut self,
        tensor: &mut Self::Tensor,
        offset: usize,
        data: &[Self::Elem],
    ) -> Result<()>;

    /// Replaces all ids.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there are as many as were allocated, [`Error::TokenId`] for an id
    /// that is not below the vocabulary size.
    fn write_ids(&mut self, ids: &mut Self::Ids, tokens: &[u32]) -> Result<()>;

    /// Copies `tensor[offset..offset + out.len()]` to `out`, after all work before it is done.
    ///
    /// # Errors
    /// [`Error::Shape`] if the range is outside; [`Error::Device`] if the device failed.
    fn read_into(
        &mut self,
        tensor: &Self::Tensor,
        offset: usize,
        out: &mut [Self::Elem],
    ) -> Result<()>;

    /// The whole tensor; see [`Device::read_into`].
    ///
    /// # Errors
    /// [`Error::Device`] if the device failed.
    fn read(&mut self, tensor: &Self::Tensor) -> Result<Vec<Self::Elem>> {
        let mut out = vec![Self::Elem::default(); self.len(tensor)];
        self.read_into(tensor, 0, &mut out)?;
        Ok(out)
    }

    /// Ends a step: what was recorded since the last call is handed to the device as one
    /// submission. Does not wait for it.
    ///
    /// # Errors
    /// [`Error::Device`] with any error that the device has reported since the last call.
    fn submit(&mut self) -> Result<()>;

    /// Submits, and waits until the device has done everything.
    ///
    /// # Errors
    /// As [`Device::submit`].
    fn finish(&mut self) -> Result<()>;
}

/// Checks that `offset..offset + len` lies within `capacity` elements.
pub(crate) fn check_range(
    op: &'static str,
    operand: &'static str,
    capacity: usize,
    offset: usize,
    len: usize,
) -> Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= capacity => Ok(()),
        _ => Err(Error::Shape {
            op,
            operand,
            expected: format!("at least {len} from {offset} on"),
            found: capacity,
        }),
    }
}
