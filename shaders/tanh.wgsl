// y = tanh x, element by element.
//
// The built-in tanh overflows to NaN for large |x| on some GPUs and is off by percents near zero
// on others: this is Cephes' tanhf (S. Moshier), an odd polynomial for |x| < 0.625 and
// 1 − 2/(e^2|x| + 1) elsewhere, with |x| clamped to 15, where tanh has long rounded to 1.
//
// Work: one lane an element.

struct Params {
    len: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

override WORKGROUP_SIZE: u32 = 64u;

fn stable_tanh(x: f32) -> f32 {
    let s = x * x;
    var p = -5.70498872745e-3;
    p = p * s + 2.06390887954e-2;
    p = p * s - 5.37397155531e-2;
    p = p * s + 1.33314422036e-1;
    p = p * s - 3.33332819422e-1;
    let small = p * s * x + x;
    let a = min(abs(x), 15.0);
    let large = sign(x) * (1.0 - 2.0 / (exp(2.0 * a) + 1.0));
    return select(small, large, a >= 0.625);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP_SIZE + lane;
    if i < params.len {
        y[i] = stable_tanh(x[i]);
    }
}
