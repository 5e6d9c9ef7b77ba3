//! The GPU as a stopwatch: timestamp queries around ops.

use super::Gpu;
use crate::device::Device;
use crate::device::stopwatch::{Clock, Lap, Stopwatch};
use crate::error::Result;

/// Laps that a query set holds, a timestamp at both ends of each. It is read when it is full:
/// bounded also where each lap is a pass (Metal stops at some hundred passes a command buffer).
const LAPS: u32 = 256;

/// Timestamp queries of the laps under way, and the laps that were read.
#[derive(Debug, Default)]
pub(super) struct Timer {
    /// The clock that was asked for instead of the best one.
    clock: Option<Clock>,
    queries: Option<Queries>,
    /// Laps whose timestamps are on the device, in `queries`, and whether these hold for all of the
    /// lap.
    waiting: Vec<(Lap, bool)>,
    done: Vec<Lap>,
    /// The lap under way.
    current: Option<Current>,
}

/// A lap that has begun.
#[derive(Debug)]
struct Current {
    dispatches_before: u64,
    submissions_before: u64,
    kernels: Vec<&'static str>,
}

#[derive(Debug)]
struct Queries {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
}

impl Timer {
    /// The features that timestamps need. A device pays for queries when it makes them, not for having
    /// been asked for the feature.
    pub const FEATURES: wgpu::Features =
        wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES);

    /// Notes a kernel that is about to be dispatched, if a lap is under way.
    pub fn note(&mut self, kernel: &'static str) {
        if let Some(current) = &mut self.current
            && !current.kernels.contains(&kernel)
        {
            current.kernels.push(kernel);
        }
    }
}

impl Queries {
    fn new(device: &wgpu::Device) -> Self {
        Queries {
            set: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: 2 * LAPS,
            }),
            resolved: device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: u64::from(2 * LAPS) * 8,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            }),
        }
    }
}

impl Gpu {
    /// Times ops by `clock` from now on, if the device has it; for comparing clocks.
    pub fn set_clock(&mut self, clock: Clock) {
        self.timer.clock = Some(clock);
    }

    /// Writes the timestamp at one end of a lap into the current pass.
    fn write_timestamp(&mut self, index: u32) -> Result<()> {
        self.encode_waiting()?;
        let queries = self
            .timer
            .queries
            .get_or_insert_with(|| Queries::new(&self.device));
        let pass = self.recorder.pass(&self.device, None);
        pass.write_timestamp(&queries.set, index);
        Ok(())
    }

    /// Opens a pass that writes the timestamps of the lap at both of its ends.
    fn open_timed_pass(&mut self, first: u32) {
        let queries = self
            .timer
            .queries
            .get_or_insert_with(|| Queries::new(&self.device));
        let timestamps = wgpu::ComputePassTimestampWrites {
            query_set: &queries.set,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        };
        self.recorder.pass(&self.device, Some(timestamps));
    }

    /// The index of the first timestamp of the next lap.
    fn next_timestamp(&self) -> u32 {
        2 * self.timer.waiting.len() as u32
    }

    /// Reads the timestamps of all laps that are waiting for theirs.
    fn read_timestamps(&mut self) -> Result<()> {
        self.submit()?;
        let count = self.next_timestamp();
        if count == 0 {
            return Ok(());
        }
        let queries = self.timer.queries.take();
        let queries = queries.unwrap_or_else(|| Queries::new(&self.device));
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.resolve_query_set(&queries.set, 0..count, &queries.resolved, 0);
        self.queue.submit([encoder.finish()]);
        let mut ticks = vec![0u64; count as usize];
        let bytes = bytemuck::cast_slice_mut(&mut ticks);
        self.read_bytes(&queries.resolved, 0, bytes)?;
        self.timer.queries = Some(queries);
        let seconds_a_tick = f64::from(self.queue.get_timestamp_period()) * 1e-9;
        let waiting = self.timer.waiting.drain(..);
        let timed = waiting.zip(ticks.chunks_exact(2));
        let timed = timed.map(|((lap, whole), ends)| Lap {
            seconds: whole.then(|| ends[1].saturating_sub(ends[0]) as f64 * seconds_a_tick),
            ..lap
        });
        self.timer.done.extend(timed);
        Ok(())
    }
}

impl Stopwatch for Gpu {
    fn clock(&self) -> Clock {
        let features = self.device.features();
        let in_passes = wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES;
        let has = |clock: &Clock| match clock {
            Clock::Timestamps => features.contains(wgpu::Features::TIMESTAMP_QUERY | in_passes),
            Clock::PassTimestamps => features.contains(wgpu::Features::TIMESTAMP_QUERY),
            Clock::Wall => false,
            Clock::WallWaiting => true,
        };
        let best_first = [Clock::Timestamps, Clock::PassTimestamps];
        let mut clocks = self.timer.clock.into_iter().chain(best_first);
        clocks.find(has).unwrap_or(Clock::WallWaiting)
    }

    fn begin_lap(&mut self) -> Result<()> {
        match self.clock() {
            Clock::Timestamps => self.write_timestamp(self.next_timestamp())?,
            Clock::PassTimestamps => {
                self.submit()?;
                self.open_timed_pass(self.next_timestamp());
            }
            Clock::Wall | Clock::WallWaiting => self.finish()?,
        }
        self.timer.current = Some(Current {
            dispatches_before: self.dispatches(),
            submissions_before: self.recorded().submissions,
            kernels: Vec::new(),
        });
        Ok(())
    }

    fn end_lap(&mut self) -> Result<()> {
        let Some(current) = self.timer.current.take() else {
            return Ok(());
        };
        let lap = Lap {
            seconds: None,
            dispatches: self.dispatches() - current.dispatches_before,
            kernels: current.kernels,
        };
        // The timestamps of a pass end with its submission, which long work is cut into several of.
        let is_cut = self.recorded().submissions > current.submissions_before;
        let clock = self.clock();
        match clock {
            Clock::Timestamps => self.write_timestamp(self.next_timestamp() + 1)?,
            Clock::PassTimestamps => self.submit()?,
            Clock::Wall | Clock::WallWaiting => {
                self.finish()?;
                self.timer.done.push(lap);
                return Ok(());
            }
        }
        let whole = clock == Clock::Timestamps || !is_cut;
        self.timer.waiting.push((lap, whole));
        if self.timer.waiting.len() == LAPS as usize {
            self.read_timestamps()?;
        }
        Ok(())
    }

    fn take_laps(&mut self) -> Result<Vec<Lap>> {
        self.read_timestamps()?;
        Ok(std::mem::take(&mut self.timer.done))
    }
}
