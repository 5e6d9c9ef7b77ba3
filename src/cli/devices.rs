//! `bptt devices`: what can be trained on.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::terminal::print;
use crate::device::adapter;
use crate::device::{Cpu, Device};
use crate::error::Result;

/// Lists the CPU path and every adapter.
pub fn run() -> Result<ExitCode> {
    let mut list = format!("cpu    {}\n", Cpu::<f32>::new().describe());
    let adapters = adapter::adapters();
    for (index, adapter) in adapters.iter().enumerate() {
        list += &description(index, adapter);
    }
    if adapters.is_empty() {
        list += "no GPU; on Debian or Ubuntu `apt-get install mesa-vulkan-drivers` brings a software Vulkan device\n";
    }
    print(&list)?;
    Ok(ExitCode::SUCCESS)
}

/// An adapter's name, driver, limits and features, as far as they matter here.
fn description(index: usize, adapter: &wgpu::Adapter) -> String {
    let info = adapter.get_info();
    let limits = adapter.limits();
    let features = adapter.features();
    let matter = [
        ("timestamps", wgpu::Features::TIMESTAMP_QUERY),
        ("subgroups", wgpu::Features::SUBGROUP),
        ("f16", wgpu::Features::SHADER_F16),
        ("pipeline cache", wgpu::Features::PIPELINE_CACHE),
        ("immediates", wgpu::Features::IMMEDIATES),
    ];
    let present = matter.iter().filter(|(_, flag)| features.contains(*flag));
    let features: Vec<_> = present.map(|(name, _)| *name).collect();
    let mebibytes = |bytes: u64| bytes >> 20;
    let lines = [
        format!(
            "backend {}, driver {} {}",
            info.backend, info.driver, info.driver_info
        ),
        format!("type {}", kind(info.device_type)),
        format!(
            "largest binding {} MiB, largest buffer {} MiB",
            mebibytes(limits.max_storage_buffer_binding_size),
            mebibytes(limits.max_buffer_size)
        ),
        format!(
            "{} invocations and {} KiB of memory a workgroup, subgroups of {} to {}",
            limits.max_compute_invocations_per_workgroup,
            limits.max_compute_workgroup_storage_size >> 10,
            info.subgroup_min_size,
            info.subgroup_max_size
        ),
        format!("features {}", features.join(", ")),
    ];
    let mut text = format!("gpu:{index}  {}\n", info.name);
    for line in lines {
        let _ = writeln!(text, "       {line}");
    }
    text
}

fn kind(device_type: wgpu::DeviceType) -> &'static str {
    match device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete GPU",
        wgpu::DeviceType::IntegratedGpu => "integrated GPU",
        wgpu::DeviceType::VirtualGpu => "virtual GPU",
        wgpu::DeviceType::Cpu => "software (runs on the CPU; used only when asked for)",
        wgpu::DeviceType::Other => "other",
    }
}
