//! How much memory is left, where that can be told.

use super::plan::{MemoryPlan, mebibytes};
use crate::error::{Error, Result};

/// Bytes of host memory that can be used without swapping: Linux's MemAvailable. [`None`]
/// elsewhere.
pub fn host_available() -> Option<u64> {
    let report = std::fs::read_to_string("/proc/meminfo").ok()?;
    available(&report)
}

fn available(report: &str) -> Option<u64> {
    let line = report
        .lines()
        .find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Checks that `plan` fits the host's memory, for devices that live in it: an allocation beyond
/// it may seem to succeed, and the process be killed when it is used.
///
/// # Errors
/// [`Error::DoesNotFit`] with the sum by purpose.
pub fn check_host(plan: &MemoryPlan, device: &str) -> Result<()> {
    match host_available() {
        Some(available) if plan.total() > available => Err(Error::DoesNotFit {
            plan: plan.to_string(),
            available: mebibytes(available),
            device: device.to_owned(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read_from_the_kernel_s_report() {
        let report = "MemTotal:       24000 kB\nMemAvailable:     1000 kB\nBuffers: 1 kB\n";
        assert_eq!(available(report), Some(1_024_000));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
    }
}
