//! Every kernel is valid for Vulkan, Metal and DX12, within WebGPU's minima, and laid out as its
//! host side says.

#[path = "common/kernels.rs"]
mod kernels;

use bptt::device::kernel::{Access, Kernel};
use naga::valid::ModuleInfo;
use naga::{AddressSpace, Module, Scalar, ScalarKind, StorageAccess, TypeInner, back};

use kernels::{MAIN, kernels, parse, settings};

/// Invocations of a workgroup, and bytes of its memory, that every WebGPU adapter has.
const MAX_INVOCATIONS: u32 = 256;
const MAX_WORKGROUP_MEMORY: u32 = 16_384;
/// How kernels number their workgroups, which the host's grid counts on.
const WORKGROUP_NUMBER: &str = "workgroup.x + workgroup.y * workgroups.x";

/// Everything that is wrong with a kernel whose file holds `source`.
fn check(kernel: &Kernel, source: &str) -> Vec<String> {
    let mut errors = check_text(source);
    match parse(kernel, source) {
        Ok((module, info)) => {
            errors.extend(check_layout(kernel, &module));
            errors.extend(check_backends(kernel, &module, &info).unwrap_or_else(|e| vec![e]));
        }
        Err(error) => errors.push(error),
    }
    let named = errors.into_iter().map(|e| format!("{}: {e}", kernel.name));
    named.collect()
}

fn check_text(source: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if !source.starts_with("// ") {
        errors.push("does not begin with a comment".to_owned());
    }
    if source.contains("workgroup_id") && !source.contains(WORKGROUP_NUMBER) {
        errors.push(format!(
            "does not number workgroups as `{WORKGROUP_NUMBER}`"
        ));
    }
    errors
}

/// Compares the bindings with what the host states.
fn check_layout(kernel: &Kernel, module: &Module) -> Vec<String> {
    let mut errors = Vec::new();
    let expected = std::iter::once(params_binding(kernel)).chain(
        kernel
            .bindings
            .iter()
            .map(|(name, access)| storage_binding(name, *access)),
    );
    let mut found: Vec<(u32, String)> = Vec::new();
    for (_, variable) in module.global_variables.iter() {
        if let Some(at) = variable.binding {
            if at.group != 0 {
                errors.push(format!("binding {} is in group {}", at.binding, at.group));
            }
            found.push((at.binding, describe(module, variable)));
        }
    }
    found.sort();
    let expected: Vec<_> = (0..).zip(expected).collect();
    if found != expected {
        errors.push(format!(
            "bindings are\n  {found:?}\nthe host has\n  {expected:?}"
        ));
    }
    if module
        .types
        .iter()
        .any(|(_, t)| matches!(t.inner, TypeInner::Atomic(_)))
    {
        errors.push("has an atomic: the order of its sums is not fixed".to_owned());
    }
    errors
}

/// The uniform binding in words: name, type and offset of every field, and the size.
fn params_binding(kernel: &Kernel) -> String {
    let fields = kernel.fields.iter();
    let fields: Vec<_> = fields
        .map(|(name, scalar, at)| format!("{name}: {scalar} at {at}"))
        .collect();
    uniform(&fields, 4 * fields.len())
}

fn uniform(fields: &[String], bytes: usize) -> String {
    format!("uniform params {{{}}} of {bytes} bytes", fields.join(", "))
}

fn storage_binding(name: &str, access: Access) -> String {
    let access = match access {
        Access::Read => "read",
        Access::ReadWrite => "read_write",
    };
    format!("storage {name}, {access}")
}

/// A variable of the shader in the words of [`params_binding`] and [`storage_binding`].
fn describe(module: &Module, variable: &naga::GlobalVariable) -> String {
    let name = variable.name.as_deref().unwrap_or_default();
    match (variable.space, &module.types[variable.ty].inner) {
        (AddressSpace::Uniform, TypeInner::Struct { members, span }) if name == "params" => {
            let field = |m: &naga::StructMember| {
                let scalar = scalar_name(&module.types[m.ty].inner);
                format!(
                    "{}: {scalar} at {}",
                    m.name.as_deref().unwrap_or_default(),
                    m.offset
                )
            };
            uniform(
                &members.iter().map(field).collect::<Vec<_>>(),
                *span as usize,
            )
        }
        (AddressSpace::Storage { access }, _) if access == StorageAccess::LOAD => {
            storage_binding(name, Access::Read)
        }
        (AddressSpace::Storage { access }, _)
            if access == StorageAccess::LOAD | StorageAccess::STORE =>
        {
            storage_binding(name, Access::ReadWrite)
        }
        (space, inner) => format!("{name} in {space:?}: {inner:?}"),
    }
}

fn scalar_name(inner: &TypeInner) -> String {
    match inner {
        TypeInner::Scalar(Scalar::U32) => "u32".to_owned(),
        TypeInner::Scalar(Scalar {
            kind: ScalarKind::Float,
            width: 4,
        }) => "f32".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Writes the kernel for every backend, with the host's overrides and every setting of its switches.
fn check_backends(
    kernel: &Kernel,
    module: &Module,
    info: &ModuleInfo,
) -> Result<Vec<String>, String> {
    let entry_points: Vec<_> = module
        .entry_points
        .iter()
        .map(|e| (e.stage, e.name.as_str()))
        .collect();
    if entry_points != [MAIN] {
        return Err(format!("entry points are {entry_points:?}"));
    }
    let mut errors = Vec::new();
    for (module, info) in settings(kernel, module, info)? {
        errors.extend(check_sizes(kernel, &module, &info));
        errors.extend(write_spirv(&module, &info).err());
        errors.extend(write_msl(&module, &info).err());
        errors.extend(write_hlsl(&module, &info).err());
    }
    Ok(errors)
}

/// Holds the workgroup to WebGPU's minima, and every binding to be used: a pipeline's layout leaves
/// out those that are not.
fn check_sizes(kernel: &Kernel, module: &Module, info: &ModuleInfo) -> Vec<String> {
    let mut errors = Vec::new();
    let invocations = module.entry_points[0]
        .workgroup_size
        .iter()
        .product::<u32>();
    if invocations > MAX_INVOCATIONS {
        errors.push(format!("{invocations} invocations a workgroup"));
    }
    let variables = || module.global_variables.iter();
    let in_workgroup = variables().filter(|(_, v)| v.space == AddressSpace::WorkGroup);
    let memory: u32 = in_workgroup
        .map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx()))
        .sum();
    if memory > MAX_WORKGROUP_MEMORY {
        errors.push(format!("{memory} bytes of workgroup memory"));
    }
    let usage = info.get_entry_point(0);
    let used = variables().filter(|(handle, v)| v.binding.is_some() && !usage[*handle].is_empty());
    if used.count() != kernel.bindings.len() + 1 {
        errors.push("a binding is not used".to_owned());
    }
    errors
}

fn write_spirv(module: &Module, info: &ModuleInfo) -> Result<(), String> {
    let words = back::spv::write_vec(module, info, &back::spv::Options::default(), None);
    words.map(drop).map_err(|e| format!("SPIR-V: {e}"))
}

fn write_msl(module: &Module, info: &ModuleInfo) -> Result<(), String> {
    let options = back::msl::Options::default();
    let written = back::msl::write_string(module, info, &options, &Default::default());
    let (_, translated) = written.map_err(|e| format!("MSL: {e}"))?;
    // An entry point that cannot be expressed is left out, with its error.
    let entry_points: Result<Vec<_>, _> = translated.entry_point_names.into_iter().collect();
    entry_points.map(drop).map_err(|e| format!("MSL: {e}"))
}

fn write_hlsl(module: &Module, info: &ModuleInfo) -> Result<(), String> {
    let (options, pipeline) = (back::hlsl::Options::default(), Default::default());
    let mut text = String::new();
    let mut writer = back::hlsl::Writer::new(&mut text, &options, &pipeline);
    let written = writer
        .write(module, info, None)
        .map_err(|e| format!("HLSL: {e}"))?;
    let entry_points: Result<Vec<_>, _> = written.entry_point_names.into_iter().collect();
    entry_points.map(drop).map_err(|e| format!("HLSL: {e}"))
}

#[test]
fn every_kernel_is_valid_everywhere_and_as_its_host_side_says() {
    let errors: Vec<_> = kernels()
        .flat_map(|kernel| check(kernel, kernel.source))
        .collect();
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}

/// Is the kernel wrong with `from` replaced by `to`, with `words` in the error?
#[track_caller]
fn assert_reported(kernel: &str, from: &str, to: &str, words: &str) {
    let kernel = kernels().find(|k| k.name == kernel).expect("the kernel");
    assert!(kernel.source.contains(from), "{from} is not in the source");
    let errors = check(kernel, &kernel.source.replace(from, to));
    assert!(errors.iter().any(|e| e.contains(words)), "{errors:?}");
}

#[test]
fn a_wrong_shader_is_reported() {
    assert_reported("tanh", "let i =", "let i", "expected");
    assert_reported("tanh", "let i =", "let i: f32 =", "type");
    assert_reported("tanh", "fn main", "fn tanh_main", "entry points");
    assert_reported(
        "tanh",
        "// y = tanh x",
        "const X = 1; // y = tanh x",
        "comment",
    );
    assert_reported(
        "tanh",
        "workgroup.y * workgroups.x",
        "workgroup.y",
        "number",
    );
    assert_reported(
        "tanh",
        "override WORKGROUP_SIZE",
        "const WORKGROUP_SIZE",
        "WORKGROUP_SIZE",
    );
    assert_reported(
        "matmul_128",
        "@workgroup_size(LANES)",
        "@workgroup_size(LANES, 2)",
        "512 invocations",
    );
    assert_reported(
        "matmul_128",
        "STAGED: u32 = 2u",
        "STAGED: u32 = 4u",
        "32768 bytes",
    );
}

#[test]
fn a_layout_unlike_the_hosts_is_reported() {
    let wrong = [
        ("sum_rows", "accumulate", "add"),
        ("rnn", "time_steps: u32", "time_steps: f32"),
        ("sum_rows", "cols: u32,", "cols: u32, more: u32,"),
        (
            "rnn",
            "first_step: u32,\n    steps",
            "steps: u32,\n    first_step",
        ),
        ("sgd", "binding(0)", "binding(5)"),
        ("sgd", "rate", "learning_rate"),
        (
            "sgd",
            "read> rate: array<f32>;\n@group(0) @binding(3) var<storage, read> norm:",
            "read> norm: array<f32>;\n@group(0) @binding(3) var<storage, read> rate:",
        ),
        ("sgd", "read> gradient", "read_write> gradient"),
    ];
    for (kernel, from, to) in wrong {
        assert_reported(kernel, from, to, "bindings are");
    }
    let (from, to) = ("group(0) @binding(1)", "group(1) @binding(1)");
    assert_reported("sgd", from, to, "in group 1");
    assert_reported("sgd", "rate[0] * ", "", "not used");
    let atomic = "var<workgroup> count: atomic<u32>; struct Params";
    assert_reported("tanh", "struct Params", atomic, "atomic");
}
