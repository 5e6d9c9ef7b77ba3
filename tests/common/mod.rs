//! What several test binaries need: the GPU.

pub mod say;
pub mod skip;
mod skips;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bptt::device::{Gpu, GpuSettings, adapter};

/// The first adapter's GPU, for one test at a time; one device a test binary.
///
/// Without an adapter the test fails: a GPU path that nothing ran must not look tested. Where there
/// can be none, `BPTT_SKIP_GPU_TESTS=1` says so, and this gives [`None`]. `BPTT_TEST_LIMITS=default`
/// opens it with WebGPU's default limits and no optional feature.
pub fn gpu() -> Option<MutexGuard<'static, Gpu>> {
    static GPU: OnceLock<Mutex<Gpu>> = OnceLock::new();
    if skips::gpu_is_skipped() {
        return None;
    }
    let gpu = GPU.get_or_init(|| Mutex::new(open()));
    // A test that failed while it held the GPU has not harmed it.
    Some(gpu.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Another device of the same adapter.
pub fn open() -> Gpu {
    let adapters = adapter::adapters();
    let first = adapters.first().expect(
        "this machine has no GPU adapter; a software one will do: \
         apt-get install mesa-vulkan-drivers (or set BPTT_SKIP_GPU_TESTS=1)",
    );
    let settings = match std::env::var("BPTT_TEST_LIMITS").as_deref() {
        Ok("default") => GpuSettings::default_limits(),
        Ok("device") | Err(_) => GpuSettings::of(first),
        Ok(other) => panic!("BPTT_TEST_LIMITS={other}: device or default"),
    };
    Gpu::open_with(first, settings).expect("the first adapter opens")
}
