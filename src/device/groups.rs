//! Lists of tensors whose elements go together, in as few dispatches as possible.
//!
//! Neighbours in one buffer are worked through as one range. What is between them, for alignment,
//! is zero in all of them, and an op of this kind leaves zeros zero.

use super::gpu::{Buffer, GpuTensor};
use crate::error::Result;

/// Tensors that follow each other in every one of N lists, or as much of one as can be bound.
pub struct Run<const N: usize> {
    /// What covers them, for each list.
    pub buffers: [Buffer; N],
    /// Elements from the first tensor's begin to the last one's end.
    pub len: usize,
}

/// Cuts `lists` of equal length, which are the operands of `op`, into as few runs as possible. The
/// tensors of the first list give the lengths; a longer one in another list ends its run.
///
/// # Errors
/// [`crate::Error::Unbindable`] for a tensor that is cut elsewhere than in the first list, and not where
/// another may begin.
pub fn runs<const N: usize>(op: &'static str, lists: [&[&GpuTensor]; N]) -> Result<Vec<Run<N>>> {
    let mut runs: Vec<Run<N>> = Vec::new();
    // Does the last run end with a whole tensor in every list?
    let mut open = false;
    for (i, tensor) in lists[0].iter().enumerate() {
        let len = tensor.len();
        let mut first = 0;
        while first < len {
            let reach = lists.iter().map(|list| list[i].reach(first)).min();
            let end = reach.unwrap_or(len).min(len);
            let run = Run {
                buffers: window(op, lists.map(|list| list[i]), first, end)?,
                len: end - first,
            };
            let whole = lists
                .iter()
                .all(|list| list[i].reach(0) == len && list[i].len() == len);
            let joined = open && whole && runs.last_mut().is_some_and(|last| last.join(&run));
            if !joined {
                runs.push(run);
            }
            open = whole;
            first = end;
        }
    }
    Ok(runs)
}

/// What binds the elements from `first` to `end` of each tensor.
fn window<const N: usize>(
    op: &'static str,
    tensors: [&GpuTensor; N],
    first: usize,
    end: usize,
) -> Result<[Buffer; N]> {
    let windows = tensors.map(|tensor| tensor.window(first, end));
    // Kernels take elements from a binding's begin on.
    match windows.iter().position(|(_, place)| *place > 0) {
        Some(list) => Err(tensors[list].unbindable(op, "a tensor of a list", end - first)),
        None => Ok(windows.map(|(buffer, _)| buffer)),
    }
}

impl<const N: usize> Run<N> {
    /// Takes `next` in, if it follows in every list.
    fn join(&mut self, next: &Run<N>) -> bool {
        let pairs = || self.buffers.iter().zip(&next.buffers);
        if !pairs().all(|(last, next)| last.is_followed_by(next)) {
            return false;
        }
        self.len = self.buffers[0].elements_to(&next.buffers[0]) + next.len;
        for (last, next) in self.buffers.iter_mut().zip(&next.buffers) {
            *last = last.through(next);
        }
        true
    }
}

/// The tensors, no longer to be written by the host.
pub fn shared<'a>(tensors: &'a [&mut GpuTensor]) -> Vec<&'a GpuTensor> {
    tensors.iter().map(|tensor| &**tensor).collect()
}

/// Elements of each tensor.
pub fn lengths(tensors: &[&GpuTensor]) -> impl ExactSizeIterator<Item = usize> {
    tensors.iter().map(|tensor| tensor.len())
}
