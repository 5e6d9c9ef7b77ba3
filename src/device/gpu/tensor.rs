//! Tensors in device memory, and what of them one binding holds.
//!
//! A tensor is one buffer, of which a range is bound where it is larger than a binding may be; or,
//! where it is larger than a buffer too, several of whole rows. Ops that may meet such a tensor work
//! through it in windows: [`GpuTensor::reach`] says how far the next one goes.

use std::sync::Arc;

use super::buffer::{ALIGNMENT, Allocation, Buffer, buffer_bytes};
use crate::error::{Error, Result};
use crate::ops::Matrix;

/// Elements that a range is aligned to.
const ALIGNED: usize = (ALIGNMENT / 4) as usize;

/// The fewest rows of `cols` elements that a binding can begin behind.
pub(crate) fn aligned_rows(cols: usize) -> usize {
    ALIGNED >> cols.trailing_zeros().min(ALIGNED.ilog2())
}

/// A tensor in device memory.
#[derive(Debug)]
pub struct GpuTensor {
    /// One, or several of whole rows.
    pieces: Vec<Buffer>,
    /// Elements of each piece but the last.
    piece_len: usize,
    len: usize,
    /// Elements that one binding holds, whole alignments of them.
    bindable: usize,
}

impl GpuTensor {
    /// A tensor of `len` elements in `pieces`, each but the last of `piece_len`, of which one binding
    /// holds `bindable` bytes.
    pub(super) fn new(pieces: Vec<Buffer>, piece_len: usize, len: usize, bindable: u64) -> Self {
        GpuTensor {
            pieces,
            piece_len,
            len,
            bindable: (bindable / ALIGNMENT) as usize * ALIGNED,
        }
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The piece that element `first` is in, the place of the piece's begin in the tensor, and its
    /// elements.
    fn piece(&self, first: usize) -> (&Buffer, usize, usize) {
        // An empty tensor has a piece, too.
        let index = (first / self.piece_len.max(1)).min(self.pieces.len() - 1);
        let begin = index * self.piece_len;
        let len = self.piece_len.min(self.len - begin);
        (&self.pieces[index], begin, len)
    }

    /// The end of the elements from `first` on that one binding holds.
    pub(crate) fn reach(&self, first: usize) -> usize {
        let (_, begin, len) = self.piece(first);
        if buffer_bytes(len) <= 4 * self.bindable as u64 {
            return begin + len;
        }
        let aligned = (first - begin) / ALIGNED * ALIGNED;
        begin + len.min(aligned + self.bindable)
    }

    /// What binds the elements from `first` to `end`, which is not beyond its reach, and the place of
    /// `first` in it.
    pub(crate) fn window(&self, first: usize, end: usize) -> (Buffer, usize) {
        let (buffer, begin, len) = self.piece(first);
        if buffer_bytes(len) <= 4 * self.bindable as u64 {
            return (buffer.clone(), first - begin);
        }
        let aligned = (first - begin) / ALIGNED * ALIGNED;
        let bytes = buffer_bytes(end - begin - aligned);
        (
            buffer.part(4 * aligned as u64, bytes),
            first - begin - aligned,
        )
    }

    /// The whole tensor, for an op that takes `operand` in one binding only.
    ///
    /// # Errors
    /// [`Error::Unbindable`] if it is larger.
    pub(crate) fn whole(&self, op: &'static str, operand: &'static str) -> Result<&Buffer> {
        if self.reach(0) == self.len {
            return Ok(&self.pieces[0]);
        }
        Err(self.unbindable(op, operand, self.len))
    }

    /// [`GpuTensor::window`], if one binding holds it.
    ///
    /// # Errors
    /// [`Error::Unbindable`] otherwise.
    pub(crate) fn range(
        &self,
        (op, operand): (&'static str, &'static str),
        first: usize,
        end: usize,
    ) -> Result<(Buffer, usize)> {
        if end <= self.reach(first) {
            return Ok(self.window(first, end));
        }
        Err(self.unbindable(op, operand, end - first))
    }

    /// The error for elements that do not fit a binding.
    pub(crate) fn unbindable(&self, op: &'static str, operand: &'static str, len: usize) -> Error {
        Error::Unbindable {
            op,
            operand,
            bytes: buffer_bytes(len),
            limit: 4 * self.bindable as u64,
        }
    }

    /// [`GpuTensor::range`] that begins where `first`, a multiple of 64 elements, is: for a kernel
    /// that takes elements from a binding's begin on.
    ///
    /// # Errors
    /// As [`GpuTensor::range`].
    pub(crate) fn from(
        &self,
        (op, operand): (&'static str, &'static str),
        first: usize,
        end: usize,
    ) -> Result<Buffer> {
        let (buffer, place) = self.range((op, operand), first, end)?;
        match (place, place % ALIGNED) {
            (0, _) => Ok(buffer),
            (_, 0) => Ok(buffer.part(4 * place as u64, buffer_bytes(end - first))),
            _ => Err(self.unbindable(op, operand, end - first)),
        }
    }

    /// Ranges of rows of `layout` that can be bound. Where it is the binding that ends one, the next
    /// begins a multiple of `step` rows behind.
    ///
    /// # Errors
    /// [`Error::Unbindable`] if as many rows do not fit.
    pub(crate) fn row_windows(
        &self,
        (op, operand): (&'static str, &'static str),
        layout: Matrix,
        step: usize,
    ) -> Result<Vec<(usize, usize)>> {
        let (rows, cols) = (layout.rows, layout.cols.max(1));
        let mut windows = Vec::new();
        let mut first = 0;
        while first < rows {
            let at = layout.offset + first * cols;
            let (reach, (_, begin, len)) = (self.reach(at), self.piece(at));
            let mut fitting = reach.saturating_sub(at) / cols;
            if reach < begin + len {
                fitting -= fitting % step;
            }
            if fitting == 0 {
                return Err(self.unbindable(op, operand, step.min(rows - first) * cols));
            }
            let end = rows.min(first + fitting);
            windows.push((first, end));
            first = end;
        }
        Ok(windows)
    }

    /// Elements that one binding holds.
    pub(crate) fn bindable(&self) -> usize {
        self.bindable
    }

    /// Where `len` elements from `first` on are, in ranges of at most `most` elements.
    pub(super) fn ranges(
        &self,
        first: usize,
        len: usize,
        most: usize,
    ) -> impl Iterator<Item = Range> {
        let end = first + len;
        let mut next = first;
        std::iter::from_fn(move || {
            if next >= end {
                return None;
            }
            let (buffer, begin, len) = self.piece(next);
            let range = Range {
                allocation: buffer.allocation.clone(),
                offset: buffer.range.offset + 4 * (next - begin) as u64,
                first: next,
                end: end.min(begin + len).min(next + most),
            };
            next = range.end;
            Some(range)
        })
    }
}

/// Elements of a tensor that follow each other in one allocation.
pub(super) struct Range {
    pub allocation: Arc<Allocation>,
    /// Bytes before them.
    pub offset: u64,
    pub first: usize,
    pub end: usize,
}

/// A tensor of `len` elements in pieces of `piece_len`, of which a binding holds `bindable`.
#[cfg(test)]
pub(crate) fn without_memory(len: usize, piece_len: usize, bindable: usize) -> GpuTensor {
    let pieces = (0..len.div_ceil(piece_len) as u64).map(|allocation| {
        Buffer::without_memory(super::buffer::ByteRange {
            allocation,
            offset: 0,
            size: buffer_bytes(piece_len),
        })
    });
    GpuTensor::new(pieces.collect(), piece_len, len, 4 * bindable as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows over a tensor of `len` elements in pieces of `piece_len`, of which a binding holds 128.
    fn windows(len: usize, piece_len: usize) -> Vec<(usize, usize)> {
        let tensor = without_memory(len, piece_len, 128);
        let mut windows = Vec::new();
        let mut first = 0;
        while first < len {
            let end = tensor.reach(first);
            let (buffer, place) = tensor.window(first, end);
            assert!(buffer.range.size <= 512);
            assert_eq!(buffer.range.offset % ALIGNMENT, 0);
            let begin = first / piece_len * piece_len;
            assert_eq!(buffer.range.offset as usize / 4 + place, first - begin);
            assert_eq!(buffer.range.allocation as usize, first / piece_len);
            windows.push((first, end));
            first = end;
        }
        windows
    }

    #[test]
    fn windows_cover_a_tensor_in_order() {
        assert_eq!(windows(100, 100), [(0, 100)]);
        assert_eq!(windows(128, 128), [(0, 128)]);
        assert_eq!(windows(300, 300), [(0, 128), (128, 256), (256, 300)]);
        assert_eq!(windows(130, 60), [(0, 60), (60, 120), (120, 130)]);
    }

    #[test]
    fn a_window_reaches_less_far_from_within_an_alignment() {
        let tensor = without_memory(1000, 1000, 128);
        assert_eq!(tensor.reach(70), 64 + 128);
        let (window, place) = tensor.window(70, 192);
        assert_eq!(
            (window.range.offset, window.range.size, place),
            (256, 512, 6)
        );
        assert!(tensor.whole("op", "x").is_err());
        assert!(tensor.range(("op", "x"), 70, 193).is_err());
        assert!(tensor.range(("op", "x"), 70, 192).is_ok());
    }
}
