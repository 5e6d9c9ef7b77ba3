//! exp and tanh at f32 for the CPU path: branch-free, so that loops over them vectorise.
//!
//! Both follow S. Moshier's Cephes library (expf.c, tanhf.c): argument reduction by multiples of
//! ln 2 and a degree-5 polynomial for exp; an odd polynomial near zero and exp elsewhere for tanh.
//! `shaders/tanh.wgsl` uses the same formula for tanh.

/// Below this, e^x is less than the smallest normal f32 and is taken as 0.
const EXP_UNDERFLOW: f32 = -87.336_54;
/// Above this, e^x exceeds the largest f32.
const EXP_OVERFLOW: f32 = 88.722_83;
/// 1.5 · 2²³: adding and subtracting it rounds an f32 below 2²² to the nearest integer.
const ROUND: f32 = 12_582_912.0;
/// ln 2 = LN2_HI + LN2_LO, with few enough bits in LN2_HI that n·LN2_HI is exact.
const LN2_HI: f32 = 0.693_359_4;
const LN2_LO: f32 = -2.121_944_4e-4;

/// e^x within 2 ULP; 0 where the result is below the smallest normal f32, infinity where it
/// overflows, NaN for NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // NaN fails both comparisons and becomes a bound; the last line brings it back.
    let clamped = if x > EXP_UNDERFLOW { x } else { EXP_UNDERFLOW };
    let clamped = if clamped < EXP_OVERFLOW {
        clamped
    } else {
        EXP_OVERFLOW
    };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN2_HI - n * LN2_LO;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5e-1;
    let e = p * r * r + r + 1.0;
    // n as an integer, from the last bits of the shifted sum: a cast would have to saturate, which
    // takes several times as long. 2ⁿ in two factors, for n reaches 128, one more than an exponent
    // field holds.
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = n >> 1;
    let power = |k: i32| f32::from_bits(((k + 127) as u32) << 23);
    let y = e * power(half) * power(n - half);
    let y = if x < EXP_UNDERFLOW { 0.0 } else { y };
    let y = if x > EXP_OVERFLOW { f32::INFINITY } else { y };
    if x.is_nan() { x } else { y }
}

/// Where tanh's polynomial ends.
const TANH_SMALL: f32 = 0.625;
/// tanh x rounds to ±1 from 9.02 on; e^2x must not overflow.
const TANH_CLAMP: f32 = 15.0;

/// tanh x within 2 ULP; ±1 for large |x|, NaN for NaN.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let s = x * x;
    let mut p = -5.704_988_7e-3;
    p = p * s + 2.063_909e-2;
    p = p * s - 5.373_971_6e-2;
    p = p * s + 1.333_144_2e-1;
    p = p * s - 3.333_328e-1;
    // −0 stays −0, which the sum alone would lose.
    let small = (p * s * x + x).copysign(x);
    let a = x.abs().min(TANH_CLAMP);
    let large = (1.0 - 2.0 / (exp(2.0 * a) + 1.0)).copysign(x);
    // A NaN takes the polynomial, which keeps it.
    if x.abs() >= TANH_SMALL { large } else { small }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The distance from f64's result, rounded, in units in the last place of an f32.
    fn ulp(got: f32, want: f64) -> i64 {
        (i64::from(got.to_bits()) - i64::from((want as f32).to_bits())).abs()
    }

    /// Every 97th f32 of a range: some 10 million of them, at all magnitudes.
    fn floats(range: std::ops::RangeInclusive<f32>) -> impl Iterator<Item = f32> {
        (0..=u32::MAX)
            .step_by(97)
            .map(f32::from_bits)
            .filter(move |x| range.contains(x))
    }

    #[test]
    fn exp_is_within_2_ulp() {
        let worst = floats(EXP_UNDERFLOW..=EXP_OVERFLOW)
            .map(|x| (ulp(exp(x), f64::from(x).exp()), x))
            .max_by_key(|w| w.0);
        assert!(worst.unwrap().0 <= 2, "{worst:?}");
    }

    #[test]
    fn tanh_is_within_2_ulp() {
        let worst = floats(-20.0..=20.0)
            .map(|x| (ulp(tanh(x), f64::from(x).tanh()), x))
            .max_by_key(|w| w.0);
        assert!(worst.unwrap().0 <= 2, "{worst:?}");
    }

    #[test]
    fn the_edges_are_right() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-200.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(100.0), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(tanh(1e30), 1.0);
        assert_eq!(tanh(f32::NEG_INFINITY), -1.0);
        assert_eq!(tanh(-0.0).to_bits(), (-0.0f32).to_bits());
        assert!(tanh(f32::NAN).is_nan());
    }
}
