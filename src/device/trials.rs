//! Choices among kernels whose results are the same to the bit, by timing each once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::kernel::Kernel;
use super::{Device, Gpu};
use crate::error::{Error, Result};

/// What all timings of a device may take together; then the shape decides.
const BUDGET: Duration = Duration::from_millis(500);
/// What one timing may take, repetitions and all, unless a single run takes longer.
const TIMING: Duration = Duration::from_millis(1);
/// Most runs of a timing, and timings of which the shortest counts.
const MAX_RUNS: u32 = 32;
const TIMINGS: usize = 3;
/// A kernel must be this much faster than the one that suits the shape to be taken instead.
const CLEARLY: f64 = 1.05;

/// Sizes that stand for a class of shapes.
pub(crate) type Class = [usize; 4];

/// Which kernel an op uses for a class of shapes, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The op.
    pub op: &'static str,
    /// The shapes, in words.
    pub shapes: String,
    /// The kernel's name.
    pub kernel: &'static str,
    /// What each candidate took; empty if the shape decided, because trials had taken long enough.
    pub times: Vec<(&'static str, Duration)>,
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.op, self.shapes, self.kernel)?;
        for (i, (kernel, time)) in self.times.iter().enumerate() {
            let separator = if i == 0 { " of" } else { "," };
            write!(f, "{separator} {kernel} {:.1} µs", 1e6 * time.as_secs_f64())?;
        }
        Ok(())
    }
}

/// What trials have found.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    on: bool,
    spent: Duration,
    /// By op: the candidates that gave right results on this device.
    right: BTreeMap<&'static str, Vec<&'static Kernel>>,
    chosen: BTreeMap<(&'static str, Class), (&'static Kernel, Choice)>,
}

impl Trials {
    /// With trials or without.
    pub fn new(on: bool) -> Self {
        Trials {
            on,
            ..Trials::default()
        }
    }
}

impl Gpu {
    /// Turns trials on or off, and forgets what they found. They are on for hardware: there, the
    /// first product of a class of shapes times the kernels that can do it, half a second for all
    /// classes together. They choose among kernels of the same bits: results do not depend on them.
    pub fn set_trials(&mut self, on: bool) {
        self.trials = Trials::new(on);
    }

    /// The choices that trials have made since the device was opened, by op and shape.
    pub fn choices(&self) -> impl Iterator<Item = &Choice> {
        self.trials.chosen.values().map(|(_, choice)| choice)
    }

    /// Does an op choose among equal kernels by trial?
    pub(crate) fn tries_variants(&self) -> bool {
        self.trials.on
    }

    /// Forgets what trials have found, but not what they took.
    pub(crate) fn forget_choices(&mut self) {
        self.trials.right.clear();
        self.trials.chosen.clear();
    }

    /// The kernel chosen for a class of shapes, if one was.
    pub(crate) fn chosen(&self, op: &'static str, class: Class) -> Option<&'static Kernel> {
        Some(self.trials.chosen.get(&(op, class))?.0)
    }

    /// Those of `candidates` that `check` finds right on this device, by one check for each.
    ///
    /// # Errors
    /// [`Error::Device`] if none is.
    pub(crate) fn right_kernels(
        &mut self,
        op: &'static str,
        candidates: &[&'static Kernel],
        check: impl FnOnce(&mut Gpu) -> Result<Vec<&'static Kernel>>,
    ) -> Result<Vec<&'static Kernel>> {
        if let Some(right) = self.trials.right.get(op) {
            return Ok(right.clone());
        }
        let right = check(self)?;
        if right.is_empty() {
            let names: Vec<_> = candidates.iter().map(|kernel| kernel.name).collect();
            return Err(Error::Device {
                device: self.describe(),
                message: format!(
                    "{op} is wrong by each of {}: update the driver, or take another --device; \
                     `bptt parity` says what else is wrong",
                    names.join(", ")
                ),
            });
        }
        self.trials.right.insert(op, right.clone());
        Ok(right)
    }

    /// Chooses one of `candidates` for a class of shapes, which is then kept: the fastest to `run`
    /// on what `prepare` makes, unless `suited` is about as fast.
    pub(crate) fn try_variants<T>(
        &mut self,
        (op, class, shapes): (&'static str, Class, String),
        candidates: &[&'static Kernel],
        suited: &'static Kernel,
        prepare: impl FnOnce(&mut Gpu) -> Result<T>,
        run: impl Fn(&mut Gpu, &'static Kernel, &mut T) -> Result<()>,
    ) -> Result<&'static Kernel> {
        let begun = Instant::now();
        let mut times = Vec::new();
        if self.trials.spent < BUDGET && candidates.len() > 1 {
            // Memory that is too scarce for a trial may do for the work itself.
            match prepare(self) {
                Ok(mut operands) => {
                    for &kernel in candidates {
                        let run = |gpu: &mut Gpu| run(gpu, kernel, &mut operands);
                        times.push((kernel, self.time_of(run)?));
                    }
                }
                Err(Error::OutOfMemory { .. } | Error::TooLarge { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.trials.spent += begun.elapsed();
        let kernel = fastest(&times, suited);
        let choice = Choice {
            op,
            shapes,
            kernel: kernel.name,
            times: times.iter().map(|(k, time)| (k.name, *time)).collect(),
        };
        self.trials.chosen.insert((op, class), (kernel, choice));
        Ok(kernel)
    }

    /// The time of one run, of several on end.
    fn time_of(&mut self, mut run: impl FnMut(&mut Gpu) -> Result<()>) -> Result<Duration> {
        let mut time = |gpu: &mut Gpu, runs: u32| {
            gpu.finish()?;
            let begun = Instant::now();
            for _ in 0..runs {
                run(gpu)?;
            }
            gpu.finish()?;
            Ok(begun.elapsed() / runs)
        };
        // The first run compiles the kernel.
        time(self, 1)?;
        let once = time(self, 1)?;
        let runs = TIMING.as_nanos() / once.as_nanos().max(1);
        let runs = u32::try_from(runs).unwrap_or(MAX_RUNS).clamp(1, MAX_RUNS);
        let mut shortest = once;
        for _ in 0..TIMINGS {
            shortest = shortest.min(time(self, runs)?);
        }
        Ok(shortest)
    }
}

/// The fastest kernel, unless `suited` is about as fast or nothing was timed.
fn fastest(times: &[(&'static Kernel, Duration)], suited: &'static Kernel) -> &'static Kernel {
    let Some(&(best, shortest)) = times.iter().min_by_key(|(_, time)| *time) else {
        return suited;
    };
    let as_fast = |(kernel, time): &(&'static Kernel, Duration)| {
        kernel.name == suited.name && time.as_secs_f64() < CLEARLY * shortest.as_secs_f64()
    };
    if times.iter().any(as_fast) {
        suited
    } else {
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gpu::variants;

    #[test]
    fn what_suits_is_kept_unless_another_is_clearly_faster() {
        let kernels = variants("matmul");
        let (first, second) = (kernels[0], kernels[1]);
        let chosen = |a, b| {
            let times = [
                (first, Duration::from_micros(a)),
                (second, Duration::from_micros(b)),
            ];
            fastest(&times, first).name
        };
        assert_eq!(chosen(100, 100), first.name);
        assert_eq!(chosen(100, 97), first.name);
        assert_eq!(chosen(100, 90), second.name);
        assert_eq!(fastest(&[], first).name, first.name);
    }

    #[test]
    fn a_choice_reads_as_one_line() {
        let mut choice = Choice {
            op: "matmul",
            shapes: "64×64×64".to_owned(),
            kernel: "matmul_32",
            times: Vec::new(),
        };
        assert_eq!(choice.to_string(), "matmul 64×64×64: matmul_32");
        choice.times = vec![
            ("matmul_32", Duration::from_micros(10)),
            ("matmul_64", Duration::from_nanos(12_340)),
        ];
        let line = "matmul 64×64×64: matmul_32 of matmul_32 10.0 µs, matmul_64 12.3 µs";
        assert_eq!(choice.to_string(), line);
    }
}
