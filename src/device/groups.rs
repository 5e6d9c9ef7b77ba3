//! Lists of tensors whose elements go together, in as few dispatches as possible.
//!
//! Neighbours in one buffer are worked through as one range. What is between them, for alignment,
//! is zero in all of them, and an op of this kind leaves zeros zero.

use super::gpu::{Buffer, GpuTensor};

/// Tensors that follow each other in every one of N lists.
pub struct Run<const N: usize> {
    /// What covers them, for each list.
    pub buffers: [Buffer; N],
    /// Elements from the first tensor's begin to the last one's end.
    pub len: usize,
}

/// Cuts `lists` of equal length into as few runs as possible. The tensors of the first list give
/// the lengths; a longer one in another list ends its run.
pub fn runs<const N: usize>(lists: [&[&GpuTensor]; N]) -> Vec<Run<N>> {
    let tensors = lists[0];
    let joined = |i: usize| {
        let follows = |list: &&[&GpuTensor]| {
            let same_len = list[i].len() == tensors[i].len();
            same_len && list[i].buffer.is_followed_by(&list[i + 1].buffer)
        };
        i + 1 < tensors.len() && lists.iter().all(follows)
    };
    let mut runs = Vec::new();
    let mut first = 0;
    for last in (0..tensors.len()).filter(|i| !joined(*i)) {
        let skipped = tensors[first].buffer.elements_to(&tensors[last].buffer);
        runs.push(Run {
            buffers: lists.map(|list| list[first].buffer.through(&list[last].buffer)),
            len: skipped + tensors[last].len(),
        });
        first = last + 1;
    }
    runs
}

/// The tensors, no longer to be written by the host.
pub fn shared<'a>(tensors: &'a [&mut GpuTensor]) -> Vec<&'a GpuTensor> {
    tensors.iter().map(|tensor| &**tensor).collect()
}

/// Elements of each tensor.
pub fn lengths(tensors: &[&GpuTensor]) -> impl ExactSizeIterator<Item = usize> {
    tensors.iter().map(|tensor| tensor.len())
}
