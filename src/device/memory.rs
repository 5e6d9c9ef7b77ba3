//! How much memory is left, where that can be told.

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

/// Bytes of the adapter's own memory, where that is known: the largest heap of a Vulkan device that
/// is not part of the host's. What of it other programs hold is not.
pub fn of_adapter(adapter: &wgpu::Adapter) -> Option<u64> {
    if adapter.get_info().device_type != wgpu::DeviceType::DiscreteGpu {
        return None;
    }
    largest_heap(adapter)
}

#[cfg(any(target_os = "linux", target_os = "windows"))]
#[expect(
    unsafe_code,
    reason = "wgpu does not tell how much memory there is; Vulkan does"
)]
fn largest_heap(adapter: &wgpu::Adapter) -> Option<u64> {
    /// VK_MEMORY_HEAP_DEVICE_LOCAL_BIT.
    const DEVICE_LOCAL: u32 = 1;
    // SAFETY: the handle is read, not changed, and lives as long as this borrow of the adapter.
    let memory = unsafe {
        let vulkan = adapter.as_hal::<wgpu::hal::api::Vulkan>()?;
        let instance = vulkan.shared_instance().raw_instance();
        instance.get_physical_device_memory_properties(vulkan.raw_physical_device())
    };
    let heaps = memory.memory_heaps.iter();
    let heaps = heaps.take(memory.memory_heap_count as usize);
    let local = heaps.filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL != 0);
    local.map(|heap| heap.size).max()
}

#[cfg(not(any(target_os = "linux", target_os = "windows")))]
fn largest_heap(_: &wgpu::Adapter) -> Option<u64> {
    None
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
