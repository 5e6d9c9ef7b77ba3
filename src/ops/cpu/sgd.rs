//! w ← w − rate·clip·g.

use crate::device::Element;
use crate::device::loops::{CHUNK, for_each_chunk, vectorised};
use crate::error::Result;
use crate::ops::check;

/// See [`crate::ops::Ops::sgd`].
pub fn sgd<F: Element>(
    weights: &mut [F],
    gradient: &[F],
    rate: &[F],
    norm: &[F],
    threads: usize,
) -> Result<()> {
    let len = gradient.len();
    check::at_least("sgd", "weights", len, weights.len())?;
    check::at_least("sgd", "rate", 1, rate.len())?;
    check::at_least("sgd", "norm", 2, norm.len())?;
    let step = rate[0] * norm[1];
    for_each_chunk(
        &mut weights[..len],
        CHUNK,
        len,
        threads,
        |first, weights| {
            vectorised(
                #[inline(always)]
                || {
                    for (w, &g) in weights.iter_mut().zip(&gradient[first..]) {
                        *w -= step * g;
                    }
                },
            );
        },
    );
    Ok(())
}
