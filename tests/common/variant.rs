//! By which variant of an op a kernel runs.

use bptt::ops::gpu::variants;

/// The variant of `op` that runs `kernel`: itself or, where it is none, the first that is by vec4s if
/// the kernel is; kernels of an op without variants run together, under its name.
pub fn variant_of(op: &'static str, kernel: &str) -> &'static str {
    let by_vec4s = |name: &str| name.ends_with("_vec4");
    let variants = variants(op);
    let own = variants.iter().find(|variant| variant.name == kernel);
    let like = variants
        .iter()
        .find(|variant| by_vec4s(variant.name) == by_vec4s(kernel));
    own.or(like).map_or(op, |variant| variant.name)
}
