//! Timing ops one by one: by the device's own clock where it has one that can be read between
//! ops, else by the host's.

use serde::Serialize;

use super::{Cpu, Element};
use crate::error::Result;
use crate::ops::Ops;

/// What the time of an op is told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Clock {
    /// The host's clock: an op is done when its call returns.
    Wall,
    /// The host's clock, waiting for the device before and after each op: launching and waiting
    /// count as part of the op.
    WallWaiting,
    /// The device's timestamps between the ops of one compute pass.
    Timestamps,
    /// The device's timestamps at the ends of compute passes, one pass and submission an op.
    PassTimestamps,
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Clock::Wall => "wall time",
            Clock::WallWaiting => "wall time, waiting for each op (the device has no timestamps)",
            Clock::Timestamps => "timestamps of the device",
            Clock::PassTimestamps => "timestamps of the device, a pass for each op",
        })
    }
}

/// What a device tells of the work between [`Stopwatch::begin_lap`] and [`Stopwatch::end_lap`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lap {
    /// By the device's clock; [`None`] where the host's has to do.
    pub seconds: Option<f64>,
    /// Dispatches.
    pub dispatches: u64,
    /// The kernels dispatched, each named once.
    pub kernels: Vec<&'static str>,
}

/// A device whose ops can be timed one by one.
pub trait Stopwatch: Ops {
    /// What it is timed by.
    fn clock(&self) -> Clock {
        Clock::Wall
    }

    /// Marks the beginning of an op; with [`Clock::WallWaiting`] the device is idle afterwards.
    ///
    /// # Errors
    /// As [`crate::device::Device::finish`].
    fn begin_lap(&mut self) -> Result<()> {
        Ok(())
    }

    /// Marks the end of the op; with either wall clock it is done afterwards.
    ///
    /// # Errors
    /// As [`crate::device::Device::finish`].
    fn end_lap(&mut self) -> Result<()> {
        Ok(())
    }

    /// Every lap since the last call, in order; empty from a device that has nothing to tell.
    /// Waits for the device.
    ///
    /// # Errors
    /// As [`crate::device::Device::finish`].
    fn take_laps(&mut self) -> Result<Vec<Lap>> {
        Ok(Vec::new())
    }
}

impl<F: Element> Stopwatch for Cpu<F> {}
