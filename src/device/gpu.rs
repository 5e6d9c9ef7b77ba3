//! A GPU through wgpu: buffers, pipelines and bind groups, made once and kept.

mod buffer;
mod failure;
mod faults;
mod pipelines;
mod tensor;
mod timestamps;
mod transfer;

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::adapter;
use super::kernel::{Access, FIRST_WORKGROUP, Kernel, Params, exact, grid};
use super::recorder::Recorder;
use super::tokens::{Segments, TokenIndex};
use super::trials::Trials;
use super::work::{LONGEST, Recorded, Work};
use super::{Device, Purpose, check_range};
use crate::error::{Error, Result};
pub(crate) use buffer::Buffer;
use buffer::{ALIGNMENT, Allocation, ByteRange, buffer_bytes, offsets_within};
use failure::Failures;
pub use faults::Fault;
use faults::{Faults, Place};
use pipelines::{Pipelines, Setting};
pub use tensor::GpuTensor;
pub(crate) use tensor::aligned_rows;
#[cfg(test)]
pub(crate) use tensor::without_memory;
use timestamps::Timer;

/// Bytes of a uniform slot: every adapter aligns uniform bindings to 256 or less.
const SLOT: u64 = 256;
/// Slots of one uniform buffer.
const SLOTS: u64 = 256;
/// Most storage bindings of a kernel.
const MAX_BINDINGS: usize = 6;
/// Most words of a parameter struct.
const MAX_WORDS: usize = 24;
/// Most bytes that are bound at once, whatever the adapter allows: moving them all takes a slow GPU
/// less than a dispatch may take.
pub const LARGEST_BINDING: u64 = 1 << 31;

/// Elements of the scratch memory of ops: 2 MiB.
pub const SCRATCH: usize = 1 << 19;

/// What of an adapter is used.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GpuSettings {
    /// Its limits, or lower ones.
    pub limits: wgpu::Limits,
    /// What it has beyond what every adapter has.
    pub features: wgpu::Features,
    /// Seconds on a slow GPU that a dispatch, and a submission, may take: see [`Work`].
    pub longest: f64,
    /// Is nothing to be allocated or run? What would be is counted: [`Gpu::recorded`].
    pub plan_only: bool,
}

impl GpuSettings {
    /// All that `adapter` has.
    pub fn of(adapter: &wgpu::Adapter) -> Self {
        GpuSettings {
            limits: adapter.limits(),
            features: adapter.features() & (Timer::FEATURES | wgpu::Features::SUBGROUP),
            longest: LONGEST,
            plan_only: false,
        }
    }

    /// What every WebGPU adapter has: its default limits, and no optional feature.
    pub fn default_limits() -> Self {
        GpuSettings {
            limits: wgpu::Limits::defaults(),
            features: wgpu::Features::empty(),
            longest: LONGEST,
            plan_only: false,
        }
    }
}

/// Token ids in device memory, with the index by token where it was asked for.
#[derive(Debug)]
pub struct GpuIds {
    pub(crate) host: TokenIndex,
    pub(crate) tokens: GpuTensor,
    pub(crate) index: Option<GpuIndex>,
}

/// The positions of every token, in [`Segments`].
#[derive(Debug)]
pub(crate) struct GpuIndex {
    pub positions: GpuTensor,
    pub segments: Segments,
    pub starts: GpuTensor,
    pub of_token: GpuTensor,
}

/// A mutex's content, also after a panic elsewhere: it holds plain lists and messages.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything that determines a bind group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct BindingKey {
    pipeline: usize,
    buffers: [ByteRange; MAX_BINDINGS],
    params: [u32; MAX_WORDS],
}

#[derive(Debug)]
struct Binding {
    group: wgpu::BindGroup,
    slot: u64,
}

/// What is recorded and not yet encoded.
#[derive(Debug)]
struct Dispatch {
    setting: Setting,
    words: Vec<u32>,
    buffers: Vec<Buffer>,
    grid: [u32; 2],
}

/// A GPU as a device. One compute pass and one submission a step; pipelines and bind groups are
/// made at the first submission that needs them, and kept.
#[derive(Debug)]
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    limits: wgpu::Limits,
    longest: f64,
    plan_only: bool,
    recorder: Recorder,
    timer: Timer,
    pipelines: Pipelines,
    /// Dispatches from the first on whose kernel is not compiled.
    waiting: Vec<Dispatch>,
    variants: HashMap<&'static str, &'static Kernel>,
    /// The most workgroups in a row of a grid, where the limit is not low enough.
    widest: Option<u32>,
    /// The most bytes that are bound at once, where the limit is not low enough.
    bindable: Option<u64>,
    pub(super) trials: Trials,
    bindings: HashMap<BindingKey, Binding>,
    uniforms: Vec<wgpu::Buffer>,
    free_slots: Vec<u64>,
    staging: Option<wgpu::Buffer>,
    scratch: Option<GpuTensor>,
    next_id: u64,
    dropped: Arc<Mutex<Vec<u64>>>,
    failures: Failures,
    faults: Faults,
}

impl Gpu {
    /// Opens `adapter` with all that it has.
    ///
    /// # Errors
    /// [`Error::Device`] if the driver refuses.
    pub fn open(adapter: &wgpu::Adapter) -> Result<Self> {
        Gpu::open_with(adapter, GpuSettings::of(adapter))
    }

    /// Opens `adapter` with what `settings` say of it.
    ///
    /// # Errors
    /// [`Error::Device`] if the driver refuses.
    pub fn open_with(adapter: &wgpu::Adapter, settings: GpuSettings) -> Result<Self> {
        let info = adapter.get_info();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("bptt"),
            required_features: settings.features,
            required_limits: settings.limits.clone(),
            ..Default::default()
        };
        let opened = pollster::block_on(adapter.request_device(&descriptor));
        let (device, queue) = opened.map_err(|e| Error::Device {
            device: adapter::describe(&info),
            message: format!("the device cannot be opened: {e}"),
        })?;
        let failures = Failures::watch(&device);
        Ok(Gpu {
            device,
            queue,
            trials: Trials::new(info.device_type != wgpu::DeviceType::Cpu && !settings.plan_only),
            info,
            limits: settings.limits,
            longest: settings.longest,
            plan_only: settings.plan_only,
            recorder: Recorder::default(),
            timer: Timer::default(),
            pipelines: Pipelines::default(),
            waiting: Vec::new(),
            variants: HashMap::new(),
            widest: None,
            bindable: None,
            bindings: HashMap::new(),
            uniforms: Vec::new(),
            free_slots: Vec::new(),
            staging: None,
            scratch: None,
            next_id: 1,
            dropped: Arc::default(),
            failures,
            faults: Faults::default(),
        })
    }

    /// The adapter's name, backend and driver.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.info
    }

    /// Does this adapter compute on the CPU, as lavapipe and SwiftShader do?
    pub fn is_software(&self) -> bool {
        self.info.device_type == wgpu::DeviceType::Cpu
    }

    /// Dispatches recorded since the device was opened.
    pub fn dispatches(&self) -> u64 {
        self.recorder.recorded().dispatches
    }

    /// What the dispatches since the device was opened come to.
    pub fn recorded(&self) -> Recorded {
        self.recorder.recorded()
    }

    /// The features that it was opened with.
    pub fn features(&self) -> wgpu::Features {
        self.device.features()
    }

    /// The limits that it was opened with.
    pub fn limits(&self) -> &wgpu::Limits {
        &self.limits
    }

    /// Bytes that are allocated on the device; [`None`] where the backend does not count them.
    pub fn allocated_bytes(&self) -> Option<u64> {
        let report = self.device.generate_allocator_report()?;
        Some(report.total_allocated_bytes)
    }

    /// Can the device run `kernel`? It cannot if the kernel is for subgroups of another size, or for
    /// adapters that compute on the CPU.
    pub fn can_run(&self, kernel: &Kernel) -> bool {
        let has = self.features().contains(wgpu::Features::SUBGROUP);
        let sizes = [self.info.subgroup_min_size, self.info.subgroup_max_size];
        let subgroups_fit = |lanes| has && sizes == [lanes; 2];
        kernel.subgroup.is_none_or(subgroups_fit) && (self.is_software() || !kernel.for_software)
    }

    /// Uses `source` for the kernel `name` instead of its own, from its next first use on; also in
    /// what is recorded and not submitted. For checking that a wrong kernel is caught.
    pub fn replace_kernel(&mut self, name: &'static str, source: String) {
        self.pipelines.replace(name, source);
        self.forget_choices();
    }

    /// Runs `op` by the kernel of this name from now on, whatever suits the adapter best; [`None`]
    /// lets it choose again, and so does a name that the op does not know or the device cannot run.
    pub fn force_variant(&mut self, op: &'static str, variant: Option<&str>) {
        let mut kernels = crate::ops::gpu::variants(op).iter().copied();
        match kernels.find(|k| Some(k.name) == variant && self.can_run(k)) {
            Some(kernel) => self.variants.insert(op, kernel),
            None => self.variants.remove(op),
        };
    }

    /// The names of the kernels among which `op` can choose on this device, or its own where there is
    /// one way.
    pub fn variants_of(&self, op: &str) -> Vec<&'static str> {
        let entry = crate::ops::gpu::KERNELS
            .iter()
            .find(|(name, _)| *name == op);
        match (crate::ops::gpu::variants(op), entry) {
            ([], Some((name, _))) => vec![name],
            (variants, _) => {
                let runnable = variants.iter().filter(|kernel| self.can_run(kernel));
                runnable.map(|kernel| kernel.name).collect()
            }
        }
    }

    /// The variant that `op` was told to use, if any.
    pub(crate) fn forced_variant(&self, op: &'static str) -> Option<&'static Kernel> {
        self.variants.get(op).copied()
    }

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

    /// Lets no tensor that is allocated from now on be bound by more than so many bytes at once, until
    /// told otherwise: large tensors are cut by the device's limit, and what comes of the cuts shows in
    /// small ones, too.
    pub fn cut_bindings(&mut self, bytes: Option<u64>) {
        self.bindable = bytes;
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
    fn encode_waiting(&mut self) -> Result<()> {
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
    fn forget_dropped(&mut self) -> Result<()> {
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

    fn alloc_buffer(&mut self, label: &str, words: usize) -> Result<Buffer> {
        let bytes = buffer_bytes(words);
        let allocation = self.allocate(label, bytes)?;
        Ok(Buffer::new(&allocation, 0, bytes))
    }

    /// A tensor in one buffer.
    fn alloc_words(&mut self, label: &str, len: usize) -> Result<GpuTensor> {
        let buffer = self.alloc_buffer(label, len)?;
        Ok(GpuTensor::new(
            vec![buffer],
            len,
            len,
            self.largest_binding(),
        ))
    }

    fn allocate(&mut self, label: &str, bytes: u64) -> Result<Arc<Allocation>> {
        self.forget_dropped()?;
        let limit = self.limits.max_buffer_size;
        if bytes > limit {
            return Err(self.too_large(label, bytes, limit, "buffer"));
        }
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_DST
            | wgpu::BufferUsages::COPY_SRC;
        let raw = match self.plan_only {
            true => None,
            false => Some(self.make_buffer(label, bytes, usage)?),
        };
        self.next_id += 1;
        Ok(Arc::new(Allocation {
            raw,
            id: self.next_id,
            dropped: self.dropped.clone(),
        }))
    }

    fn too_large(&self, label: &str, bytes: u64, limit: u64, what: &'static str) -> Error {
        Error::TooLarge {
            label: label.to_owned(),
            bytes,
            limit,
            what,
            adapter: self.info.name.clone(),
        }
    }

    /// A buffer of wgpu's.
    fn make_buffer(
        &mut self,
        label: &str,
        size: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: false,
        });
        let failed = pollster::block_on(scope.pop()).is_some();
        if failed || self.faults.strike(Place::Allocation) {
            return Err(Error::OutOfMemory {
                device: self.describe(),
                label: label.to_owned(),
                bytes: size,
            });
        }
        Ok(buffer)
    }

    /// The most bytes that can be bound at once.
    fn largest_binding(&self) -> u64 {
        let binding = self.limits.max_storage_buffer_binding_size;
        let bytes = binding
            .min(self.limits.max_buffer_size)
            .min(self.bindable.unwrap_or(LARGEST_BINDING))
            .min(LARGEST_BINDING);
        bytes / ALIGNMENT * ALIGNMENT
    }

    /// A tensor of several buffers of whole rows, each of which can be bound.
    fn alloc_pieces(
        &mut self,
        label: &str,
        (rows, cols): (usize, usize),
        bindable: u64,
    ) -> Result<GpuTensor> {
        let fitting = (bindable / 4) as usize / cols.max(1);
        if fitting == 0 {
            return Err(self.too_large(label, buffer_bytes(cols), bindable, "binding"));
        }
        let mut pieces = Vec::new();
        for first in (0..rows).step_by(fitting) {
            let len = fitting.min(rows - first) * cols;
            pieces.push(self.alloc_buffer(label, len)?);
        }
        Ok(GpuTensor::new(
            pieces,
            fitting * cols,
            rows * cols,
            bindable,
        ))
    }

    /// [`SCRATCH`] elements of unknown content that no op keeps anything in beyond its end. Allocated
    /// at first use and kept, if [`Gpu::put_scratch`] gives it back.
    pub(crate) fn take_scratch(&mut self) -> Result<GpuTensor> {
        match self.scratch.take() {
            Some(scratch) => Ok(scratch),
            None => self.alloc(Purpose::Scratch, "scratch", SCRATCH),
        }
    }

    /// Keeps scratch memory for the next op.
    pub(crate) fn put_scratch(&mut self, scratch: GpuTensor) {
        self.scratch = Some(scratch);
    }

    fn check_failure(&self) -> Result<()> {
        if self.failures.is_any() {
            // An error may be what is left of a lost device: that is told once its work has ended.
            self.poll(wgpu::PollType::wait_indefinitely());
        }
        self.failures.take(&self.describe()).map_or(Ok(()), Err)
    }

    /// Polls the device. wgpu panics where the driver answers that it is lost.
    fn poll(&self, poll: wgpu::PollType) -> Option<Result<wgpu::PollStatus, wgpu::PollError>> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.device.poll(poll)));
        if polled.is_err() {
            self.failures.note_loss("waiting for it failed".to_owned());
        }
        polled.ok()
    }

    /// Waits for a submission, or for all.
    fn wait(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let wait = wgpu::PollType::Wait {
            submission_index,
            timeout: None,
        };
        if let Some(Err(error)) = self.poll(wait) {
            self.failures.note(error.to_string());
        }
        self.check_failure()
    }
}

impl Device for Gpu {
    type Elem = f32;
    type Tensor = GpuTensor;
    type Ids = GpuIds;

    fn describe(&self) -> String {
        adapter::describe(&self.info)
    }

    fn alloc(&mut self, _: Purpose, label: &str, len: usize) -> Result<GpuTensor> {
        self.alloc_words(label, len)
    }

    /// As few buffers as the adapter's limits allow. Each tensor begins at a multiple of 256 bytes;
    /// what is between two is zero, and stays so under every op that takes groups. A tensor that is
    /// larger than a binding is several buffers of whole rows.
    fn alloc_group(
        &mut self,
        _: Purpose,
        tensors: &[(&'static str, (usize, usize))],
    ) -> Result<Vec<GpuTensor>> {
        let bindable = self.largest_binding();
        let lengths: Vec<_> = tensors
            .iter()
            .map(|(_, (rows, cols))| rows * cols)
            .collect();
        let mut group = Vec::with_capacity(tensors.len());
        while let Some(&(label, shape)) = tensors.get(group.len()) {
            let lengths = &lengths[group.len()..];
            if buffer_bytes(lengths[0]) > bindable {
                group.push(self.alloc_pieces(label, shape, bindable)?);
                continue;
            }
            let offsets = offsets_within(bindable, lengths);
            let ranges = offsets.iter().zip(lengths);
            let ranges = ranges.map(|(offset, len)| (*offset, *len, buffer_bytes(*len)));
            let end = ranges.clone().map(|(offset, _, bytes)| offset + bytes);
            let allocation = self.allocate(label, end.max().unwrap_or_default())?;
            group.extend(ranges.map(|(offset, len, bytes)| {
                let buffer = Buffer::new(&allocation, offset, bytes);
                GpuTensor::new(vec![buffer], len, len, bindable)
            }));
        }
        Ok(group)
    }

    fn alloc_ids(
        &mut self,
        label: &str,
        count: usize,
        vocab: usize,
        indexed: bool,
    ) -> Result<GpuIds> {
        let index = if indexed {
            let segments = Segments::new(count, vocab);
            Some(GpuIndex {
                positions: self.alloc_words(label, count)?,
                starts: self.alloc_words(label, segments.starts.len())?,
                of_token: self.alloc_words(label, segments.of_token.len())?,
                segments,
            })
        } else {
            None
        };
        let tokens = self.alloc_words(label, count)?;
        let host = TokenIndex::new(count, vocab, indexed);
        let mut ids = GpuIds {
            host,
            tokens,
            index,
        };
        let zeros = vec![0; count];
        if vocab > 0 {
            self.write_ids(&mut ids, &zeros)?;
        }
        Ok(ids)
    }

    fn len(&self, tensor: &GpuTensor) -> usize {
        tensor.len()
    }

    fn write(&mut self, tensor: &mut GpuTensor, offset: usize, data: &[f32]) -> Result<()> {
        check_range("write", "tensor", tensor.len(), offset, data.len())?;
        self.upload(tensor, offset, bytemuck::cast_slice(data))
    }

    fn write_ids(&mut self, ids: &mut GpuIds, tokens: &[u32]) -> Result<()> {
        ids.host.set(tokens)?;
        self.upload(&ids.tokens, 0, bytemuck::cast_slice(tokens))?;
        if let Some(index) = &mut ids.index {
            index.segments.cut(&ids.host);
            let Segments { starts, of_token } = &index.segments;
            let positions = bytemuck::cast_slice(&ids.host.positions);
            self.upload(&index.positions, 0, positions)?;
            self.upload(&index.starts, 0, bytemuck::cast_slice(starts))?;
            self.upload(&index.of_token, 0, bytemuck::cast_slice(of_token))?;
        }
        Ok(())
    }

    fn read_into(&mut self, tensor: &GpuTensor, offset: usize, out: &mut [f32]) -> Result<()> {
        check_range("read", "tensor", tensor.len(), offset, out.len())?;
        if out.is_empty() {
            return self.finish();
        }
        self.submit()?;
        self.download(tensor, offset, bytemuck::cast_slice_mut(out))
    }

    fn submit(&mut self) -> Result<()> {
        self.encode_waiting()?;
        let oldest = self.recorder.submit(&self.queue);
        self.check_failure()?;
        match oldest {
            Some(_) => self.wait(oldest),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<()> {
        self.submit()?;
        self.wait(None)
    }
}
