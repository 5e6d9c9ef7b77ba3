//! The recurrent layer, unrolled over a window.
//!
//! A layer works without a model. On the first GPU, with z = x·Wx + b given:
//!
//! ```
//! use bptt::device::{Device, Gpu, adapter};
//! use bptt::model::{Parameter, Rnn};
//! use bptt::ops::Recurrence;
//!
//! # fn main() -> bptt::Result<()> {
//! let adapters = adapter::adapters();
//! let Some(adapter) = adapters.first() else {
//!     return Ok(()); // This machine has none.
//! };
//! let mut gpu = Gpu::open(adapter)?;
//! // Two time steps of one stream, one hidden unit.
//! let size = Recurrence { time_steps: 2, batch: 1, hidden: 1 };
//! let [wh] = Parameter::group(&mut gpu, [("Wh", (1, 1))])?;
//! let mut rnn = Rnn::new(&mut gpu, wh, size, false)?;
//! gpu.write(&mut rnn.wh.value, 0, &[0.5])?;
//! let (z, place) = rnn.begin(&mut gpu)?;
//! gpu.write(z, place.offset, &[1.0, -1.0])?;
//! rnn.forward(&mut gpu)?;
//! let h = gpu.read(&rnn.hidden)?;
//! let first = 1f32.tanh();
//! assert!((h[1] - first).abs() < 1e-6);
//! assert!((h[2] - (0.5 * first - 1.0).tanh()).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```

use super::parameters::Parameter;
use crate::device::{Device, Purpose};
use crate::error::Result;
use crate::ops::{Matrix, Ops, Recurrence, Write, check};

/// Where the next window's initial state comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InitialState {
    /// Slot 0 holds it already: zeros, what [`Rnn::set_state`] wrote, or what [`Rnn::begin`] put there.
    InPlace,
    /// The last window's final state.
    FinalOfLast,
    /// Zeros, which slot 0 does not hold now.
    ToBeCleared,
}

/// h_t = tanh(z_t + h_{t−1}·Wh) for t = 1 … T, over N streams; z comes from the layer below.
///
/// A stateful layer starts each window from the final state of the one before (truncated
/// backpropagation through time: no gradient flows back across windows); otherwise each window
/// starts from zeros, or once from what [`Rnn::set_state`] gave.
#[derive(Debug)]
pub struct Rnn<D: Device> {
    /// `[H, H]`: hidden to hidden.
    pub wh: Parameter<D>,
    /// `[T + 1, N, H]`: the initial state, then every h_t.
    pub hidden: D::Tensor,
    /// `[T, N, H]`: before the backward pass the gradient in each h_t, after it dz_t.
    pub dhidden: D::Tensor,
    dstate: D::Tensor,
    size: Recurrence,
    stateful: bool,
    initial: InitialState,
}

impl<D: Device> Rnn<D> {
    /// A layer with the parameter Wh, of `size.hidden` units.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn new(device: &mut D, wh: Parameter<D>, size: Recurrence, stateful: bool) -> Result<Self> {
        let Recurrence {
            time_steps,
            batch,
            hidden,
        } = size;
        let step = batch * hidden;
        Ok(Rnn {
            wh,
            hidden: device.alloc(Purpose::Activations, "h", (time_steps + 1) * step)?,
            dhidden: device.alloc(Purpose::Activations, "dh", time_steps * step)?,
            dstate: device.alloc(Purpose::Activations, "dh_init", step)?,
            size,
            stateful,
            initial: InitialState::InPlace,
        })
    }

    /// Sets the initial state `[N, H]` of the next window.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for another number of elements; as [`Device::write`].
    pub fn set_state(&mut self, device: &mut D, state: &[D::Elem]) -> Result<()> {
        let step = self.size.batch * self.size.hidden;
        check::exact("set_state", "state", step, state.len())?;
        device.write(&mut self.hidden, 0, state)?;
        self.initial = InitialState::InPlace;
        Ok(())
    }

    /// Makes the next window start from zeros.
    pub fn reset_state(&mut self) {
        self.initial = InitialState::ToBeCleared;
    }

    /// The state `[N, H]` that the next window will start from.
    ///
    /// # Errors
    /// As [`Device::read_into`].
    pub fn next_state(&self, device: &mut D) -> Result<Vec<D::Elem>> {
        match self.initial {
            InitialState::FinalOfLast => self.final_state(device),
            InitialState::InPlace => self.state_after(device, 0),
            InitialState::ToBeCleared => Ok(self.zeros()),
        }
    }

    /// The last window's final state, `[N, H]`.
    ///
    /// # Errors
    /// As [`Device::read_into`].
    pub fn final_state(&self, device: &mut D) -> Result<Vec<D::Elem>> {
        self.state_after(device, self.size.time_steps)
    }

    /// The state `[N, H]` after `steps` time steps of the last window: its initial state for 0.
    ///
    /// # Errors
    /// As [`Device::read_into`].
    pub fn state_after(&self, device: &mut D, steps: usize) -> Result<Vec<D::Elem>> {
        let mut state = self.zeros();
        device.read_into(&self.hidden, steps * state.len(), &mut state)?;
        Ok(state)
    }

    fn zeros(&self) -> Vec<D::Elem> {
        vec![D::Elem::default(); self.size.batch * self.size.hidden]
    }

    /// The outputs h_1 … h_T as a matrix of T·N rows in `hidden`.
    pub fn output(&self) -> Matrix {
        let rows = self.size.time_steps * self.size.batch;
        Matrix::new(rows, self.size.hidden).at(self.size.batch * self.size.hidden)
    }

    /// dz of every time step, after [`Rnn::backward`], as a matrix of T·N rows.
    pub fn dz(&self) -> (&D::Tensor, Matrix) {
        (&self.dhidden, self.output().at(0))
    }
}

impl<O: Ops> Rnn<O> {
    /// Begins a window: puts its initial state in place. Then z, `[T, N, H]`, is to be written where
    /// this says, before [`Rnn::forward`].
    ///
    /// # Errors
    /// As [`Ops::copy_within`] and [`Device::write`].
    pub fn begin(&mut self, ops: &mut O) -> Result<(&mut O::Tensor, Matrix)> {
        let step = self.size.batch * self.size.hidden;
        match self.initial {
            InitialState::InPlace => {}
            InitialState::FinalOfLast => {
                ops.copy_within(&mut self.hidden, self.size.time_steps * step, 0, step)?;
            }
            InitialState::ToBeCleared => {
                let zeros = self.zeros();
                ops.write(&mut self.hidden, 0, &zeros)?;
            }
        }
        self.initial = InitialState::InPlace;
        let output = self.output();
        Ok((&mut self.hidden, output))
    }

    /// Runs the window, from its z.
    ///
    /// # Errors
    /// As [`Ops::rnn`].
    pub fn forward(&mut self, ops: &mut O) -> Result<()> {
        ops.rnn(&mut self.hidden, &self.wh.value, self.size)?;
        self.initial = if self.stateful {
            InitialState::FinalOfLast
        } else {
            InitialState::ToBeCleared
        };
        Ok(())
    }

    /// From `dhidden`: dz in its place, and the gradient of Wh.
    ///
    /// # Errors
    /// As [`Ops::rnn_backward`] and [`Ops::matmul`].
    pub fn backward(&mut self, ops: &mut O) -> Result<()> {
        ops.rnn_backward(&mut self.dhidden, &self.hidden, &self.wh.value, self.size)?;
        // One product over all T·N rows: dWh = Σ h_{t−1}ᵀ·dz_t.
        let (rows, hidden) = (self.output().rows, self.size.hidden);
        let h_previous = (&self.hidden, Matrix::new(rows, hidden).t());
        let dz = (&self.dhidden, Matrix::new(rows, hidden));
        let dwh = (&mut self.wh.gradient, Matrix::new(hidden, hidden));
        ops.matmul(h_previous, dz, None, dwh, Write::Overwrite)
    }

    /// The gradient of the loss in the last window's initial state, `[N, H]`: dz_1·Whᵀ, after
    /// [`Rnn::backward`].
    ///
    /// # Errors
    /// As [`Ops::matmul`] and [`Device::read`].
    pub fn initial_state_gradient(&mut self, ops: &mut O) -> Result<Vec<O::Elem>> {
        let Recurrence { batch, hidden, .. } = self.size;
        let dz = (&self.dhidden, Matrix::new(batch, hidden));
        let wh = (&self.wh.value, Matrix::new(hidden, hidden).t());
        let dstate = (&mut self.dstate, Matrix::new(batch, hidden));
        ops.matmul(dz, wh, None, dstate, Write::Overwrite)?;
        ops.read(&self.dstate)
    }
}
