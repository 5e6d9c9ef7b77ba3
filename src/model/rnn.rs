//! The recurrent layer, unrolled over a window.

use super::parameters::Parameter;
use crate::device::{Device, Purpose};
use crate::error::Result;
use crate::ops::{Matrix, Ops, Recurrence, Write, check};

/// Where the next window's initial state comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InitialState {
    /// Slot 0 holds it already: zeros, or what [`Rnn::set_state`] wrote.
    InPlace,
    /// The last window's final state.
    FinalOfLast,
    /// Zeros, which slot 0 does not hold now.
    ToBeCleared,
}

/// h_t = tanh(x_t·Wx + h_{t−1}·Wh + b) for t = 1 … T, over N streams.
///
/// A stateful layer starts each window from the final state of the one before (truncated
/// backpropagation through time: no gradient flows back across windows); otherwise each window
/// starts from zeros, or once from what [`Rnn::set_state`] gave.
#[derive(Debug)]
pub struct Rnn<D: Device> {
    /// `[D, H]`: input to hidden.
    pub wx: Parameter<D>,
    /// `[H, H]`: hidden to hidden.
    pub wh: Parameter<D>,
    /// `[1, H]`: bias.
    pub b: Parameter<D>,
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
    /// A layer from `input` to `size.hidden` units.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn new(device: &mut D, input: usize, size: Recurrence, stateful: bool) -> Result<Self> {
        let Recurrence {
            time_steps,
            batch,
            hidden,
        } = size;
        let step = batch * hidden;
        Ok(Rnn {
            wx: Parameter::new(device, "Wx", (input, hidden))?,
            wh: Parameter::new(device, "Wh", (hidden, hidden))?,
            b: Parameter::new(device, "b", (1, hidden))?,
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
            InitialState::InPlace => self.state_at(device, 0),
            InitialState::ToBeCleared => Ok(self.zeros()),
        }
    }

    /// The last window's final state, `[N, H]`.
    ///
    /// # Errors
    /// As [`Device::read_into`].
    pub fn final_state(&self, device: &mut D) -> Result<Vec<D::Elem>> {
        self.state_at(device, self.size.time_steps)
    }

    fn state_at(&self, device: &mut D, slot: usize) -> Result<Vec<D::Elem>> {
        let mut state = self.zeros();
        device.read_into(&self.hidden, slot * state.len(), &mut state)?;
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
}

impl<O: Ops> Rnn<O> {
    /// Runs the window `x`, `[T, N, D]`.
    ///
    /// # Errors
    /// As [`Ops::matmul`] and [`Ops::rnn`].
    pub fn forward(&mut self, ops: &mut O, x: &O::Tensor) -> Result<()> {
        self.load_initial_state(ops)?;
        // z = x·Wx + b for all steps at once, into the slots where h will be.
        let (input, _) = self.wx.shape;
        let output = self.output();
        let x = (x, Matrix::new(output.rows, input));
        let wx = (&self.wx.value, Matrix::new(input, output.cols));
        let z = (&mut self.hidden, output);
        ops.matmul(x, wx, Some(&self.b.value), z, Write::Overwrite)?;
        ops.rnn(&mut self.hidden, &self.wh.value, self.size)?;
        self.initial = if self.stateful {
            InitialState::FinalOfLast
        } else {
            InitialState::ToBeCleared
        };
        Ok(())
    }

    /// From `dhidden` and the window `x` of the forward pass: all gradients, and dx if asked for.
    ///
    /// # Errors
    /// As [`Ops::rnn_backward`] and [`Ops::matmul`].
    pub fn backward(&mut self, ops: &mut O, x: &O::Tensor, dx: &mut O::Tensor) -> Result<()> {
        ops.rnn_backward(&mut self.dhidden, &self.hidden, &self.wh.value, self.size)?;
        let (input, hidden) = self.wx.shape;
        let rows = self.size.time_steps * self.size.batch;
        let dz = (&self.dhidden, Matrix::new(rows, hidden));
        // One product each over all T·N rows: dWh = Σ h_{t−1}ᵀ·dz_t, dWx = xᵀ·dz, dx = dz·Wxᵀ.
        let h_previous = (&self.hidden, Matrix::new(rows, hidden).t());
        let dwh = (&mut self.wh.gradient, Matrix::new(hidden, hidden));
        ops.matmul(h_previous, dz, None, dwh, Write::Overwrite)?;
        let x = (x, Matrix::new(rows, input).t());
        let dwx = (&mut self.wx.gradient, Matrix::new(input, hidden));
        ops.matmul(x, dz, None, dwx, Write::Overwrite)?;
        ops.sum_rows(dz, &mut self.b.gradient, Write::Overwrite)?;
        let wx = (&self.wx.value, Matrix::new(input, hidden).t());
        ops.matmul(
            dz,
            wx,
            None,
            (dx, Matrix::new(rows, input)),
            Write::Overwrite,
        )
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

    fn load_initial_state(&mut self, ops: &mut O) -> Result<()> {
        let step = self.size.batch * self.size.hidden;
        match self.initial {
            InitialState::InPlace => Ok(()),
            InitialState::FinalOfLast => {
                ops.copy_within(&mut self.hidden, self.size.time_steps * step, 0, step)
            }
            InitialState::ToBeCleared => {
                let zeros = self.zeros();
                ops.write(&mut self.hidden, 0, &zeros)
            }
        }
    }
}
