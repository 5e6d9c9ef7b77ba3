//! How a device is opened: what of its adapter is used, and how long it may be busy at once.

use super::timestamps::Timer;
use crate::device::work::LONGEST;

/// How a device is opened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GpuSettings {
    /// Its limits, or lower ones.
    pub limits: wgpu::Limits,
    /// What it has beyond what every adapter has.
    pub features: wgpu::Features,
    /// Seconds on a slow GPU that a dispatch, and a submission, may take: see
    /// [`Work`](crate::device::work::Work).
    pub longest: f64,
    /// Is nothing to be allocated or run? What would be is counted:
    /// [`Gpu::recorded`](super::Gpu::recorded).
    pub plan_only: bool,
}

impl GpuSettings {
    /// All that `adapter` has.
    pub fn of(adapter: &wgpu::Adapter) -> Self {
        GpuSettings {
            limits: adapter.limits(),
            features: adapter.features() & (Timer::FEATURES | wgpu::Features::SUBGROUP),
            longest: LONGEST,
            plan_only: false,
        }
    }

    /// What every WebGPU adapter has: its default limits, and no optional feature.
    pub fn default_limits() -> Self {
        GpuSettings {
            limits: wgpu::Limits::defaults(),
            features: wgpu::Features::empty(),
            longest: LONGEST,
            plan_only: false,
        }
    }
}
