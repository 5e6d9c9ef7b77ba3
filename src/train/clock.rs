//! How long training takes, and how fast it is.

use std::time::{Duration, Instant};

/// Measures time spent on training.
#[derive(Debug)]
pub(super) struct Clock {
    begun: Instant,
    /// Seconds of earlier processes.
    before: f64,
    /// When the speed was last asked for, and the windows that were done then.
    last: (Instant, u64),
}

impl Clock {
    pub fn new(windows: u64, before: f64) -> Self {
        let now = Instant::now();
        Clock {
            begun: now,
            before,
            last: (now, windows),
        }
    }

    /// Takes time out that was not spent on training.
    pub fn pause(&mut self, time: Duration) {
        self.begun += time;
        self.last.0 += time;
    }

    pub fn seconds(&self) -> f64 {
        self.before + self.begun.elapsed().as_secs_f64()
    }

    /// Since this was last asked for.
    pub fn windows_per_second(&mut self, windows: u64) -> f64 {
        let now = Instant::now();
        let (then, before) = std::mem::replace(&mut self.last, (now, windows));
        (windows - before) as f64 / (now - then).as_secs_f64()
    }
}
