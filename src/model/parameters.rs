//! Parameters: a name, a shape, a value, a gradient; and how values begin.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::device::{Device, Element, Purpose};
use crate::error::{Error, Result};
use crate::model::ModelSize;

/// How a parameter begins. Every choice has mean zero.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// All zeros, as for biases.
    Zeros,
    /// Normally distributed with this standard deviation.
    Normal(f64),
}

impl Init {
    /// N(0, 0.01²): the default of embeddings (Deep Learning from Scratch 2, chapter 5).
    pub const EMBEDDING: Init = Init::Normal(0.01);

    /// N(0, 1/fan_in): the default of weight matrices (the same book).
    pub fn fan_in(fan_in: usize) -> Init {
        Init::Normal(1.0 / (fan_in as f64).sqrt())
    }

    /// `len` values from `seed` and `stream`: the same on every platform and device, and
    /// independent of every other stream of the seed.
    pub fn values<F: Element>(self, seed: u64, stream: u64, len: usize) -> Vec<F> {
        match self {
            Init::Zeros => vec![F::zero(); len],
            Init::Normal(deviation) => {
                let mut normal = Normal::new(seed, stream);
                let draw = |_| F::from_f64(deviation * normal.draw());
                (0..len).map(draw).collect()
            }
        }
    }
}

/// Standard normal numbers by Marsaglia's polar method, from ChaCha8. Own code, because the
/// stream must never change under a saved seed.
struct Normal {
    uniform: ChaCha8Rng,
    spare: Option<f64>,
}

impl Normal {
    fn new(seed: u64, stream: u64) -> Self {
        let mut uniform = ChaCha8Rng::seed_from_u64(seed);
        uniform.set_stream(stream);
        Normal {
            uniform,
            spare: None,
        }
    }

    fn draw(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (u, v) = (self.symmetric(), self.symmetric());
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                // libm, not std: the same bits on every platform.
                let factor = libm::sqrt(-2.0 * libm::log(s) / s);
                self.spare = Some(v * factor);
                return u * factor;
            }
        }
    }

    /// Uniform in [−1, 1), a multiple of 2⁻⁵².
    fn symmetric(&mut self) -> f64 {
        let bits = self.uniform.next_u64() >> 11;
        bits as f64 * (2.0 / (1u64 << 53) as f64) - 1.0
    }
}

/// What a parameter is: its names, its shape, how it begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spec {
    /// Its name in the formulas.
    pub name: &'static str,
    /// Its name in PyTorch's modules `encoder`, `rnn` and `decoder`.
    pub pytorch: &'static str,
    /// Is PyTorch's matrix the transpose of ours?
    pub transposed: bool,
    /// Rows and columns; a bias has one row.
    pub shape: (usize, usize),
    /// How it begins.
    pub init: Init,
}

/// PyTorch's second bias of a recurrent layer.
pub const SECOND_BIAS: &str = "rnn.bias_hh_l0";

/// Every parameter of a model: the one table of them. Their order gives each its random numbers, so
/// what not every model has comes last.
pub fn specs(size: &ModelSize) -> Vec<Spec> {
    let (v, d, h) = (size.vocab, size.embedding, size.hidden);
    let spec = |name, pytorch, transposed, shape, init| Spec {
        name,
        pytorch,
        transposed,
        shape,
        init,
    };
    let mut specs = vec![
        spec("E", "encoder.weight", false, (v, d), Init::EMBEDDING),
        spec("Wx", "rnn.weight_ih_l0", true, (d, h), Init::fan_in(d)),
        spec("Wh", "rnn.weight_hh_l0", true, (h, h), Init::fan_in(h)),
        spec("b", "rnn.bias_ih_l0", false, (1, h), Init::Zeros),
        spec("Wa", "decoder.weight", true, (h, v), Init::fan_in(h)),
        spec("ba", "decoder.bias", false, (1, v), Init::Zeros),
    ];
    if size.biases == 2 {
        specs.push(spec("bh", SECOND_BIAS, false, (1, h), Init::Zeros));
    }
    specs
}

/// A parameter on a device, with its gradient.
#[derive(Debug)]
pub struct Parameter<D: Device> {
    /// Its name in the formulas: "E", "Wx", "Wh", "b", "Wa", "ba", "bh".
    pub name: &'static str,
    /// Rows and columns; a bias has one row.
    pub shape: (usize, usize),
    /// The value, row-major.
    pub value: D::Tensor,
    /// The gradient of the loss in it, of the last backward pass.
    pub gradient: D::Tensor,
}

impl<D: Device> Parameter<D> {
    /// Parameters of these names and shapes, all zeros: their values as one group of tensors, their
    /// gradients as another, so that an update can work through all of them at once.
    ///
    /// # Errors
    /// As [`Device::alloc_group`].
    pub fn group<const N: usize>(
        device: &mut D,
        shapes: [(&'static str, (usize, usize)); N],
    ) -> Result<[Self; N]> {
        let (parameters, _) = Parameter::group_and_rest(device, &shapes)?;
        Ok(parameters)
    }

    /// As [`Parameter::group`], of N parameters and then any others.
    ///
    /// # Errors
    /// [`Error::Shape`] for less than N; as [`Device::alloc_group`].
    pub fn group_and_rest<const N: usize>(
        device: &mut D,
        shapes: &[(&'static str, (usize, usize))],
    ) -> Result<([Self; N], Vec<Self>)> {
        let values = device.alloc_group(Purpose::Weights, shapes)?;
        let gradients = device.alloc_group(Purpose::Gradients, shapes)?;
        let tensors = values.into_iter().zip(gradients);
        let parameters = shapes.iter().zip(tensors);
        let mut parameters = parameters.map(|(&(name, shape), (value, gradient))| Parameter {
            name,
            shape,
            value,
            gradient,
        });
        let group: Vec<_> = parameters.by_ref().take(N).collect();
        let found = group.len();
        let group = group.try_into().map_err(|_| Error::Shape {
            op: "alloc_group",
            operand: "the group",
            expected: N.to_string(),
            found,
        })?;
        Ok((group, parameters.collect()))
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.0 * self.shape.1
    }

    /// Has it no elements?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets the value by `init`.
    ///
    /// # Errors
    /// As [`Device::write`].
    pub fn init(&mut self, device: &mut D, init: Init, seed: u64, stream: u64) -> Result<()> {
        let values = init.values(seed, stream, self.len());
        device.write(&mut self.value, 0, &values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A saved seed must mean the same weights in every later version.
    #[test]
    fn the_stream_is_pinned() {
        let first: Vec<f64> = Init::Normal(1.0).values(42, 3, 3);
        assert_eq!(first, PINNED);
    }

    const PINNED: [f64; 3] = [-1.7445337520405872, 1.1656836075910701, 1.7619221003305305];

    #[test]
    fn values_are_normal_with_mean_zero_and_the_stated_deviation() {
        let n = 100_000;
        let values: Vec<f64> = Init::fan_in(100).values(7, 0, n);
        let mean = values.iter().sum::<f64>() / n as f64;
        let variance = values.iter().map(|v| v * v).sum::<f64>() / n as f64;
        let fourth = values.iter().map(|v| v.powi(4)).sum::<f64>() / n as f64;
        // Five standard errors of each moment: σ/√n, σ²√(2/n), σ⁴√(96/n).
        let root = (n as f64).sqrt();
        assert!(mean.abs() < 5.0 * 0.1 / root, "{mean}");
        assert!((variance - 0.01).abs() < 5.0 * 0.01 * 2f64.sqrt() / root);
        assert!((fourth - 3e-4).abs() < 5.0 * 1e-4 * 96f64.sqrt() / root);
    }

    #[test]
    fn streams_and_seeds_differ() {
        let values = |seed, stream| Init::Normal(1.0).values::<f32>(seed, stream, 8);
        assert_ne!(values(1, 0), values(1, 1));
        assert_ne!(values(1, 0), values(2, 0));
        assert_eq!(values(1, 0), values(1, 0));
    }
}
