//! Which device: the adapters of this machine, and the choice among them.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use wgpu::{Backends, DeviceType};

use super::gpu::GpuSettings;
use crate::error::{Error, Result};

/// The value of `--device`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[non_exhaustive]
pub enum DeviceChoice {
    /// A hardware GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU path.
    Cpu,
    /// The best GPU: hardware before software.
    Gpu,
    /// The GPU with this index in the list of adapters.
    Index(usize),
    /// The first GPU whose name or driver contains this, whatever the case.
    Name(String),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s.split_once(':') {
            None if s == "auto" => Ok(DeviceChoice::Auto),
            None if s == "cpu" => Ok(DeviceChoice::Cpu),
            None if s == "gpu" => Ok(DeviceChoice::Gpu),
            Some(("gpu", rest)) if !rest.is_empty() => Ok(match rest.parse() {
                Ok(index) => DeviceChoice::Index(index),
                Err(_) => DeviceChoice::Name(rest.to_owned()),
            }),
            _ => Err(
                "expected auto, cpu, gpu, gpu:N or gpu:NAME; `bptt devices` lists them".to_owned(),
            ),
        }
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Gpu => f.write_str("gpu"),
            DeviceChoice::Index(index) => write!(f, "gpu:{index}"),
            DeviceChoice::Name(name) => write!(f, "gpu:{name}"),
        }
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = String;

    fn try_from(s: String) -> Result<Self, String> {
        s.parse()
    }
}

/// The value of `--limits`: what of a GPU is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LimitsChoice {
    /// All that it has.
    #[default]
    Device,
    /// The default limits of WebGPU, and no optional feature: what every GPU has.
    Default,
}

impl LimitsChoice {
    /// How `adapter` is opened.
    pub fn settings(self, adapter: &wgpu::Adapter) -> GpuSettings {
        match self {
            LimitsChoice::Device => GpuSettings::of(adapter),
            LimitsChoice::Default => GpuSettings::default_limits(),
        }
    }
}

/// Every adapter of this machine, hardware first; the order is the same on every call.
pub fn adapters() -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = Backends::VULKAN | Backends::METAL | Backends::DX12;
    // Validation layers are the developer's choice, through WGPU_VALIDATION.
    descriptor.flags = wgpu::InstanceFlags::empty().with_env();
    let instance = wgpu::Instance::new(descriptor);
    let mut adapters = pollster::block_on(instance.enumerate_adapters(Backends::all()));
    adapters.retain(|adapter| {
        let capabilities = adapter.get_downlevel_capabilities();
        capabilities
            .flags
            .contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
    });
    adapters.sort_by_key(|adapter| {
        let info = adapter.get_info();
        (rank(info.device_type), info.name, info.device_pci_bus_id)
    });
    adapters
}

fn rank(device_type: DeviceType) -> u8 {
    match device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    }
}

/// Is the adapter a GPU, rather than a driver that computes on the CPU?
pub fn is_hardware(adapter: &wgpu::Adapter) -> bool {
    adapter.get_info().device_type != DeviceType::Cpu
}

/// "NVIDIA H200 (Vulkan, NVIDIA 595.71)": an adapter in words.
pub fn describe(info: &wgpu::AdapterInfo) -> String {
    let driver = format!("{} {}", info.driver, info.driver_info);
    format!("{} ({}, {})", info.name, info.backend, driver.trim())
}

/// What `auto` and friends came to.
#[derive(Debug)]
#[non_exhaustive]
pub enum Chosen {
    /// The CPU path, and why.
    Cpu(&'static str),
    /// A GPU, and why.
    Gpu(Box<wgpu::Adapter>, &'static str),
}

/// Finds the device that `choice` names.
///
/// # Errors
/// [`Error::NoAdapter`] if there is none: a GPU that was asked for is never replaced.
pub fn choose(choice: &DeviceChoice) -> Result<Chosen> {
    if *choice == DeviceChoice::Cpu {
        return Ok(Chosen::Cpu("asked for"));
    }
    let mut all = adapters();
    let found = match choice {
        DeviceChoice::Auto => {
            return Ok(match all.iter().position(is_hardware) {
                Some(i) => Chosen::Gpu(Box::new(all.swap_remove(i)), "the first hardware GPU"),
                None => Chosen::Cpu("no hardware GPU found"),
            });
        }
        DeviceChoice::Index(index) => Some(*index).filter(|i| *i < all.len()),
        DeviceChoice::Name(name) => all.iter().position(|adapter| matches_name(adapter, name)),
        DeviceChoice::Gpu | DeviceChoice::Cpu => Some(0).filter(|_| !all.is_empty()),
    };
    match found {
        Some(i) => Ok(Chosen::Gpu(Box::new(all.swap_remove(i)), "asked for")),
        None => Err(Error::NoAdapter {
            asked: choice.to_string(),
            found: match all.len() {
                0 => "there is no GPU adapter on this machine".to_owned(),
                _ => format!("this machine has {}", names(&all)),
            },
        }),
    }
}

fn matches_name(adapter: &wgpu::Adapter, name: &str) -> bool {
    let words = describe(&adapter.get_info()).to_lowercase();
    words.contains(&name.to_lowercase())
}

fn names(adapters: &[wgpu::Adapter]) -> String {
    let names = adapters.iter().enumerate();
    let names = names.map(|(i, a)| format!("gpu:{i} {}", describe(&a.get_info())));
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_parse_and_print_alike() {
        for s in ["auto", "cpu", "gpu", "gpu:1", "gpu:llvmpipe"] {
            assert_eq!(s.parse::<DeviceChoice>().unwrap().to_string(), s);
        }
        for s in ["", "tpu", "gpu:", "cpu:1", "GPU"] {
            assert!(s.parse::<DeviceChoice>().is_err(), "{s}");
        }
    }
}
