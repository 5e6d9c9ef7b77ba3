//! Kernels as naga has them: parsed, validated, and with the overrides that the host sets.

use bptt::device::kernel::Kernel;
use bptt::ops::gpu::KERNELS;
use naga::valid::{
    Capabilities, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator,
};
use naga::{Module, ShaderStage, back};

/// The stage and the name of every kernel's entry point.
pub const MAIN: (ShaderStage, &str) = (ShaderStage::Compute, "main");

pub fn kernels() -> impl Iterator<Item = &'static Kernel> {
    KERNELS
        .iter()
        .flat_map(|(_, kernels)| kernels.iter().copied())
}

/// `kernel` with `source` in its file.
pub fn parse(kernel: &Kernel, source: &str) -> Result<(Module, ModuleInfo), String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    let info = validator(kernel).validate(&module);
    let info = info.map_err(|e| e.emit_to_string(source))?;
    Ok((module, info))
}

/// Nothing that is optional in WebGPU is allowed, but for subgroups in a kernel that says so.
fn validator(kernel: &Kernel) -> Validator {
    let mut allowed = Capabilities::empty();
    allowed.set(Capabilities::SUBGROUP, kernel.subgroup.is_some());
    let mut validator = Validator::new(ValidationFlags::all(), allowed);
    validator.subgroup_stages(ShaderStages::COMPUTE);
    validator.subgroup_operations(SubgroupOperationSet::all());
    validator
}

/// The kernel with the host's overrides and each setting of its switches.
pub fn settings(
    kernel: &Kernel,
    module: &Module,
    info: &ModuleInfo,
) -> Result<Vec<(Module, ModuleInfo)>, String> {
    let with = |switches| {
        let constants = kernel.constants(switches).into_iter();
        let constants = constants.map(|(name, value)| (name.to_owned(), value));
        let constants = constants.collect();
        let processed =
            back::pipeline_constants::process_overrides(module, info, Some(MAIN), &constants);
        let (module, _) = processed.map_err(|e| e.to_string())?;
        let module = module.into_owned();
        let info = validator(kernel).validate(&module);
        Ok((module, info.map_err(|e| format!("with overrides: {e:?}"))?))
    };
    (0..1 << kernel.switches.len()).map(with).collect()
}
