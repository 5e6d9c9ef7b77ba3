//! Device memory for tensors: buffers within the adapter's limits, and errors where there are none.

use std::sync::Arc;

use super::buffer::{ALIGNMENT, Allocation, Buffer, buffer_bytes};
use super::faults::Place;
use super::{Gpu, GpuTensor};
use crate::device::{Device, Purpose};
use crate::error::{Error, Result};

/// Most bytes that are bound at once, whatever the adapter allows: moving them all takes a slow GPU
/// less than a dispatch may take.
pub const LARGEST_BINDING: u64 = 1 << 31;

/// Elements of the scratch memory of ops: 2 MiB.
pub const SCRATCH: usize = 1 << 19;

impl Gpu {
    /// Lets no tensor that is allocated from now on be bound by more than so many bytes at once, until
    /// told otherwise: large tensors are cut by the device's limit, and what comes of the cuts shows in
    /// small ones, too.
    pub fn cut_bindings(&mut self, bytes: Option<u64>) {
        self.bindable = bytes;
    }

    fn alloc_buffer(&mut self, label: &str, words: usize) -> Result<Buffer> {
        let bytes = buffer_bytes(words);
        let allocation = self.allocate(label, bytes)?;
        Ok(Buffer::new(&allocation, 0, bytes))
    }

    /// A tensor in one buffer.
    pub(super) fn alloc_words(&mut self, label: &str, len: usize) -> Result<GpuTensor> {
        let buffer = self.alloc_buffer(label, len)?;
        Ok(GpuTensor::new(
            vec![buffer],
            len,
            len,
            self.largest_binding(),
        ))
    }

    pub(super) fn allocate(&mut self, label: &str, bytes: u64) -> Result<Arc<Allocation>> {
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
    pub(super) fn make_buffer(
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
    pub(super) fn largest_binding(&self) -> u64 {
        let binding = self.limits.max_storage_buffer_binding_size;
        let bytes = binding
            .min(self.limits.max_buffer_size)
            .min(self.bindable.unwrap_or(LARGEST_BINDING))
            .min(LARGEST_BINDING);
        bytes / ALIGNMENT * ALIGNMENT
    }

    /// A tensor of several buffers of whole rows, each of which can be bound.
    pub(super) fn alloc_pieces(
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
}
