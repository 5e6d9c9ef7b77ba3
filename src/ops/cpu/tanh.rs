//! y = tanh x.

use crate::device::Element;
use crate::device::loops::{CHUNK, for_each_chunk, vectorised};
use crate::error::Result;
use crate::ops::check;

/// See [`crate::ops::Ops::tanh`].
pub fn tanh<F: Element>(x: &[F], y: &mut [F], threads: usize) -> Result<()> {
    check::at_least("tanh", "y", x.len(), y.len())?;
    for_each_chunk(&mut y[..x.len()], CHUNK, x.len(), threads, |first, y| {
        y.copy_from_slice(&x[first..][..y.len()]);
        tanh_in_place(y);
    });
    Ok(())
}

/// x ← tanh x.
pub(super) fn tanh_in_place<F: Element>(x: &mut [F]) {
    vectorised(
        #[inline(always)]
        || {
            for x in x.iter_mut() {
                *x = x.tanh_fast();
            }
        },
    );
}
