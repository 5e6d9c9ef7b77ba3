//! w ← w − rate·clip·g.

use crate::device::Element;
use crate::error::Result;
use crate::ops::check;

/// See [`crate::ops::Ops::sgd`].
pub fn sgd<F: Element>(weights: &mut [F], gradient: &[F], rate: &[F], norm: &[F]) -> Result<()> {
    check::at_least("sgd", "weights", gradient.len(), weights.len())?;
    check::at_least("sgd", "rate", 1, rate.len())?;
    check::at_least("sgd", "norm", 2, norm.len())?;
    let step = rate[0] * norm[1];
    for (w, &g) in weights.iter_mut().zip(gradient) {
        *w -= step * g;
    }
    Ok(())
}
