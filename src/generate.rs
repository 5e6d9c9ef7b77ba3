//! Sampling text from a model, one token after the other.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::checkpoint::Checkpoint;
use crate::error::{Result, require};
use crate::model::{ModelSize, RnnLm, Softmax};
use crate::ops::Ops;

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Logits are divided by this before softmax: below 1 likely tokens become likelier.
    pub temperature: f32,
    /// Choose among this many likeliest tokens only; 0 for all.
    pub top_k: usize,
    /// Seed of the choices.
    pub seed: u64,
}

/// A model that has read some text and goes on with it.
#[derive(Debug)]
pub struct Generator<O: Ops> {
    model: RnnLm<O>,
    softmax: Softmax<O>,
    sampling: Sampling,
    random: ChaCha8Rng,
    /// The token to read next.
    next: u32,
    probs: Vec<f32>,
}

impl<O: Ops<Elem = f32>> Generator<O> {
    /// A generator that has read `prompt`; without one it begins as after a line's end.
    ///
    /// # Errors
    /// [`crate::Error::UnknownToken`] for a prompt with a character that the model does not know,
    /// [`crate::Error::Config`] for a temperature that is not positive; as [`crate::device::Device::alloc`].
    pub fn new(
        ops: &mut O,
        checkpoint: &Checkpoint,
        prompt: &str,
        sampling: Sampling,
    ) -> Result<Self> {
        let temperature = sampling.temperature;
        // Kernels multiply by the inverse.
        let usable =
            temperature > 0.0 && temperature.is_finite() && temperature.recip().is_finite();
        require("temperature", temperature, usable, "a positive number")?;
        let vocabulary = &checkpoint.vocabulary;
        let (prompt, _) = vocabulary.encode(prompt)?;
        let size = ModelSize {
            batch: 1,
            time_steps: 1,
            ..checkpoint.config.model_size(vocabulary.len())
        };
        let mut model = RnnLm::new(ops, size, true)?;
        checkpoint.weights.put(ops, &mut model)?;
        let mut generator = Generator {
            softmax: Softmax::new(ops, 1, vocabulary.len())?,
            model,
            sampling,
            random: ChaCha8Rng::seed_from_u64(sampling.seed),
            next: vocabulary.start(),
            probs: vec![0.0; vocabulary.len()],
        };
        for token in prompt {
            generator.model.read(ops, &[generator.next])?;
            ops.submit()?;
            generator.next = token;
        }
        Ok(generator)
    }

    /// The next token's id, which becomes part of the text.
    ///
    /// # Errors
    /// As the ops.
    pub fn next_token(&mut self, ops: &mut O) -> Result<u32> {
        let logits = self.model.last_logits(ops, &[self.next])?;
        self.softmax
            .forward(ops, logits, self.sampling.temperature)?;
        ops.read_into(&self.softmax.probs, 0, &mut self.probs)?;
        self.next = self.choose();
        Ok(self.next)
    }

    /// Draws from the probabilities, by the inverse of their distribution function.
    fn choose(&mut self) -> u32 {
        let k = self.sampling.top_k;
        if k > 0 && k < self.probs.len() {
            let mut ranked = self.probs.clone();
            let (_, &mut least, _) = ranked.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
            self.probs
                .iter_mut()
                .filter(|p| **p < least)
                .for_each(|p| *p = 0.0);
        }
        let total: f64 = self.probs.iter().map(|&p| f64::from(p)).sum();
        let uniform = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut left = uniform * total;
        let mut chosen = 0;
        for (id, &p) in self.probs.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            chosen = id;
            left -= f64::from(p);
            if left < 0.0 {
                break;
            }
        }
        chosen as u32
    }
}
