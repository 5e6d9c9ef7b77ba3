//! y = tanh x.

use crate::device::Element;
use crate::error::Result;
use crate::ops::check;

/// See [`crate::ops::Ops::tanh`].
pub fn tanh<F: Element>(x: &[F], y: &mut [F]) -> Result<()> {
    check::at_least("tanh", "y", x.len(), y.len())?;
    for (y, x) in y.iter_mut().zip(x) {
        *y = x.tanh_fast();
    }
    Ok(())
}
