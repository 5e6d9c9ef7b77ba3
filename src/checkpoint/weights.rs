//! Weights under PyTorch's names and layouts, as a safetensors file.
//!
//! `encoder.weight` is E, `rnn.weight_ih_l0` Wxᵀ, `rnn.weight_hh_l0` Whᵀ, `rnn.bias_ih_l0` b,
//! `decoder.weight` Waᵀ, `decoder.bias` ba. PyTorch's second bias, `rnn.bias_hh_l0`, is bh; of a model
//! that has none, it is written as zeros and added to the first when it is read.

use std::collections::BTreeMap;

use super::tensors::{self, Tensors};
use crate::device::Device;
use crate::error::Result;
use crate::model::parameters::{SECOND_BIAS, specs};
use crate::model::{ModelSize, RnnLm};

/// The parameters of a model on the host, by our names, row-major as in the formulas.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights(BTreeMap<&'static str, Vec<f32>>);

impl Weights {
    /// Brings the parameters of `model` to the host.
    ///
    /// # Errors
    /// As [`Device::read`].
    pub fn of<D: Device<Elem = f32>>(device: &mut D, model: &RnnLm<D>) -> Result<Self> {
        let mut weights = BTreeMap::new();
        for parameter in model.parameters() {
            weights.insert(parameter.name, device.read(&parameter.value)?);
        }
        Ok(Weights(weights))
    }

    /// Sets the parameters of `model`, which must have the same sizes.
    ///
    /// # Errors
    /// As [`Device::write`].
    pub fn put<D: Device<Elem = f32>>(&self, device: &mut D, model: &mut RnnLm<D>) -> Result<()> {
        for parameter in model.parameters_mut() {
            device.write(&mut parameter.value, 0, &self.0[parameter.name])?;
        }
        Ok(())
    }

    /// Every parameter by its name in the formulas, row-major.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &[f32])> {
        self.0
            .iter()
            .map(|(name, values)| (*name, values.as_slice()))
    }

    /// Is every weight a finite number?
    pub fn are_finite(&self) -> bool {
        self.0.values().flatten().all(|w| w.is_finite())
    }

    /// The weights as a safetensors file.
    pub(crate) fn to_safetensors(&self, size: &ModelSize) -> Result<Vec<u8>, String> {
        let mut file = Tensors::new();
        for spec in specs(size) {
            let (rows, cols) = spec.shape;
            let values = &self.0[spec.name];
            let (shape, values) = match (rows, spec.transposed) {
                (1, _) => (vec![cols], values.clone()),
                (_, false) => (vec![rows, cols], values.clone()),
                (_, true) => (vec![cols, rows], transpose(values, rows, cols)),
            };
            file.insert(spec.pytorch.to_owned(), (shape, values));
        }
        let zeros = || (vec![size.hidden], vec![0.0; size.hidden]);
        file.entry(SECOND_BIAS.to_owned()).or_insert_with(zeros);
        tensors::serialize(&file)
    }

    /// Reads a safetensors file of a model of this size. `rnn.bias_hh_l0` may be absent if there is
    /// no bh.
    pub(crate) fn from_safetensors(bytes: &[u8], size: &ModelSize) -> Result<Self, String> {
        let file = tensors::open(bytes)?;
        let names = file.names();
        let known: Vec<_> = specs(size).iter().map(|spec| spec.pytorch).collect();
        let is_known = |name: &str| name == SECOND_BIAS || known.contains(&name);
        if let Some(name) = names.iter().find(|name| !is_known(name)) {
            return Err(format!("{name} is no tensor of this model"));
        }
        Weights::from_pytorch(size, |name, shape| match names.contains(&name) {
            false if !known.contains(&name) => Ok(vec![0.0; size.hidden]),
            _ => tensors::tensor(&file, name, shape),
        })
    }

    /// The weights of a model of this size from `tensor`, which gives PyTorch's tensors by name and
    /// shape. A model of one bias takes the sum of PyTorch's two.
    pub(crate) fn from_pytorch(
        size: &ModelSize,
        mut tensor: impl FnMut(&str, &[usize]) -> Result<Vec<f32>, String>,
    ) -> Result<Self, String> {
        let mut weights = BTreeMap::new();
        for spec in specs(size) {
            let (rows, cols) = spec.shape;
            let values = match (rows, spec.transposed) {
                (1, _) => tensor(spec.pytorch, &[cols])?,
                (_, false) => tensor(spec.pytorch, &[rows, cols])?,
                (_, true) => {
                    let theirs = tensor(spec.pytorch, &[cols, rows])?;
                    transpose(&theirs, cols, rows)
                }
            };
            weights.insert(spec.name, values);
        }
        if size.biases == 1 {
            let second = tensor(SECOND_BIAS, &[size.hidden])?;
            let first = weights.entry("b").or_insert_with(Vec::new);
            first.iter_mut().zip(second).for_each(|(b, s)| *b += s);
            if let Some(at) = first.iter().position(|b| !b.is_finite()) {
                return Err(format!(
                    "rnn.bias_ih_l0 + {SECOND_BIAS}: element {at} is {}",
                    first[at]
                ));
            }
        }
        Ok(Weights(weights))
    }
}

/// The transpose of a matrix of `rows` rows.
pub(crate) fn transpose(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for c in 0..cols {
        out.extend((0..rows).map(|r| values[r * cols + c]));
    }
    out
}
