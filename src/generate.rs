//! Sampling text from a model, one token after the other, of one text or of several at once.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::checkpoint::Checkpoint;
use crate::device::Purpose;
use crate::error::{Result, require};
use crate::model::RnnLm;
use crate::ops::{Choice, Ops};

/// Tokens of a prompt that are read at once.
const PROMPT_WINDOW: usize = 64;
/// Most texts at once: the largest batch size.
pub(crate) const MAX_SAMPLES: usize = 1 << 16;

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Among which tokens, and how likely each is.
    pub choice: Choice,
    /// Seed of the choices. Each text of several has random numbers of its own, which do not depend
    /// on how many there are.
    pub seed: u64,
}

/// A model that has read some text and goes on with it, in one or several ways. Model and choice
/// run on the device; only the chosen tokens come back.
#[derive(Debug)]
pub struct Generator<O: Ops> {
    model: RnnLm<O>,
    choice: Choice,
    random: Vec<ChaCha8Rng>,
    /// The token that each text is to read next.
    next: Vec<u32>,
    /// On the device: a random number and then a token for each text.
    uniform: O::Tensor,
    tokens: O::Tensor,
    vocab: usize,
}

impl<O: Ops<Elem = f32>> Generator<O> {
    /// A generator of `samples` texts that has read `prompt`; without one it begins as after a
    /// line's end.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for a choice or a number of samples that cannot be used; as
    /// [`crate::device::Device::alloc`].
    pub fn new(
        ops: &mut O,
        checkpoint: &Checkpoint,
        prompt: &[u32],
        samples: usize,
        sampling: Sampling,
    ) -> Result<Self> {
        sampling.choice.check()?;
        let usable = (1..=MAX_SAMPLES).contains(&samples);
        require("samples", samples, usable, &format!("1 to {MAX_SAMPLES}"))?;
        let start = [checkpoint.vocabulary.start()];
        let (next, read) = match prompt.split_last() {
            Some((last, before)) => (*last, [&start, before].concat()),
            None => (start[0], Vec::new()),
        };
        let state = read_prompt(ops, checkpoint, &read)?;
        // All logits of a step exist at once.
        let mut model = checkpoint.model(ops, samples, 1, Some(samples))?;
        model.rnn.set_state(ops, &state.repeat(samples))?;
        let random = |stream: usize| {
            let mut random = ChaCha8Rng::seed_from_u64(sampling.seed);
            random.set_stream(stream as u64);
            random
        };
        Ok(Generator {
            model,
            choice: sampling.choice,
            random: (0..samples).map(random).collect(),
            next: vec![next; samples],
            uniform: ops.alloc(Purpose::Scratch, "uniform numbers", samples)?,
            tokens: ops.alloc(Purpose::Scratch, "chosen tokens", samples)?,
            vocab: checkpoint.vocabulary.len(),
        })
    }

    /// The next token's id of each text, which becomes part of it.
    ///
    /// # Errors
    /// As the ops.
    pub fn next_tokens(&mut self, ops: &mut O) -> Result<&[u32]> {
        let mut numbers: Vec<f32> = self.random.iter_mut().map(uniform).collect();
        ops.write(&mut self.uniform, 0, &numbers)?;
        let logits = self.model.last_logits(ops, &self.next)?;
        let (uniform, tokens) = (&self.uniform, &mut self.tokens);
        ops.sample(logits, uniform, tokens, self.vocab, self.choice)?;
        ops.read_into(&self.tokens, 0, &mut numbers)?;
        for (next, token) in self.next.iter_mut().zip(numbers) {
            *next = token as u32;
        }
        Ok(&self.next)
    }
}

/// The state, `[1, H]`, after a model has read `tokens` from zeros on, a window at a time.
fn read_prompt<O: Ops<Elem = f32>>(
    ops: &mut O,
    checkpoint: &Checkpoint,
    tokens: &[u32],
) -> Result<Vec<f32>> {
    if tokens.is_empty() {
        return Ok(vec![0.0; checkpoint.config.nhid]);
    }
    let time_steps = tokens.len().min(PROMPT_WINDOW);
    let mut model = checkpoint.model(ops, 1, time_steps, None)?;
    let mut window = vec![0; time_steps];
    let mut steps = 0;
    for tokens in tokens.chunks(time_steps) {
        // What is left over of the last window is read too, but the state is taken before it.
        steps = tokens.len();
        window[..steps].copy_from_slice(tokens);
        model.read(ops, &window)?;
        ops.submit()?;
    }
    model.rnn.state_after(ops, steps)
}

/// A multiple of 2⁻²⁴ in [0, 1): an f32, exactly.
fn uniform(random: &mut ChaCha8Rng) -> f32 {
    (random.next_u32() >> 8) as f32 / (1u32 << 24) as f32
}
