//! What several test binaries need: the GPU.

pub mod say;
pub mod skip;
mod skips;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use bptt::device::{Gpu, GpuSettings, adapter};

/// A device of the first adapter, for one test at a time.
///
/// Without an adapter the test fails: a GPU path that nothing ran must not look tested. Where there
/// can be none, `BPTT_SKIP_GPU_TESTS=1` says so, and this gives [`None`]. `BPTT_TEST_LIMITS=default`
/// opens it with WebGPU's default limits and no optional feature.
pub fn gpu() -> Option<MutexGuard<'static, Gpu>> {
    // Two: a software driver compiles for each on one core, which is most of what tests of kernels wait for.
    static GPUS: [OnceLock<Mutex<Gpu>>; 2] = [const { OnceLock::new() }; 2];
    if skips::gpu_is_skipped() {
        return None;
    }
    let gpus = || {
        GPUS.iter()
            .map(|gpu| gpu.get_or_init(|| Mutex::new(open())))
    };
    // A test that failed while it held a GPU has not harmed it.
    let free = gpus().find_map(|gpu| match gpu.try_lock() {
        Ok(gpu) => Some(gpu),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    });
    let any = || {
        gpus()
            .next()
            .map(|gpu| gpu.lock().unwrap_or_else(PoisonError::into_inner))
    };
    free.or_else(any)
}

fn open() -> Gpu {
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
