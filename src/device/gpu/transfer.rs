//! Between host and device memory, in pieces of bounded size: what is under way takes memory, too.

use std::sync::{Arc, Mutex};

use super::faults::Place;
use super::{Gpu, GpuTensor, lock};
use crate::device::Device;
use crate::error::{Error, Result};

/// Most words that are on their way at once: 64 MiB.
const AT_ONCE: usize = 16 << 20;

impl Gpu {
    /// Copies words to a tensor from `first` on, after the work recorded so far.
    pub(super) fn upload(&mut self, tensor: &GpuTensor, first: usize, words: &[u32]) -> Result<()> {
        if self.recorder.is_pending() {
            // An upload takes effect before the next submission, not between its dispatches.
            self.submit()?;
        }
        let mut written = 0;
        for range in tensor.ranges(first, words.len(), AT_ONCE) {
            if written >= AT_ONCE {
                self.queue.submit([]);
                self.finish()?;
                written = 0;
            }
            let part = &words[range.first - first..range.end - first];
            if let Some(raw) = &range.allocation.raw {
                self.queue
                    .write_buffer(raw, range.offset, bytemuck::cast_slice(part));
            }
            written += part.len();
        }
        Ok(())
    }

    /// Copies words of a tensor from `first` on to `out`, after all work that was submitted.
    pub(super) fn download(
        &mut self,
        tensor: &GpuTensor,
        first: usize,
        out: &mut [u32],
    ) -> Result<()> {
        for range in tensor.ranges(first, out.len(), AT_ONCE) {
            let raw = range.allocation.raw.as_ref();
            let none = || self.device_error("what is only planned has no values to read");
            let raw = raw.ok_or_else(none)?;
            let part = &mut out[range.first - first..range.end - first];
            self.read_bytes(raw, range.offset, bytemuck::cast_slice_mut(part))?;
        }
        Ok(())
    }

    /// tensor\[to..to + len\] = tensor\[from..from + len\], for a tensor that cannot be bound at once. By
    /// way of scratch memory: a copy within a buffer is none that every adapter has.
    pub(crate) fn copy_through_scratch(
        &mut self,
        tensor: &GpuTensor,
        from: usize,
        to: usize,
        len: usize,
    ) -> Result<()> {
        self.submit()?;
        let scratch = self.take_scratch()?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        for done in (0..len).step_by(scratch.len()) {
            let part = scratch.len().min(len - done);
            copy(&mut encoder, (tensor, from + done), (&scratch, 0), part);
            copy(&mut encoder, (&scratch, 0), (tensor, to + done), part);
        }
        self.queue.submit([encoder.finish()]);
        self.put_scratch(scratch);
        self.check_failure()
    }

    /// Copies bytes of a buffer to `out`, after all work that was submitted.
    pub(super) fn read_bytes(
        &mut self,
        buffer: &wgpu::Buffer,
        offset: u64,
        out: &mut [u8],
    ) -> Result<()> {
        let bytes = out.len() as u64;
        let staging = self.staging(bytes)?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, offset, &staging, 0, bytes);
        self.queue.submit([encoder.finish()]);
        if self.faults.strike(Place::Read) {
            self.lose();
        }
        let mapped = Arc::new(Mutex::new(None));
        let result = mapped.clone();
        staging.map_async(wgpu::MapMode::Read, 0..bytes, move |r| {
            *lock(&result) = Some(r);
        });
        self.finish()?;
        let failed = |what: &dyn std::fmt::Display| {
            self.device_error(format!("reading back failed: {what}"))
        };
        match lock(&mapped).take() {
            Some(Ok(())) => {}
            Some(Err(e)) => return Err(failed(&e)),
            None => return Err(failed(&"the device did not answer")),
        }
        let copied = match staging.get_mapped_range(0..bytes) {
            Ok(view) => {
                out.copy_from_slice(&view);
                Ok(())
            }
            Err(e) => Err(failed(&e)),
        };
        staging.unmap();
        self.staging = Some(staging);
        copied
    }

    /// A buffer to read `bytes` back through, kept for the next time.
    fn staging(&mut self, bytes: u64) -> Result<wgpu::Buffer> {
        // Taken out, and put back once it is unmapped: after a failure it may stay mapped for good.
        if let Some(staging) = self.staging.take().filter(|s| s.size() >= bytes) {
            return Ok(staging);
        }
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        self.make_buffer("read back", bytes, usage)
    }

    pub(super) fn device_error(&self, message: impl ToString) -> Error {
        Error::Device {
            device: self.describe(),
            message: message.to_string(),
        }
    }
}

/// Records a copy of `len` words from one place to another, in another buffer.
fn copy(
    encoder: &mut wgpu::CommandEncoder,
    (source, from): (&GpuTensor, usize),
    (target, to): (&GpuTensor, usize),
    len: usize,
) {
    for read in source.ranges(from, len, len) {
        let to = to + read.first - from;
        for write in target.ranges(to, read.end - read.first, len) {
            let offset = read.offset + 4 * (write.first - to) as u64;
            let bytes = 4 * (write.end - write.first) as u64;
            if let (Some(source), Some(target)) = (&read.allocation.raw, &write.allocation.raw) {
                encoder.copy_buffer_to_buffer(source, offset, target, write.offset, bytes);
            }
        }
    }
}
