//! dx = dy ⊙ (1 − y²).

use crate::device::Element;
use crate::error::Result;
use crate::ops::check;

/// See [`crate::ops::Ops::tanh_backward`].
pub fn tanh_backward<F: Element>(y: &[F], dy: &[F], dx: &mut [F]) -> Result<()> {
    check::exact("tanh_backward", "dy", y.len(), dy.len())?;
    check::at_least("tanh_backward", "dx", y.len(), dx.len())?;
    for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
        *dx = dy * (F::one() - y * y);
    }
    Ok(())
}
