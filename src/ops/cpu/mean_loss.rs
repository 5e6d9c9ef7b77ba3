//! loss[0] = mean of the losses, loss[1] += loss[0].

use crate::device::Element;
use crate::error::Result;
use crate::ops::check;

/// See [`crate::ops::Ops::mean_loss`].
pub fn mean_loss<F: Element>(losses: &[F], loss: &mut [F]) -> Result<()> {
    check::at_least("mean_loss", "losses", 1, losses.len())?;
    check::at_least("mean_loss", "loss", 2, loss.len())?;
    let sum: f64 = losses.iter().map(|l| l.value()).sum();
    loss[0] = F::from_f64(sum / losses.len() as f64);
    loss[1] += loss[0];
    Ok(())
}
