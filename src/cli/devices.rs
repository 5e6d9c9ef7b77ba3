//! `bptt devices`: what can be trained on.

use std::process::ExitCode;

use crate::device::adapter;
use crate::device::{Cpu, Device};
use crate::error::Result;

/// Lists the CPU path and every adapter.
pub fn run() -> Result<ExitCode> {
    println!("cpu    {}", Cpu::<f32>::new().describe());
    let adapters = adapter::adapters();
    for (index, adapter) in adapters.iter().enumerate() {
        print_adapter(index, adapter);
    }
    if adapters.is_empty() {
        println!(
            "no GPU; on Debian or Ubuntu `apt-get install mesa-vulkan-drivers` brings a software Vulkan device"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn print_adapter(index: usize, adapter: &wgpu::Adapter) {
    let info = adapter.get_info();
    let limits = adapter.limits();
    let mebibytes = |bytes: u64| bytes >> 20;
    println!("gpu:{index}  {}", info.name);
    println!(
        "       backend {}, driver {} {}",
        info.backend, info.driver, info.driver_info
    );
    println!("       type {}", kind(info.device_type));
    println!(
        "       largest binding {} MiB, largest buffer {} MiB",
        mebibytes(limits.max_storage_buffer_binding_size),
        mebibytes(limits.max_buffer_size)
    );
    println!(
        "       {} invocations and {} KiB of memory a workgroup, subgroups of {} to {}",
        limits.max_compute_invocations_per_workgroup,
        limits.max_compute_workgroup_storage_size >> 10,
        info.subgroup_min_size,
        info.subgroup_max_size
    );
    let features = adapter.features();
    let matter = [
        ("timestamps", wgpu::Features::TIMESTAMP_QUERY),
        ("subgroups", wgpu::Features::SUBGROUP),
        ("f16", wgpu::Features::SHADER_F16),
        ("pipeline cache", wgpu::Features::PIPELINE_CACHE),
        ("immediates", wgpu::Features::IMMEDIATES),
    ];
    let present = matter.iter().filter(|(_, flag)| features.contains(*flag));
    let names: Vec<_> = present.map(|(name, _)| *name).collect();
    println!("       features {}", names.join(", "));
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
