//! A GPU through wgpu: buffers, pipelines and bind groups, made once and kept.

mod allocate;
mod buffer;
mod dispatch;
mod failure;
mod faults;
mod pipelines;
mod settings;
mod tensor;
mod timestamps;
mod transfer;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::adapter;
use super::kernel::Kernel;
use super::recorder::Recorder;
use super::tokens::{Segments, TokenIndex};
use super::trials::Trials;
use super::work::Recorded;
use super::{Device, Purpose, check_range};
use crate::error::{Error, Result};
pub use allocate::{LARGEST_BINDING, SCRATCH};
pub(crate) use buffer::Buffer;
use buffer::{buffer_bytes, offsets_within};
use dispatch::{Binding, BindingKey, Dispatch};
use failure::Failures;
pub use faults::Fault;
use faults::Faults;
use pipelines::Pipelines;
pub use settings::GpuSettings;
pub use tensor::GpuTensor;
pub(crate) use tensor::aligned_rows;
#[cfg(test)]
pub(crate) use tensor::without_memory;
use timestamps::Timer;

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
