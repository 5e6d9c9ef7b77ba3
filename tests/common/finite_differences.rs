//! Derivatives by central differences, which know nothing of how a gradient is computed.

/// The relative error that a gradient may have against [`gradient`], by norm.
///
/// [`derivative_along`] errs by about ε^⅔ = 4e-11 in each element, so by √n times that in a
/// gradient of n elements. The tests' gradients have n < 100 and norms above 0.03, which makes
/// 1.3e-8, and four times that allows for f and f‴ up to 4.
pub const TOLERANCE: f64 = 5e-8;

/// ∂f/∂x, element by element.
pub fn gradient(x: &[f64], mut f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    let mut derivative_in = |i: usize| {
        let mut unit = vec![0.0; x.len()];
        unit[i] = 1.0;
        derivative_along(x, &unit, &mut f)
    };
    (0..x.len()).map(&mut derivative_in).collect()
}

/// (f(x + h·d) − f(x − h·d)) / 2h ≈ ∇f·d.
///
/// It errs by h²·f‴/6 from truncation and by ε·f/h from the rounding of f. For f and f‴ near 1 the
/// sum is least where both are equal, about h = ∛ε = 6e-6, and then about ε^⅔ = 4e-11.
pub fn derivative_along(x: &[f64], d: &[f64], f: &mut impl FnMut(&[f64]) -> f64) -> f64 {
    let h = f64::EPSILON.cbrt();
    let mut at = |h: f64| {
        let moved: Vec<f64> = x.iter().zip(d).map(|(x, d)| x + h * d).collect();
        f(&moved)
    };
    (at(h) - at(-h)) / (2.0 * h)
}
