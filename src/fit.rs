//! Does a run fit a device? Asked before anything is allocated; and if not, what would.

use crate::config::Config;
use crate::device::plan::{MemoryPlan, Planner, mebibytes};
use crate::device::{Device, Gpu, Purpose};
use crate::error::{Error, Result};
use crate::evaluate::{Dynamic, Learner};
use crate::model::output::least_vocab_with_rows_of;
use crate::model::{ModelSize, RnnLm};
use crate::ops::{Choice, Ops};
use crate::train;

/// What a run is to do with a model.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Use {
    /// Training with these settings.
    Train(Box<Config>),
    /// The loss of a text.
    Evaluate {
        /// How it goes on learning, if it does.
        dynamic: Option<Dynamic>,
    },
    /// Sampling of a token for each stream.
    Generate,
}

/// A model and its use: what has to fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Need {
    /// The sizes.
    pub size: ModelSize,
    /// The use.
    pub of: Use,
    /// The sizes that may be made smaller, by their names on the command line.
    pub knobs: &'static [&'static str],
}

/// What a device has room for.
#[derive(Debug)]
pub struct Room {
    /// The device in words.
    pub device: String,
    /// Bytes that it has, where that is known.
    pub available: Option<u64>,
    /// A GPU with its limits on which nothing runs.
    pub rehearsal: Option<Gpu>,
}

impl Need {
    /// The memory by purpose.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn plan(&self) -> Result<MemoryPlan> {
        let mut planner = Planner::<f32>::default();
        let model = self.model(&mut planner)?;
        match &self.of {
            Use::Train(config) => drop(train::optimizer(&mut planner, &model, config)?),
            Use::Evaluate {
                dynamic: Some(dynamic),
            } => drop(Learner::new(&mut planner, &model, *dynamic)?),
            Use::Evaluate { dynamic: None } | Use::Generate => {}
        }
        Ok(planner.into_plan())
    }

    /// All logits of a step of sampling exist at once.
    fn model<D: Device>(&self, device: &mut D) -> Result<RnnLm<D>> {
        let chunk_rows = match self.of {
            Use::Generate => Some(self.size.batch),
            _ => None,
        };
        RnnLm::with_chunk_rows(device, self.size, true, chunk_rows)
    }

    /// Does once what the run will do again and again.
    fn rehearse(&self, gpu: &mut Gpu) -> Result<()> {
        let ids = gpu.alloc(Purpose::Tokens, "tokens", self.size.rows())?;
        ids.whole("write_ids", "tokens")?;
        let tokens = vec![0; self.size.rows()];
        let mut model = self.model(gpu)?;
        match &self.of {
            Use::Train(config) => {
                let mut optimizer = train::optimizer(gpu, &model, config)?;
                model.forward(gpu, &tokens, &tokens)?;
                model.backward(gpu)?;
                optimizer.accumulate(gpu, &model, 0, config.accumulate)?;
                optimizer.step(gpu, &mut model)?;
                // The state goes on to the next window.
                model.evaluate(gpu, &tokens, &tokens)?;
            }
            Use::Evaluate {
                dynamic: Some(dynamic),
            } => {
                let mut learner = Learner::new(gpu, &model, *dynamic)?;
                model.forward(gpu, &tokens, &tokens)?;
                model.backward(gpu)?;
                learner.step(gpu, &mut model)?;
            }
            Use::Evaluate { dynamic: None } => model.evaluate(gpu, &tokens, &tokens)?,
            Use::Generate => {
                let uniform = gpu.alloc(Purpose::Scratch, "uniform numbers", self.size.batch)?;
                let mut chosen = gpu.alloc(Purpose::Scratch, "chosen tokens", self.size.batch)?;
                let choice = Choice::default();
                let logits = model.last_logits(gpu, &tokens)?;
                gpu.sample(logits, &uniform, &mut chosen, self.size.vocab, choice)?;
            }
        }
        gpu.finish()
    }

    fn knob(&mut self, name: &str) -> &mut usize {
        match name {
            "nhid" => &mut self.size.hidden,
            "emsize" => &mut self.size.embedding,
            "bptt" => &mut self.size.time_steps,
            "vocab-size" => &mut self.size.vocab,
            _ => &mut self.size.batch,
        }
    }

    /// The same with another value of a size.
    fn with(&self, knob: &str, value: usize) -> Self {
        let mut need = self.clone();
        *need.knob(knob) = value;
        need
    }
}

impl Room {
    /// Checks that `need` fits.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] with the sum by purpose, what does not fit, and the smallest change of
    /// each size alone that would.
    pub fn check(&mut self, need: &Need) -> Result<()> {
        let Some(why) = self.obstacle(need)? else {
            return Ok(());
        };
        let mut ways = Vec::new();
        let mut all = need.clone();
        for &knob in need.knobs {
            let value = *all.knob(knob);
            if let Some(fitting) = self.largest(need, knob, value)? {
                ways.push(format!("--{knob} {fitting}"));
            }
        }
        Err(Error::DoesNotFit {
            plan: need.plan()?.to_string(),
            device: self.device.clone(),
            why,
            ways: match ways.as_slice() {
                [] if need.knobs.is_empty() => {
                    "its sizes cannot change; free memory, or take another --device".to_owned()
                }
                [] => format!("no smaller --{} alone would", need.knobs.join(", --")),
                ways => format!("{} would fit", ways.join(", or ")),
            },
        })
    }

    /// What keeps `need` from fitting.
    fn obstacle(&mut self, need: &Need) -> Result<Option<String>> {
        Ok(match self.lacks_memory(need)? {
            Some(why) => Some(why),
            None => self.exceeds_limits(need)?,
        })
    }

    fn lacks_memory(&self, need: &Need) -> Result<Option<String>> {
        let total = need.plan()?.total();
        let lacking = self.available.filter(|available| total > *available);
        Ok(lacking.map(|available| format!("has {:.1} MiB available", mebibytes(available))))
    }

    fn exceeds_limits(&mut self, need: &Need) -> Result<Option<String>> {
        let Some(gpu) = &mut self.rehearsal else {
            return Ok(None);
        };
        match need.rehearse(gpu) {
            Ok(()) => Ok(None),
            Err(
                e @ (Error::TooLarge { .. }
                | Error::Unbindable { .. }
                | Error::Grid { .. }
                | Error::Shape { .. }),
            ) => {
                let why = e.to_string();
                // What to do is said once, with figures.
                let why = why.split_once("; use").map_or(why.as_str(), |(why, _)| why);
                Ok(Some(format!("refuses: {why}")))
            }
            Err(error) => Err(error),
        }
    }

    /// The largest value of a size below `value` that fits.
    fn largest(&mut self, need: &Need, knob: &str, value: usize) -> Result<Option<usize>> {
        let Some(most) = self.largest_in_memory(need, knob, value - 1)? else {
            return Ok(None);
        };
        // What a binding holds bounds sizes from above: below the bound, all fit.
        let bound = last_that(most, |value| {
            Ok(self.exceeds_limits(&need.with(knob, value))?.is_none())
        })?;
        self.largest_in_memory(need, knob, bound)
    }

    /// The largest value of a size, at most `value`, for which there is memory.
    fn largest_in_memory(
        &self,
        need: &Need,
        knob: &str,
        mut value: usize,
    ) -> Result<Option<usize>> {
        let fits =
            |value| -> Result<bool> { Ok(self.lacks_memory(&need.with(knob, value))?.is_none()) };
        // Memory grows with a size from `least` to `value`: there it is bisected. A larger vocabulary
        // may need less than a smaller one that has more rows of logits at once.
        while value > 0 {
            let least = match knob {
                "vocab-size" => least_vocab_with_rows_of(value),
                _ => 1,
            };
            if fits(least)? {
                let more = last_that(value - least, |more| fits(least + more))?;
                return Ok(Some(least + more));
            }
            value = least - 1;
        }
        Ok(None)
    }
}

/// The last number up to `most` for which `holds`, if it holds for none behind one for which it does
/// not; 0 if there is none.
fn last_that(most: usize, mut holds: impl FnMut(usize) -> Result<bool>) -> Result<usize> {
    if most == 0 || holds(most)? {
        return Ok(most);
    }
    let (mut last, mut beyond) = (0, most);
    while beyond - last > 1 {
        let middle = last + (beyond - last) / 2;
        match holds(middle)? {
            true => last = middle,
            false => beyond = middle,
        }
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn need(size: ModelSize) -> Need {
        Need {
            size,
            of: Use::Train(Box::default()),
            knobs: &["batch-size", "bptt", "nhid", "emsize", "vocab-size"],
        }
    }

    fn room(available: u64) -> Room {
        Room {
            device: "a device".to_owned(),
            available: Some(available),
            rehearsal: None,
        }
    }

    /// A vocabulary of 11,983 tokens has all 700 rows of a window at once; above, ever fewer.
    #[test]
    fn the_largest_of_each_size_is_found_as_by_trying_all() {
        let size = ModelSize {
            vocab: 16_000,
            embedding: 3,
            hidden: 60,
            batch: 20,
            time_steps: 35,
            biases: 1,
        };
        let need = need(size);
        let bytes = |knob, value| need.with(knob, value).plan().unwrap().total();
        let mut not_monotone = 0;
        for &knob in need.knobs {
            let value = *need.clone().knob(knob);
            let sizes: Vec<u64> = (1..value).map(|value| bytes(knob, value)).collect();
            not_monotone += usize::from(!sizes.is_sorted());
            let (least, most) = (sizes[0], bytes(knob, value));
            for part in 0..60 {
                let available = least - 1 + (most - least) * part / 60;
                let tried = sizes.iter().rposition(|bytes| *bytes <= available);
                let found = room(available).largest(&need, knob, value).unwrap();
                assert_eq!(found, tried.map(|at| at + 1), "{knob}, {available} bytes");
            }
        }
        assert_eq!(not_monotone, 1, "only the vocabulary");
    }

    #[test]
    fn the_largest_vocabulary_is_found_at_once() {
        let need = need(ModelSize {
            vocab: 1 << 28,
            embedding: 1,
            hidden: 1,
            batch: 1 << 16,
            time_steps: 1 << 16,
            biases: 1,
        });
        let begin = Instant::now();
        let none = room(1000).largest(&need, "vocab-size", 1 << 28).unwrap();
        let some = room(400 << 30).largest(&need, "vocab-size", 1 << 28);
        let seconds = begin.elapsed().as_secs_f64();
        assert!(none.is_none() && some.unwrap().is_some());
        assert!(seconds < 1.0, "{seconds} s");
    }
}
