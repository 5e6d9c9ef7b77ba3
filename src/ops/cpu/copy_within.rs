//! tensor[to..] = tensor[from..], for `len` elements.

use crate::device::{Element, check_range};
use crate::error::Result;

/// See [`crate::ops::Ops::copy_within`].
pub fn copy_within<F: Element>(tensor: &mut [F], from: usize, to: usize, len: usize) -> Result<()> {
    check_range("copy_within", "source", tensor.len(), from, len)?;
    check_range("copy_within", "destination", tensor.len(), to, len)?;
    tensor.copy_within(from..from + len, to);
    Ok(())
}
