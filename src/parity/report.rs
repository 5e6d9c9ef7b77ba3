//! What a parity check found.
//!
//! An op of one's own can be checked the same way: against f64, each element within a bound that is
//! derived from its roundings.
//!
//! ```
//! use bptt::parity::OpReport;
//! use bptt::parity::bounds::U;
//!
//! let inputs = [0.1f32, -2.5, 1e20];
//! let mut report = OpReport::new("square", "mine");
//! report.cases = 1;
//! for (i, x) in inputs.iter().enumerate() {
//!     let want = f64::from(*x).powi(2);
//!     // One product, rounded once.
//!     report.compare(f64::from(x * x), want, U * want, || format!("element {i}"));
//! }
//! // 1e40 is beyond f32, and no bound allows infinity.
//! let report = report.finish();
//! assert!(!report.passed() && report.failed == 1);
//! ```

use serde::Serialize;

/// The result of an op's cases by one variant, or of a part of the training check.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OpReport {
    /// The op, or "training: …".
    pub op: String,
    /// The kernel that was used.
    pub variant: String,
    /// Cases run.
    pub cases: usize,
    /// Elements compared.
    pub elements: usize,
    /// Largest |got − want|.
    pub max_abs: f64,
    /// Largest |got − want| / |want|, where want is not 0.
    pub max_rel: f64,
    /// The 99.9th percentile of the distance from the reference rounded to f32, in units in the
    /// last place.
    pub ulp_p999: u64,
    /// Largest error as a share of its bound; more than 1 fails.
    pub worst: f64,
    /// What failed, a line each: the first few.
    pub failures: Vec<String>,
    /// Number of failures.
    pub failed: usize,
    #[serde(skip)]
    ulps: Vec<u64>,
}

/// Failures that are described; the rest is counted.
const DESCRIBED: usize = 5;

impl OpReport {
    /// An empty report.
    pub fn new(op: &str, variant: &str) -> Self {
        OpReport {
            op: op.to_owned(),
            variant: variant.to_owned(),
            cases: 0,
            elements: 0,
            max_abs: 0.0,
            max_rel: 0.0,
            ulp_p999: 0,
            worst: 0.0,
            failures: Vec::new(),
            failed: 0,
            ulps: Vec::new(),
        }
    }

    /// Did every element keep its bound?
    pub fn passed(&self) -> bool {
        self.failed == 0 && self.cases > 0
    }

    pub(super) fn fail(&mut self, what: String) {
        self.failed += 1;
        if self.failures.len() < DESCRIBED {
            self.failures.push(what);
        }
    }

    /// Compares one element with what it should be, give or take `tolerance`; `what` names it.
    pub fn compare(&mut self, got: f64, want: f64, tolerance: f64, what: impl FnOnce() -> String) {
        let error = (got - want).abs();
        self.elements += 1;
        self.ulps.push(ulp_distance(got as f32, want as f32));
        if error.is_nan() {
            self.fail(format!("{}: got {got}, expected {want}", what()));
            return;
        }
        self.max_abs = self.max_abs.max(error);
        if want != 0.0 {
            self.max_rel = self.max_rel.max(error / want.abs());
        }
        // Where the bound is 0 the result must be exact.
        let share = if error == 0.0 { 0.0 } else { error / tolerance };
        self.worst = self.worst.max(share);
        if share > 1.0 {
            let what = what();
            self.fail(format!(
                "{what}: got {got}, expected {want} ± {tolerance:.1e}"
            ));
        }
    }

    /// Completes the statistics, after the last element.
    pub fn finish(mut self) -> Self {
        let ulps = &mut self.ulps;
        if !ulps.is_empty() {
            let at = ((ulps.len() - 1) as f64 * 0.999) as usize;
            self.ulp_p999 = *ulps.select_nth_unstable(at).1;
            self.ulps = Vec::new();
        }
        self
    }
}

/// How many f32 lie between two.
fn ulp_distance(a: f32, b: f32) -> u64 {
    let order = |x: f32| {
        let bits = i64::from(x.to_bits() & 0x7fff_ffff);
        if x.is_sign_negative() { -bits } else { bits }
    };
    order(a).abs_diff(order(b))
}

/// A whole parity run on one device.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The adapter's name.
    pub adapter: String,
    /// Vulkan, Metal or DX12.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// One for each op and variant, and for the training step.
    pub ops: Vec<OpReport>,
}

impl Report {
    pub(super) fn new([adapter, backend, driver]: [String; 3]) -> Self {
        Report {
            adapter,
            backend,
            driver,
            ops: Vec::new(),
        }
    }

    /// Did everything pass?
    pub fn passed(&self) -> bool {
        !self.ops.is_empty() && self.ops.iter().all(OpReport::passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulp_distance_counts_floats_across_zero() {
        assert_eq!(ulp_distance(1.0, 1.0), 0);
        assert_eq!(ulp_distance(1.0, 1.0 + f32::EPSILON), 1);
        assert_eq!(ulp_distance(-f32::from_bits(1), f32::from_bits(2)), 3);
        assert_eq!(ulp_distance(0.0, -0.0), 0);
    }

    #[test]
    fn a_nan_an_error_beyond_the_bound_and_no_case_at_all_fail() {
        let report = |got: f64| {
            let mut report = OpReport::new("op", "kernel");
            report.cases = 1;
            report.compare(got, 1.0, 1e-6, || "element".to_owned());
            report.finish()
        };
        assert!(report(1.0 + 9e-7).passed());
        assert!(!report(1.0 + 1.1e-6).passed());
        assert!(!report(f64::NAN).passed());
        assert!(!OpReport::new("op", "kernel").passed());
    }
}
