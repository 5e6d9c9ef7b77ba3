//! From a kernel's parameters and buffers to a dispatch of the next submission: its grid, its pipeline, and a
//! bind group that is made once and kept.

use std::collections::HashSet;
use std::sync::Arc;

use super::buffer::{Buffer, ByteRange};
use super::faults::Place;
use super::pipelines::Setting;
use super::{Gpu, lock};
use crate::device::Device;
use crate::device::kernel::{Access, FIRST_WORKGROUP, Kernel, Params, exact, grid};
use crate::device::work::Work;
use crate::error::{Error, Result};

/// Bytes of a uniform slot: every adapter aligns uniform bindings to 256 or less.
const SLOT: u64 = 256;
/// Slots of one uniform buffer.
const SLOTS: u64 = 256;
/// Most storage bindings of a kernel.
const MAX_BINDINGS: usize = 6;
/// Most words of a parameter struct.
const MAX_WORDS: usize = 24;

/// Everything that determines a bind group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct BindingKey {
    pipeline: usize,
    buffers: [ByteRange; MAX_BINDINGS],
    params: [u32; MAX_WORDS],
}

#[derive(Debug)]
pub(super) struct Binding {
    group: wgpu::BindGroup,
    slot: u64,
}

/// What is recorded and not yet encoded.
#[derive(Debug)]
pub(super) struct Dispatch {
    setting: Setting,
    words: Vec<u32>,
    buffers: Vec<Buffer>,
    grid: [u32; 2],
}

impl Gpu {
    /// Records a dispatch of `workgroups` workgroups of `kernel`, which do `work`.
    pub(crate) fn dispatch<P: Params>(
        &mut self,
        kernel: &'static Kernel,
        params: &P,
        buffers: &[&Buffer],
        workgroups: usize,
        work: Work,
    ) -> Result<()> {
        self.dispatch_switched(kernel, 0, params, buffers, workgroups, work)
    }

    /// [`Gpu::dispatch`] with a setting of the kernel's switches. What would take a slow GPU too long
    /// is cut by workgroups, if the kernel can be: they do not depend on each other, so results are
    /// the same.
    pub(crate) fn dispatch_switched<P: Params>(
        &mut self,
        kernel: &'static Kernel,
        switches: u32,
        params: &P,
        buffers: &[&Buffer],
        workgroups: usize,
        work: Work,
    ) -> Result<()> {
        let mut words = [0; MAX_WORDS];
        let given = bytemuck::cast_slice(std::slice::from_ref(params));
        words[..given.len()].copy_from_slice(given);
        let seconds = work.seconds_on_slow_gpu();
        let last = kernel.fields.len().saturating_sub(1);
        let can_be_cut = kernel.fields.last().is_some_and(|f| f.0 == FIRST_WORKGROUP);
        let parts = if can_be_cut {
            (seconds / self.longest).ceil()
        } else {
            1.0
        };
        let part = match parts as usize {
            0 | 1 => workgroups,
            parts => exact(workgroups.div_ceil(parts), self.widest(workgroups)),
        };
        for first in (0..workgroups).step_by(part.max(1)) {
            let count = part.min(workgroups - first);
            if can_be_cut {
                words[last] = first as u32;
            }
            let share = seconds * count as f64 / workgroups as f64;
            self.record(
                kernel,
                switches,
                &words[..given.len()],
                buffers,
                count,
                share,
            )?;
        }
        Ok(())
    }

    /// Lets no grid that can be narrower have more than so many workgroups in a row, until told
    /// otherwise: large grids have rows of the device's limit, and what comes of several rows shows in
    /// small ones, too.
    pub fn fold_grids(&mut self, widest: Option<u32>) {
        self.widest = widest;
    }

    /// The most workgroups in a row of a grid of so many.
    fn widest(&self, workgroups: usize) -> u32 {
        let limit = self.limits.max_compute_workgroups_per_dimension;
        let least = workgroups.div_ceil(limit.max(1) as usize);
        let least = u32::try_from(least).unwrap_or(u32::MAX);
        self.widest.unwrap_or(limit).max(least).min(limit)
    }

    /// Records one dispatch that takes a slow GPU so many seconds, after a submission of those before
    /// it if they take too long together.
    fn record(
        &mut self,
        kernel: &'static Kernel,
        switches: u32,
        words: &[u32],
        buffers: &[&Buffer],
        workgroups: usize,
        seconds: f64,
    ) -> Result<()> {
        let pending = self.recorder.pending_seconds();
        if pending > 0.0 && pending + seconds > self.longest {
            self.submit()?;
        }
        let limit = self.limits.max_compute_workgroups_per_dimension;
        let grid = grid(workgroups, self.widest(workgroups), limit).ok_or(Error::Grid {
            kernel: kernel.name,
            workgroups,
            limit,
        })?;
        if self.faults.strike(Place::Dispatch) {
            self.lose();
        }
        self.timer.note(kernel.name);
        self.recorder.count(seconds);
        if self.plan_only {
            return Ok(());
        }
        let setting = (kernel, switches);
        match self.pipelines.place(setting) {
            Some(place) if self.waiting.is_empty() => {
                self.encode(kernel, place, words, buffers, grid)
            }
            _ => {
                self.waiting.push(Dispatch {
                    setting,
                    words: words.to_vec(),
                    buffers: buffers.iter().map(|buffer| (*buffer).clone()).collect(),
                    grid,
                });
                Ok(())
            }
        }
    }

    /// Encodes the dispatches that wait for their kernels, which are compiled side by side: all those of
    /// a first step at once.
    pub(super) fn encode_waiting(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        let settings: Vec<_> = waiting.iter().map(|dispatch| dispatch.setting).collect();
        let places = self.pipelines.compile(&self.device, &settings);
        for (dispatch, place) in waiting.iter().zip(places) {
            let buffers: Vec<_> = dispatch.buffers.iter().collect();
            let (kernel, grid) = (dispatch.setting.0, dispatch.grid);
            self.encode(kernel, place, &dispatch.words, &buffers, grid)?;
        }
        Ok(())
    }

    /// Encodes a dispatch for the next submission, of a kernel whose pipeline is at `pipeline`.
    fn encode(
        &mut self,
        kernel: &'static Kernel,
        pipeline: usize,
        words: &[u32],
        buffers: &[&Buffer],
        grid: [u32; 2],
    ) -> Result<()> {
        let mut key = BindingKey {
            pipeline,
            buffers: [ByteRange::default(); MAX_BINDINGS],
            params: [0; MAX_WORDS],
        };
        for (range, buffer) in key.buffers.iter_mut().zip(buffers) {
            *range = buffer.range;
        }
        key.params[..words.len()].copy_from_slice(words);
        if !self.bindings.contains_key(&key) {
            self.check_aliases(kernel, buffers);
            let binding = self.bind(pipeline, words, buffers)?;
            self.bindings.insert(key.clone(), binding);
        }
        let group = &self.bindings[&key].group;
        let pipeline = self.pipelines.at(pipeline);
        self.recorder.dispatch(&self.device, pipeline, group, grid);
        Ok(())
    }

    /// Keeps as a failure that `kernel` reads and writes ranges of one allocation, which wgpu tracks
    /// as a whole: it would say so at the submission, but name neither.
    fn check_aliases(&self, kernel: &Kernel, buffers: &[&Buffer]) {
        let bindings = || kernel.bindings.iter().zip(buffers);
        for ((read, _), from) in bindings().filter(|((_, access), _)| *access == Access::Read) {
            let written = bindings().find(|((_, access), to)| {
                *access == Access::ReadWrite && Arc::ptr_eq(&from.allocation, &to.allocation)
            });
            if let Some(((written, _), _)) = written {
                let name = kernel.name;
                self.failures.note(format!(
                    "{name}: {read} and {written} must not be tensors of one group"
                ));
            }
        }
    }

    /// A bind group with the parameters in a uniform slot of its own.
    fn bind(&mut self, pipeline: usize, params: &[u32], buffers: &[&Buffer]) -> Result<Binding> {
        let slot = self.free_slot()?;
        let uniform = &self.uniforms[(slot / SLOTS) as usize];
        let offset = slot % SLOTS * SLOT;
        self.queue
            .write_buffer(uniform, offset, bytemuck::cast_slice(params));
        let params = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: uniform,
            offset,
            size: wgpu::BufferSize::new(SLOT),
        });
        let storage = buffers.iter().filter_map(|b| {
            Some(wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: b.allocation.raw.as_ref()?,
                offset: b.range.offset,
                size: wgpu::BufferSize::new(b.range.size),
            }))
        });
        let entries: Vec<_> = std::iter::once(params)
            .chain(storage)
            .zip(0..)
            .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.pipelines.at(pipeline).get_bind_group_layout(0),
            entries: &entries,
        });
        Ok(Binding { group, slot })
    }

    fn free_slot(&mut self) -> Result<u64> {
        if self.free_slots.is_empty() {
            let first = self.uniforms.len() as u64 * SLOTS;
            let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
            let uniform = self.make_buffer("parameters", SLOT * SLOTS, usage)?;
            self.uniforms.push(uniform);
            self.free_slots.extend((first..first + SLOTS).rev());
        }
        // A buffer was pushed if there was none, so there is a slot.
        Ok(self.free_slots.pop().unwrap_or_default())
    }

    /// Forgets the bind groups of dropped buffers, which frees the buffers' memory.
    pub(super) fn forget_dropped(&mut self) -> Result<()> {
        if lock(&self.dropped).is_empty() {
            return Ok(());
        }
        // Freed slots are written again: what uses them must be on its way before.
        self.submit()?;
        let dropped: HashSet<u64> = lock(&self.dropped).drain(..).collect();
        let free_slots = &mut self.free_slots;
        self.bindings.retain(|key, binding| {
            let ranges = &mut key.buffers.iter();
            let keep = !ranges.any(|range| dropped.contains(&range.allocation));
            if !keep {
                free_slots.push(binding.slot);
            }
            keep
        });
        Ok(())
    }
}
