// tanh x within f32, on every GPU.
//
// The built-in tanh overflows to NaN for large |x| on some GPUs and is off by percents near zero
// on others: this is Cephes' tanhf (S. Moshier), an odd polynomial for |x| < 0.625 and
// 1 − 2/(e^2|x| + 1) elsewhere, with |x| clamped to 15, where tanh has long rounded to 1.

fn stable_tanh(x: f32) -> f32 {
    let s = x * x;
    var p = -5.70498872745e-3;
    p = p * s + 2.06390887954e-2;
    p = p * s - 5.37397155531e-2;
    p = p * s + 1.33314422036e-1;
    p = p * s - 3.33332819422e-1;
    let small = p * s * x + x;
    let a = min(abs(x), 15.0);
    let large = sign(x) * (1.0 - 2.0 / (exp(2.0 * a) + 1.0));
    return select(small, large, a >= 0.625);
}
