//! A GPU through wgpu: buffers, pipelines and bind groups, made once and kept.

mod buffer;
mod timestamps;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::adapter;
use super::kernel::{Access, Kernel, Params, grid};
use super::recorder::Recorder;
use super::tokens::{Segments, TokenIndex};
use super::trials::Trials;
use super::{Device, Purpose, check_range};
use crate::error::{Error, Result};
pub(crate) use buffer::Buffer;
use buffer::{Allocation, ByteRange, buffer_bytes, offsets_within};
use timestamps::Timer;

/// Bytes of a uniform slot: every adapter aligns uniform bindings to 256 or less.
const SLOT: u64 = 256;
/// Slots of one uniform buffer.
const SLOTS: u64 = 256;
/// Most storage bindings of a kernel.
const MAX_BINDINGS: usize = 6;
/// Most words of a parameter struct.
const MAX_WORDS: usize = 24;

/// A tensor in device memory.
#[derive(Debug)]
pub struct GpuTensor {
    pub(crate) buffer: Buffer,
    len: usize,
}

impl GpuTensor {
    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// Token ids in device memory, with the index by token where it was asked for.
#[derive(Debug)]
pub struct GpuIds {
    pub(crate) host: TokenIndex,
    pub(crate) tokens: Buffer,
    pub(crate) index: Option<GpuIndex>,
}

/// The positions of every token, in [`Segments`].
#[derive(Debug)]
pub(crate) struct GpuIndex {
    pub positions: Buffer,
    pub segments: Segments,
    pub starts: Buffer,
    pub of_token: Buffer,
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

/// A GPU as a device. One compute pass and one submission a step; pipelines and bind groups are
/// made on first use and kept.
#[derive(Debug)]
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    limits: wgpu::Limits,
    recorder: Recorder,
    timer: Timer,
    pipelines: Vec<wgpu::ComputePipeline>,
    /// By the kernel's name and the setting of its switches.
    pipeline_of: HashMap<(&'static str, u32), usize>,
    sources: HashMap<&'static str, String>,
    variants: HashMap<&'static str, &'static Kernel>,
    pub(super) trials: Trials,
    bindings: HashMap<BindingKey, Binding>,
    uniforms: Vec<wgpu::Buffer>,
    free_slots: Vec<u64>,
    staging: Option<wgpu::Buffer>,
    scratch: Option<GpuTensor>,
    next_id: u64,
    dropped: Arc<Mutex<Vec<u64>>>,
    /// The first error that the device reported outside an error scope.
    failure: Arc<Mutex<Option<String>>>,
}

impl Gpu {
    /// Opens `adapter` with all of its limits.
    ///
    /// # Errors
    /// [`Error::Device`] if the driver refuses.
    pub fn open(adapter: &wgpu::Adapter) -> Result<Self> {
        Gpu::open_with_limits(adapter, adapter.limits())
    }

    /// Opens `adapter` with the given limits, for example `wgpu::Limits::defaults()`: what every
    /// WebGPU adapter guarantees.
    ///
    /// # Errors
    /// [`Error::Device`] if the driver refuses.
    pub fn open_with_limits(adapter: &wgpu::Adapter, limits: wgpu::Limits) -> Result<Self> {
        let info = adapter.get_info();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("bptt"),
            required_features: Timer::features(adapter),
            required_limits: limits.clone(),
            ..Default::default()
        };
        let opened = pollster::block_on(adapter.request_device(&descriptor));
        let (device, queue) = opened.map_err(|e| Error::Device {
            device: adapter::describe(&info),
            message: format!("the device cannot be opened: {e}"),
        })?;
        let failure = Arc::new(Mutex::new(None));
        let first = failure.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            lock(&first).get_or_insert_with(|| error.to_string());
        }));
        let first = failure.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                lock(&first).get_or_insert_with(|| format!("the device was lost: {message}"));
            }
        });
        Ok(Gpu {
            device,
            queue,
            trials: Trials::new(info.device_type != wgpu::DeviceType::Cpu),
            info,
            limits,
            recorder: Recorder::default(),
            timer: Timer::default(),
            pipelines: Vec::new(),
            pipeline_of: HashMap::new(),
            sources: HashMap::new(),
            variants: HashMap::new(),
            bindings: HashMap::new(),
            uniforms: Vec::new(),
            free_slots: Vec::new(),
            staging: None,
            scratch: None,
            next_id: 1,
            dropped: Arc::default(),
            failure,
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
        self.recorder.dispatches()
    }

    /// Bytes that are allocated on the device; [`None`] where the backend does not count them.
    pub fn allocated_bytes(&self) -> Option<u64> {
        let report = self.device.generate_allocator_report()?;
        Some(report.total_allocated_bytes)
    }

    /// Uses `source` for the kernel `name` instead of its own, from its next first use on. For
    /// checking that a wrong kernel is caught.
    pub fn replace_kernel(&mut self, name: &'static str, source: String) {
        self.sources.insert(name, source);
        self.pipeline_of.retain(|(kernel, _), _| *kernel != name);
        self.forget_choices();
    }

    /// Runs `op` by the kernel of this name from now on, whatever suits the adapter best; [`None`]
    /// lets it choose again, and so does a name that the op does not know.
    pub fn force_variant(&mut self, op: &'static str, variant: Option<&str>) {
        let kernels = crate::ops::gpu::variants(op).iter();
        match kernels.copied().find(|k| Some(k.name) == variant) {
            Some(kernel) => self.variants.insert(op, kernel),
            None => self.variants.remove(op),
        };
    }

    /// The names of the kernels among which `op` can choose, or its own where there is one way.
    pub fn variants_of(&self, op: &str) -> Vec<&'static str> {
        let entry = crate::ops::gpu::KERNELS
            .iter()
            .find(|(name, _)| *name == op);
        match (crate::ops::gpu::variants(op), entry) {
            ([], Some((name, _))) => vec![name],
            (variants, _) => variants.iter().map(|kernel| kernel.name).collect(),
        }
    }

    /// The variant that `op` was told to use, if any.
    pub(crate) fn forced_variant(&self, op: &'static str) -> Option<&'static Kernel> {
        self.variants.get(op).copied()
    }

    /// Records one dispatch of `workgroups` workgroups of `kernel`.
    pub(crate) fn dispatch<P: Params>(
        &mut self,
        kernel: &'static Kernel,
        params: &P,
        buffers: &[&Buffer],
        workgroups: usize,
    ) {
        self.dispatch_switched(kernel, 0, params, buffers, workgroups);
    }

    /// [`Gpu::dispatch`] with a setting of the kernel's switches.
    pub(crate) fn dispatch_switched<P: Params>(
        &mut self,
        kernel: &'static Kernel,
        switches: u32,
        params: &P,
        buffers: &[&Buffer],
        workgroups: usize,
    ) {
        if workgroups == 0 {
            return;
        }
        let pipeline = self.pipeline(kernel, switches);
        let mut key = BindingKey {
            pipeline,
            buffers: [ByteRange::default(); MAX_BINDINGS],
            params: [0; MAX_WORDS],
        };
        for (range, buffer) in key.buffers.iter_mut().zip(buffers) {
            *range = buffer.range;
        }
        let words = bytemuck::cast_slice(std::slice::from_ref(params));
        key.params[..words.len()].copy_from_slice(words);
        if !self.bindings.contains_key(&key) {
            self.check_aliases(kernel, buffers);
            let binding = self.bind(pipeline, words, buffers);
            self.bindings.insert(key.clone(), binding);
        }
        let group = &self.bindings[&key].group;
        self.timer.note(kernel.name);
        self.recorder.dispatch(
            &self.device,
            &self.pipelines[pipeline],
            group,
            grid(workgroups),
        );
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
                lock(&self.failure).get_or_insert_with(|| {
                    format!("{name}: {read} and {written} must not be tensors of one group")
                });
            }
        }
    }

    /// The pipeline of `kernel` with these switches, compiled on first use.
    fn pipeline(&mut self, kernel: &'static Kernel, switches: u32) -> usize {
        if let Some(&index) = self.pipeline_of.get(&(kernel.name, switches)) {
            return index;
        }
        let source = self.sources.get(kernel.name);
        let source = source.map_or(kernel.source, String::as_str);
        let module = self
            .device
            .create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(kernel.name),
                source: wgpu::ShaderSource::Wgsl(source.into()),
            });
        let pipeline = self
            .device
            .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(kernel.name),
                layout: None,
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &kernel.constants(switches),
                    // Every kernel writes its workgroup memory before it reads it.
                    zero_initialize_workgroup_memory: false,
                },
                cache: None,
            });
        self.pipelines.push(pipeline);
        self.pipeline_of
            .insert((kernel.name, switches), self.pipelines.len() - 1);
        self.pipelines.len() - 1
    }

    /// A bind group with the parameters in a uniform slot of its own.
    fn bind(&mut self, pipeline: usize, params: &[u32], buffers: &[&Buffer]) -> Binding {
        let slot = self.free_slot();
        let uniform = &self.uniforms[(slot / SLOTS) as usize];
        let offset = slot % SLOTS * SLOT;
        self.queue
            .write_buffer(uniform, offset, bytemuck::cast_slice(params));
        let params = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: uniform,
            offset,
            size: wgpu::BufferSize::new(SLOT),
        });
        let storage = buffers.iter().map(|b| {
            wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &b.allocation.raw,
                offset: b.range.offset,
                size: wgpu::BufferSize::new(b.range.size),
            })
        });
        let entries: Vec<_> = std::iter::once(params)
            .chain(storage)
            .zip(0..)
            .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.pipelines[pipeline].get_bind_group_layout(0),
            entries: &entries,
        });
        Binding { group, slot }
    }

    fn free_slot(&mut self) -> u64 {
        if self.free_slots.is_empty() {
            let first = self.uniforms.len() as u64 * SLOTS;
            self.uniforms
                .push(self.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("parameters"),
                    size: SLOT * SLOTS,
                    usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                }));
            self.free_slots.extend((first..first + SLOTS).rev());
        }
        // A buffer was pushed if there was none, so there is a slot.
        self.free_slots.pop().unwrap_or_default()
    }

    /// Forgets the bind groups of dropped buffers, which frees the buffers' memory.
    fn forget_dropped(&mut self) -> Result<()> {
        let dropped: HashSet<u64> = lock(&self.dropped).drain(..).collect();
        if dropped.is_empty() {
            return Ok(());
        }
        // Freed slots are written again: what uses them must be on its way before.
        self.submit()?;
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

    fn allocate(&mut self, label: &str, bytes: u64) -> Result<Arc<Allocation>> {
        self.forget_dropped()?;
        let (what, limit) = self.largest_buffer();
        if bytes > limit {
            return Err(Error::TooLarge {
                label: label.to_owned(),
                bytes,
                limit,
                what,
                adapter: self.info.name.clone(),
            });
        }
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let raw = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_DST
                | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        if pollster::block_on(scope.pop()).is_some() {
            return Err(Error::OutOfMemory {
                device: self.describe(),
                label: label.to_owned(),
                bytes,
            });
        }
        self.next_id += 1;
        Ok(Arc::new(Allocation {
            raw,
            id: self.next_id,
            dropped: self.dropped.clone(),
        }))
    }

    /// The most bytes of a buffer that can be bound as a whole, and what sets that limit.
    fn largest_buffer(&self) -> (&'static str, u64) {
        let binding = self.limits.max_storage_buffer_binding_size;
        let buffer = self.limits.max_buffer_size;
        if binding <= buffer {
            ("binding", binding)
        } else {
            ("buffer", buffer)
        }
    }

    /// Copies words to a buffer, after the work recorded so far.
    fn upload(&mut self, buffer: &Buffer, offset: usize, bytes: &[u8]) -> Result<()> {
        if self.recorder.is_pending() {
            // An upload takes effect before the next submission, not between its dispatches.
            self.submit()?;
        }
        if !bytes.is_empty() {
            let offset = buffer.range.offset + 4 * offset as u64;
            self.queue
                .write_buffer(&buffer.allocation.raw, offset, bytes);
        }
        Ok(())
    }

    /// `len` elements of unknown content that no op keeps anything in beyond its end. Allocated at
    /// first use and kept, if [`Gpu::put_scratch`] gives it back.
    pub(crate) fn take_scratch(&mut self, len: usize) -> Result<GpuTensor> {
        match self.scratch.take().filter(|scratch| scratch.len >= len) {
            Some(scratch) => Ok(scratch),
            None => self.alloc(Purpose::Scratch, "scratch", len),
        }
    }

    /// Keeps scratch memory for the next op.
    pub(crate) fn put_scratch(&mut self, scratch: GpuTensor) {
        self.scratch = Some(scratch);
    }

    fn device_error(&self, message: impl ToString) -> Error {
        Error::Device {
            device: self.describe(),
            message: message.to_string(),
        }
    }

    fn check_failure(&self) -> Result<()> {
        match lock(&self.failure).take() {
            Some(message) => Err(self.device_error(message.trim())),
            None => Ok(()),
        }
    }

    /// A buffer to read `bytes` back through, kept for the next time.
    fn staging(&mut self, bytes: u64) -> wgpu::Buffer {
        // Taken out, and put back once it is unmapped: after a failure it may stay mapped for good.
        if let Some(staging) = self.staging.take().filter(|s| s.size() >= bytes) {
            return staging;
        }
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read back"),
            size: bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    /// Copies bytes of a buffer to `out`, after all work that was submitted.
    fn read_bytes(&mut self, buffer: &wgpu::Buffer, offset: u64, out: &mut [u8]) -> Result<()> {
        let bytes = out.len() as u64;
        let staging = self.staging(bytes);
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, offset, &staging, 0, bytes);
        self.queue.submit([encoder.finish()]);
        let mapped = Arc::new(Mutex::new(None));
        let result = mapped.clone();
        staging.map_async(wgpu::MapMode::Read, 0..bytes, move |r| {
            *lock(&result) = Some(r);
        });
        self.finish()?;
        match lock(&mapped).take() {
            Some(Ok(())) => {}
            Some(Err(e)) => return Err(self.device_error(format!("reading back failed: {e}"))),
            None => return Err(self.device_error("reading back failed: the device did not answer")),
        }
        let copied = match staging.get_mapped_range(0..bytes) {
            Ok(view) => {
                out.copy_from_slice(&view);
                Ok(())
            }
            Err(e) => Err(self.device_error(format!("reading back failed: {e}"))),
        };
        staging.unmap();
        self.staging = Some(staging);
        copied
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
        let buffer = self.alloc_buffer(label, len)?;
        Ok(GpuTensor { buffer, len })
    }

    /// As few buffers as the adapter's limits allow. Each tensor begins at a multiple of 256 bytes;
    /// what is between two is zero, and stays so under every op that takes groups.
    fn alloc_group(
        &mut self,
        _: Purpose,
        tensors: &[(&'static str, usize)],
    ) -> Result<Vec<GpuTensor>> {
        let (_, limit) = self.largest_buffer();
        let mut group = Vec::with_capacity(tensors.len());
        let mut rest = tensors;
        while let [(label, _), ..] = rest {
            let offsets = offsets_within(limit, rest);
            let (fitting, others) = rest.split_at(offsets.len());
            rest = others;
            let ranges = offsets.iter().zip(fitting);
            let ranges = ranges.map(|(offset, (_, len))| (*offset, *len, buffer_bytes(*len)));
            let end = ranges.clone().map(|(offset, _, bytes)| offset + bytes);
            let allocation = self.allocate(label, end.max().unwrap_or_default())?;
            group.extend(ranges.map(|(offset, len, bytes)| GpuTensor {
                buffer: Buffer::new(&allocation, offset, bytes),
                len,
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
                positions: self.alloc_buffer(label, count)?,
                starts: self.alloc_buffer(label, segments.starts.len())?,
                of_token: self.alloc_buffer(label, segments.of_token.len())?,
                segments,
            })
        } else {
            None
        };
        let tokens = self.alloc_buffer(label, count)?;
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
        tensor.len
    }

    fn write(&mut self, tensor: &mut GpuTensor, offset: usize, data: &[f32]) -> Result<()> {
        check_range("write", "tensor", tensor.len, offset, data.len())?;
        self.upload(&tensor.buffer, offset, bytemuck::cast_slice(data))
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
        check_range("read", "tensor", tensor.len, offset, out.len())?;
        if out.is_empty() {
            return self.finish();
        }
        self.submit()?;
        let Buffer { allocation, range } = &tensor.buffer;
        let offset = range.offset + 4 * offset as u64;
        self.read_bytes(&allocation.raw, offset, bytemuck::cast_slice_mut(out))
    }

    fn submit(&mut self) -> Result<()> {
        let submitted = self.recorder.submit(&self.device, &self.queue);
        self.check_failure()?;
        submitted.map_err(|e| self.device_error(e))
    }

    fn finish(&mut self) -> Result<()> {
        self.submit()?;
        let polled = self.device.poll(wgpu::PollType::wait_indefinitely());
        self.check_failure()?;
        polled.map(drop).map_err(|e| self.device_error(e))
    }
}
