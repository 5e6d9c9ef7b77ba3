//! Compiled kernels, made on first use and kept.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;

use crate::device::kernel::Kernel;

/// A kernel with a setting of its switches.
pub(super) type Setting = (&'static Kernel, u32);

/// The kernel's name and the setting of its switches.
type Key = (&'static str, u32);

/// The pipelines of a device.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    made: Vec<wgpu::ComputePipeline>,
    places: HashMap<Key, usize>,
    /// What takes the place of kernels' own sources.
    sources: HashMap<&'static str, String>,
}

impl Pipelines {
    /// Where the pipeline of a kernel is, once it is compiled.
    pub fn place(&self, setting: Setting) -> Option<usize> {
        self.places.get(&key(setting)).copied()
    }

    /// The pipeline at a place.
    pub fn at(&self, place: usize) -> &wgpu::ComputePipeline {
        &self.made[place]
    }

    /// Uses `source` for the kernel `name` from its next first use on.
    pub fn replace(&mut self, name: &'static str, source: String) {
        self.sources.insert(name, source);
        self.places.retain(|(kernel, _), _| *kernel != name);
    }

    /// The places of those that are wanted, compiled side by side where they are not yet: drivers take
    /// some milliseconds for each.
    pub fn compile(&mut self, device: &wgpu::Device, wanted: &[Setting]) -> Vec<usize> {
        let missing = wanted
            .iter()
            .filter(|setting| self.place(**setting).is_none());
        let missing: BTreeMap<_, _> = missing.map(|setting| (key(*setting), *setting)).collect();
        let missing: Vec<Setting> = missing.into_values().collect();
        let compiled: Vec<_> = missing
            .par_iter()
            .map(|(kernel, switches)| {
                let source = self.sources.get(kernel.name);
                let source = source.map_or(kernel.source, String::as_str);
                compiled(device, source, kernel, *switches)
            })
            .collect();
        for (setting, pipeline) in missing.into_iter().zip(compiled) {
            self.places.insert(key(setting), self.made.len());
            self.made.push(pipeline);
        }
        wanted
            .iter()
            .map(|setting| self.places[&key(*setting)])
            .collect()
    }
}

fn key((kernel, switches): Setting) -> Key {
    (kernel.name, switches)
}

fn compiled(
    device: &wgpu::Device,
    source: &str,
    kernel: &Kernel,
    switches: u32,
) -> wgpu::ComputePipeline {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(kernel.name),
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(kernel.name),
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &kernel.constants(switches),
            // Every kernel writes its workgroup memory before it reads it.
            zero_initialize_workgroup_memory: false,
        },
        cache: None,
    })
}
