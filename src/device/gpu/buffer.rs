//! Tensors' places in wgpu's buffers: a buffer of its own, or a range of one that a group shares.

use std::sync::{Arc, Mutex};

use super::lock;

/// Bytes that every adapter lets a storage binding begin at a multiple of.
pub(super) const ALIGNMENT: u64 = 256;

/// The range of an allocation that a tensor, or a part of one, is, and that kernels see of it.
#[derive(Debug, Clone)]
pub(crate) struct Buffer {
    pub(super) allocation: Arc<Allocation>,
    pub(super) range: ByteRange,
}

/// Bytes of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct ByteRange {
    pub allocation: u64,
    pub offset: u64,
    pub size: u64,
}

/// A wgpu buffer with a number that tells it from every other of its device.
#[derive(Debug)]
pub(super) struct Allocation {
    /// The buffer; none where work is only planned.
    pub raw: Option<wgpu::Buffer>,
    pub id: u64,
    /// Ids of dropped allocations, whose bind groups are to go.
    pub dropped: Arc<Mutex<Vec<u64>>>,
}

impl Drop for Allocation {
    fn drop(&mut self) {
        lock(&self.dropped).push(self.id);
    }
}

impl Buffer {
    /// `size` bytes of an allocation, from `offset` on.
    pub(super) fn new(allocation: &Arc<Allocation>, offset: u64, size: u64) -> Self {
        Buffer {
            range: ByteRange {
                allocation: allocation.id,
                offset,
                size,
            },
            allocation: allocation.clone(),
        }
    }

    /// `size` of its bytes, from `offset` on.
    pub(super) fn part(&self, offset: u64, size: u64) -> Self {
        Buffer {
            allocation: self.allocation.clone(),
            range: ByteRange {
                allocation: self.range.allocation,
                offset: self.range.offset + offset,
                size,
            },
        }
    }

    /// Does `next` begin where this range ends, but for alignment?
    pub fn is_followed_by(&self, next: &Buffer) -> bool {
        let end = (self.range.offset + self.range.size).next_multiple_of(ALIGNMENT);
        (self.range.allocation, end) == (next.range.allocation, next.range.offset)
    }

    /// Elements from this range's begin to that of `later`, in the same allocation.
    pub fn elements_to(&self, later: &Buffer) -> usize {
        ((later.range.offset - self.range.offset) / 4) as usize
    }

    /// The range from this one's begin to the end of `last`, which is not before it in the same
    /// allocation.
    pub fn through(&self, last: &Buffer) -> Buffer {
        let end = last.range.offset + last.range.size;
        Buffer {
            allocation: self.allocation.clone(),
            range: ByteRange {
                size: end - self.range.offset,
                ..self.range
            },
        }
    }
}

/// Bytes of a buffer of `words`: whole vec4s, so that kernels that read a tensor as such can reach
/// its last element.
pub(super) fn buffer_bytes(words: usize) -> u64 {
    (words.max(1) as u64).next_multiple_of(4).saturating_mul(4)
}

/// Where the first tensors of these lengths begin in a buffer of at most `limit` bytes: as many as
/// fit, at least one.
pub(super) fn offsets_within(limit: u64, lengths: &[usize]) -> Vec<u64> {
    let mut offsets = vec![0];
    let mut end = lengths.first().map_or(0, |len| buffer_bytes(*len));
    for len in lengths.iter().skip(1) {
        let offset = end.checked_next_multiple_of(ALIGNMENT);
        match offset.and_then(|o| Some((o, o.checked_add(buffer_bytes(*len))?))) {
            Some((offset, next)) if next <= limit => {
                offsets.push(offset);
                end = next;
            }
            _ => break,
        }
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Buffer {
        /// A range of no buffer.
        pub(in crate::device::gpu) fn without_memory(range: ByteRange) -> Self {
            let allocation = Allocation {
                raw: None,
                id: range.allocation,
                dropped: Arc::default(),
            };
            Buffer {
                allocation: Arc::new(allocation),
                range,
            }
        }
    }

    #[test]
    fn a_group_is_cut_where_the_limit_is_reached() {
        let tensors = [1, 65, 64, 1000, 1];
        assert_eq!(offsets_within(1 << 20, &tensors), [0, 256, 768, 1024, 5120]);
        // The second ends at 256 + 272 bytes, the third at 768 + 256.
        assert_eq!(offsets_within(528, &tensors), [0, 256]);
        assert_eq!(offsets_within(527, &tensors), [0]);
        assert_eq!(offsets_within(1024, &tensors), [0, 256, 768]);
        // What does not fit at all is refused when it is allocated.
        assert_eq!(offsets_within(100, &tensors[3..]), [0]);
        assert_eq!(offsets_within(u64::MAX, &[usize::MAX / 8; 2]), [0]);
    }
}
