//! Token ids → what the recurrence takes of them: z = E\[x\]·Wx + b, or + b + bh.

use super::parameters::Parameter;
use super::second_bias::SecondBias;
use crate::device::{Device, Purpose};
use crate::error::Result;
use crate::ops::{Matrix, Ops, Write, embedding_partials};

/// The input layer: embedding and affine map, z\[r, :\] = E\[ids\[r\], :\]·Wx + b.
#[derive(Debug)]
pub struct Input<D: Device> {
    /// E, `[V, D]`: the embedding.
    pub table: Parameter<D>,
    /// `[D, H]`: input to hidden.
    pub wx: Parameter<D>,
    /// `[1, H]`: bias.
    pub b: Parameter<D>,
    /// bh, which is added to b, if there is one.
    pub second: Option<SecondBias<D>>,
    /// What is done first, with the tensors that it takes.
    pub order: Order<D>,
    partials: D::Tensor,
}

/// The rows of E·Wx are those of E, times Wx: the table can be projected before rows are taken
/// from it. The product then has V rows instead of one a token, which pays where tokens repeat,
/// as characters do.
#[derive(Debug)]
pub enum Order<D: Device> {
    /// For V > N·T: e = E\[ids\], z = e·Wx + b.
    GatherFirst {
        /// `[rows, D]`: e of the last forward pass.
        e: D::Tensor,
        /// `[rows, D]`: the gradient in it.
        de: D::Tensor,
    },
    /// For V ≤ N·T: P = E·Wx + b, z = P\[ids\].
    ProjectFirst {
        /// `[V, H]`: P after the forward pass, dP after the backward pass, which does not need P.
        projected: D::Tensor,
    },
}

impl<D: Device> Order<D> {
    /// Is it [`Order::ProjectFirst`]?
    pub fn is_project_first(&self) -> bool {
        matches!(self, Order::ProjectFirst { .. })
    }
}

impl<D: Device> Input<D> {
    /// A layer with the parameters E, Wx, b and perhaps bh, for windows of `rows` tokens. Its order
    /// depends on their sizes alone.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn new(
        device: &mut D,
        [table, wx, b]: [Parameter<D>; 3],
        bh: Option<Parameter<D>>,
        rows: usize,
    ) -> Result<Self> {
        let ((vocab, dim), (_, hidden)) = (table.shape, wx.shape);
        let mut activation = |label, len| device.alloc(Purpose::Activations, label, len);
        let order = if vocab <= rows {
            Order::ProjectFirst {
                projected: activation("E·Wx", vocab * hidden)?,
            }
        } else {
            Order::GatherFirst {
                e: activation("e", rows * dim)?,
                de: activation("de", rows * dim)?,
            }
        };
        let summed = if order.is_project_first() {
            hidden
        } else {
            dim
        };
        let partials = embedding_partials(rows, vocab, summed);
        Ok(Input {
            table,
            wx,
            b,
            second: bh.map(|bh| SecondBias::new(device, bh)).transpose()?,
            order,
            partials: device.alloc(Purpose::Scratch, "partial sums", partials)?,
        })
    }
}

impl<O: Ops> Input<O> {
    /// Writes z, `[rows, H]`.
    ///
    /// # Errors
    /// As [`Ops::embedding`], [`Ops::matmul`] and [`SecondBias::sum`].
    pub fn forward(
        &mut self,
        ops: &mut O,
        ids: &O::Ids,
        z: (&mut O::Tensor, Matrix),
    ) -> Result<()> {
        let ((vocab, dim), hidden) = (self.table.shape, z.1.cols);
        let b = match &mut self.second {
            None => &self.b.value,
            Some(second) => second.sum(ops, &self.b)?,
        };
        let (table, b) = (&self.table.value, Some(b));
        let wx = (&self.wx.value, Matrix::new(dim, hidden));
        match &mut self.order {
            Order::GatherFirst { e, .. } => {
                let rows = Matrix::new(z.1.rows, dim);
                ops.embedding(table, ids, (&mut *e, rows))?;
                ops.matmul((e, rows), wx, b, z, Write::Overwrite)
            }
            Order::ProjectFirst { projected } => {
                let (table, p) = ((table, Matrix::new(vocab, dim)), Matrix::new(vocab, hidden));
                ops.matmul(table, wx, b, (&mut *projected, p), Write::Overwrite)?;
                ops.embedding(projected, ids, z)
            }
        }
    }

    /// Writes the gradients of E, Wx, b and bh from dz, `[rows, H]` at the start of its tensor; `ids`
    /// are those of the forward pass.
    ///
    /// # Errors
    /// As [`Ops::embedding_backward`], [`Ops::matmul`] and [`Ops::sum_rows`].
    pub fn backward(&mut self, ops: &mut O, ids: &O::Ids, dz: (&O::Tensor, Matrix)) -> Result<()> {
        let ((vocab, dim), hidden) = (self.table.shape, dz.1.cols);
        let wx = (&self.wx.value, Matrix::new(dim, hidden).t());
        let dwx = (&mut self.wx.gradient, Matrix::new(dim, hidden));
        let dtable = &mut self.table.gradient;
        // Each from dz: tensors of one group, as gradients are, cannot be copied into each other.
        let dbh = self.second.as_mut().map(|second| &mut second.bh.gradient);
        let mut dbs = std::iter::once(&mut self.b.gradient).chain(dbh);
        let partials = &mut self.partials;
        match &mut self.order {
            // dWx = eᵀ·dz, db = Σ dz, de = dz·Wxᵀ, dE[v] = Σ de over the rows of token v.
            Order::GatherFirst { e, de } => {
                let rows = Matrix::new(dz.1.rows, dim);
                ops.matmul((e, rows.t()), dz, None, dwx, Write::Overwrite)?;
                dbs.try_for_each(|db| ops.sum_rows(dz, db, Write::Overwrite))?;
                ops.matmul(dz, wx, None, (&mut *de, rows), Write::Overwrite)?;
                ops.embedding_backward(de, ids, dtable, partials, dim)
            }
            // dP[v] = Σ dz over the rows of token v, dWx = Eᵀ·dP, db = Σ dP, dE = dP·Wxᵀ.
            Order::ProjectFirst { projected } => {
                ops.embedding_backward(dz.0, ids, projected, partials, hidden)?;
                let dp = (&*projected, Matrix::new(vocab, hidden));
                let table = Matrix::new(vocab, dim);
                let table_t = (&self.table.value, table.t());
                ops.matmul(table_t, dp, None, dwx, Write::Overwrite)?;
                dbs.try_for_each(|db| ops.sum_rows(dp, db, Write::Overwrite))?;
                ops.matmul(dp, wx, None, (dtable, table), Write::Overwrite)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Planner;

    /// The bytes of activations of a layer for V tokens, D = 3 and H = 4, and windows of 6 rows.
    fn activations(vocab: usize) -> u64 {
        let mut planner = Planner::<f32>::default();
        let shapes = [("E", (vocab, 3)), ("Wx", (3, 4)), ("b", (1, 4))];
        let parameters = Parameter::group(&mut planner, shapes).unwrap();
        Input::new(&mut planner, parameters, None, 6).unwrap();
        planner.into_plan().bytes[&Purpose::Activations]
    }

    #[test]
    fn the_memory_plan_counts_what_the_order_takes() {
        assert_eq!(activations(6), 4 * 6 * 4);
        assert_eq!(activations(7), 4 * 2 * 6 * 3);
    }
}
