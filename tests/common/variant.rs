//! By which variant of an op a kernel runs.

use bptt::ops::gpu::variants;

/// The variant of `op` that runs `kernel`: itself or, where it is none, the first of them; kernels of
/// an op without variants run together, under its name.
pub fn variant_of(op: &'static str, kernel: &str) -> &'static str {
    let variants = variants(op);
    let own = variants.iter().find(|variant| variant.name == kernel);
    own.or(variants.first()).map_or(op, |variant| variant.name)
}
