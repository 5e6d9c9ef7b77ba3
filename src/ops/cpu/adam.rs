//! Adam, with weight decay in either form.

use crate::device::Element;
use crate::device::cpu::CpuTensor;
use crate::device::loops::{CHUNK, for_each_chunks, vectorised};
use crate::error::Result;
use crate::ops::{Adam, check};

/// See [`crate::ops::Ops::adam`].
pub fn adam<F: Element>(
    weights: &mut [&mut CpuTensor<F>],
    [first, second]: [&mut [&mut CpuTensor<F>]; 2],
    gradients: &[&CpuTensor<F>],
    (rate, norm): (&[F], &[F]),
    settings: Adam,
    threads: usize,
) -> Result<()> {
    let op = "adam";
    let lengths = || gradients.iter().map(|g| g.0.len());
    let of_first = first.iter().map(|m| m.0.len());
    let of_second = second.iter().map(|v| v.0.len());
    check::like_gradients(op, "weights", lengths(), weights.iter().map(|w| w.0.len()))?;
    check::like_gradients(op, "first moments", lengths(), of_first)?;
    check::like_gradients(op, "second moments", lengths(), of_second)?;
    check::at_least(op, "rate", 3, rate.len())?;
    check::at_least(op, "norm", 2, norm.len())?;
    let update = Update::new(rate, norm[1], settings);
    let moments = first.iter_mut().zip(second);
    let parameters = weights.iter_mut().zip(moments).zip(gradients);
    for ((weights, (m, v)), gradient) in parameters {
        let gradient = gradient.0.as_slice();
        let len = gradient.len();
        let written = [&mut weights.0[..len], &mut m.0[..len], &mut v.0[..len]];
        for_each_chunks(written, CHUNK, len, threads, |first, [weights, m, v]| {
            vectorised(
                #[inline(always)]
                || {
                    let moments = m.iter_mut().zip(v);
                    let elements = weights.iter_mut().zip(moments).zip(&gradient[first..]);
                    for ((w, (m, v)), &g) in elements {
                        update.element(w, m, v, g);
                    }
                },
            );
        });
    }
    Ok(())
}

/// What is the same for every element.
struct Update<F> {
    rate: F,
    step_size: F,
    root_correction: F,
    clip: F,
    one_minus_beta1: F,
    one_minus_beta2: F,
    eps: F,
    l2: F,
    weight_decay: F,
}

impl<F: Element> Update<F> {
    fn new(rate: &[F], clip: F, settings: Adam) -> Self {
        let (l2, weight_decay) = settings.decays();
        Update {
            rate: rate[0],
            step_size: rate[1],
            root_correction: rate[2],
            clip,
            one_minus_beta1: F::from_f64(1.0 - settings.beta1),
            one_minus_beta2: F::from_f64(1.0 - settings.beta2),
            eps: F::from_f64(settings.eps),
            l2: F::from_f64(l2),
            weight_decay: F::from_f64(weight_decay),
        }
    }

    #[inline(always)]
    fn element(&self, w: &mut F, m: &mut F, v: &mut F, g: F) {
        let g = self.clip * g + self.l2 * *w;
        *m += self.one_minus_beta1 * (g - *m);
        *v += self.one_minus_beta2 * (g * g - *v);
        *w -= self.rate * self.weight_decay * *w;
        *w -= self.step_size * (*m / (v.sqrt() * self.root_correction + self.eps));
    }
}
