//! Every kernel as a Vulkan driver gets it is valid SPIR-V by the Khronos group's validator,
//! `spirv-val`. naga, which makes it, is then not the only judge of it.

#[path = "common/kernels.rs"]
mod kernels;
#[path = "common/say.rs"]
mod say;
#[path = "common/skip.rs"]
mod skip;

use std::io::Write as _;
use std::process::{Command, Stdio};

use bptt::device::kernel::Kernel;
use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};

use kernels::{kernels, parse, settings};
use say::say;
use skip::skip;

/// The SPIR-V that wgpu writes for each version of Vulkan, and what the validator calls that.
const ENVIRONMENTS: [((u8, u8), &str); 4] = [
    ((1, 0), "vulkan1.0"),
    ((1, 3), "vulkan1.1"),
    ((1, 5), "vulkan1.2"),
    ((1, 6), "vulkan1.3"),
];

/// Is the validator there? Says so if it is not.
fn has_validator() -> bool {
    let asked = Command::new("spirv-val").arg("--version").output();
    let found = asked.is_ok_and(|output| output.status.success());
    if !found {
        skip("SPIR-V is not validated: spirv-val is not there (apt-get install spirv-tools)");
    }
    found
}

/// The options that wgpu writes kernels with: accesses of buffers are clamped where the driver does
/// not do it, workgroup memory is not zeroed, as the host asks.
fn options(version: (u8, u8), buffer: BoundsCheckPolicy) -> spv::Options<'static> {
    spv::Options {
        lang_version: version,
        flags: spv::WriterFlags::empty(),
        fake_missing_bindings: false,
        bounds_check_policies: BoundsCheckPolicies {
            index: BoundsCheckPolicy::Restrict,
            buffer,
            image_load: BoundsCheckPolicy::Unchecked,
            binding_array: BoundsCheckPolicy::Unchecked,
        },
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        binding_map: binding_map(),
        ..Default::default()
    }
}

/// Binding i of group 0 is binding i.
fn binding_map() -> spv::BindingMap {
    let binding = |binding| {
        let info = spv::BindingInfo {
            descriptor_set: 0,
            binding,
            binding_array_size: None,
        };
        (naga::ResourceBinding { group: 0, binding }, info)
    };
    (0..8).map(binding).collect()
}

/// The modules that a kernel becomes, each with the environment that it is for.
fn modules(kernel: &Kernel) -> Result<Vec<(&'static str, Vec<u32>)>, String> {
    let (module, info) = parse(kernel, kernel.source)?;
    let mut modules = Vec::new();
    for (module, info) in settings(kernel, &module, &info)? {
        // Subgroups came with SPIR-V 1.3.
        let environments = ENVIRONMENTS
            .iter()
            .filter(|(version, _)| kernel.subgroup.is_none() || *version >= (1, 3));
        for &(version, environment) in environments {
            for buffer in [BoundsCheckPolicy::Restrict, BoundsCheckPolicy::Unchecked] {
                let words = spv::write_vec(&module, &info, &options(version, buffer), None);
                modules.push((environment, words.map_err(|e| e.to_string())?));
            }
        }
    }
    Ok(modules)
}

/// What `spirv-val` has against a module.
fn validate(environment: &str, words: &[u32]) -> Result<(), String> {
    let mut child = Command::new("spirv-val")
        .args(["--target-env", environment, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let written = child
        .stdin
        .take()
        .map_or(Ok(()), |mut stdin| stdin.write_all(&bytes));
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    written.map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn every_variant_is_valid_spirv() {
    if !has_validator() {
        return;
    }
    let (mut validated, mut errors) = (0, Vec::new());
    for kernel in kernels() {
        for (environment, words) in modules(kernel).expect("SPIR-V is written") {
            validated += 1;
            if let Err(error) = validate(environment, &words) {
                errors.push(format!("{}, {environment}: {error}", kernel.name));
            }
        }
    }
    say(&format!(
        "spirv-val: {} of {validated} modules of {} kernels are valid",
        validated - errors.len(),
        kernels().count()
    ));
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
    // Every kernel in every environment, with and without clamped buffers.
    assert!(validated >= kernels().count() * ENVIRONMENTS.len() * 2);
}

/// Where the instructions with an opcode begin: each begins with its length and its opcode.
fn instructions(words: &[u32], opcode: u32) -> Vec<usize> {
    let (mut found, mut at) = (Vec::new(), 5);
    while at < words.len() {
        if words[at] & 0xffff == opcode {
            found.push(at);
        }
        at += (words[at] >> 16).max(1) as usize;
    }
    found
}

#[test]
fn a_doctored_module_is_refused() {
    if !has_validator() {
        return;
    }
    const F_ADD: u32 = 129;
    const I_ADD: u32 = 128;
    const STORE: u32 = 62;
    let kernel = kernels().find(|kernel| kernel.name == "sum_rows");
    let (environment, words) = modules(kernel.expect("the kernel"))
        .expect("SPIR-V")
        .remove(0);
    assert_eq!(validate(environment, &words), Ok(()));
    // A sum of floats as one of integers.
    let mut sums = words.clone();
    let at = instructions(&words, F_ADD)[0];
    sums[at] = (words[at] & 0xffff_0000) | I_ADD;
    assert!(validate(environment, &sums).is_err());
    // A store of a pointer into itself.
    let mut store = words.clone();
    let at = instructions(&words, STORE)[0];
    store[at + 2] = store[at + 1];
    assert!(validate(environment, &store).is_err());
    // The end is missing.
    assert!(validate(environment, &words[..words.len() - 1]).is_err());
    // SPIR-V of a later version than the environment knows.
    let mut later = words;
    later[1] = 0x0001_0600;
    assert!(validate(environment, &later).is_err());
}
