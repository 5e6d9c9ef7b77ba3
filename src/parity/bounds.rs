//! Rounding-error bounds: what an f32 device may differ from exact arithmetic.
//!
//! N. Higham, Accuracy and Stability of Numerical Algorithms, chapter 3: a sum of products whose
//! longest chain has n roundings is within γ_n = n·u / (1 − n·u) of the sum of the terms'
//! magnitudes, whatever the order, with fused multiply-add or without. The errors of WGSL's
//! functions are those of its specification (W3C, WGSL, Floating Point Accuracy), in ULP, where
//! one ULP is at most 2u of the result.

/// u: the unit roundoff of f32, half an ULP of 1.
pub const U: f64 = 1.0 / (1u64 << 24) as f64;

/// What a result may lose where a device flushes subnormals to zero.
pub const TINY: f64 = f32::MIN_POSITIVE as f64;

/// γ_n, for a chain of `n` roundings.
pub fn gamma(n: usize) -> f64 {
    let nu = n as f64 * U;
    nu / (1.0 - nu)
}

/// Roundings in the longest chain of a sum of `n` terms that `lanes` lanes share and a binary
/// tree combines.
pub fn tree(n: usize, lanes: usize) -> usize {
    n.div_ceil(lanes) + lanes.ilog2() as usize
}

/// Relative error of exp(x): 3 + 2|x| ULP, and |x| ULP more for an argument that was rounded
/// itself, as a difference of two logits is.
pub fn exp_relative(x: f64) -> f64 {
    (3.0 + 3.0 * x.abs()) * 2.0 * U
}

/// Absolute error of log(x): 2⁻²¹ for x between 0.5 and 2, else 3 ULP.
pub fn log_absolute(x: f64) -> f64 {
    if (0.5..=2.0).contains(&x) {
        1.0 / f64::from(1 << 21)
    } else {
        3.0 * 2.0 * U * x.ln().abs()
    }
}

/// Relative error of the kernels' tanh. It is largest where the polynomial hands over to
/// y = 1 − 2/(e + 1), e = exp(2a), at a = 0.625, e = 3.5, y = 0.55. There exp errs by 5.5 ULP,
/// which moves y by 2e/(e + 1)² · 11u = 3.8u; the division by 2.5 ULP, 0.445 · 5u = 2.2u; the
/// sum and the difference by less than 2u: 8u together, 14.5u of y.
pub const TANH_RELATIVE: f64 = 14.5 * U;
