// Adam on a clipped gradient (D. Kingma, J. Ba 2015), with weight decay as a part of the gradient
// (l2) or apart from it (AdamW: I. Loshchilov, F. Hutter 2019):
//
//     g' = norm[1]·g + l2·w
//     first ← first + (1 − β₁)·(g' − first), second ← second + (1 − β₂)·(g'² − second)
//     w ← w − rate[0]·weight_decay·w − rate[1]·first / (√second·rate[2] + eps)
//
// rate is the learning rate, the rate over first's bias correction, and one over the root of
// second's: [η, η/(1 − β₁ᵗ), 1/√(1 − β₂ᵗ)] at step t. first, second, weights and gradient are
// [len]; norm[1] is the clipping factor of the global norm. 1 − β is a parameter, because β itself
// loses digits next to 1. A second moment never gets below 0: rounding is monotonic.
//
// Work: one lane four elements; what lies beyond the last is written back as it was.

struct Params {
    len: u32,
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    eps: f32,
    l2: f32,
    weight_decay: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> rate: array<f32>;
@group(0) @binding(3) var<storage, read> norm: array<f32>;
@group(0) @binding(4) var<storage, read_write> first: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> second: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> weights: array<vec4<f32>>;

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP_SIZE + lane;
    if 4u * i < params.len {
        let inside = 4u * i + vec4(0u, 1u, 2u, 3u) < vec4(params.len);
        let w = weights[i];
        let g = norm[1] * gradient[i] + params.l2 * w;
        let m = first[i] + params.one_minus_beta1 * (g - first[i]);
        let v = second[i] + params.one_minus_beta2 * (g * g - second[i]);
        let decayed = w - rate[0] * params.weight_decay * w;
        let updated = decayed - rate[1] * (m / (sqrt(v) * rate[2] + params.eps));
        first[i] = select(first[i], m, inside);
        second[i] = select(second[i], v, inside);
        weights[i] = select(w, updated, inside);
    }
}
