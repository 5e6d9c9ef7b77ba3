// w ← w − rate[0]·norm[1]·g: stochastic gradient descent on a clipped gradient.
//
// weights and gradient are [len]; norm[1] is the clipping factor of the global norm.
//
// Work: one lane four elements; what lies beyond the last is written back as it was.

struct Params {
    len: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> rate: array<f32>;
@group(0) @binding(3) var<storage, read> norm: array<f32>;
@group(0) @binding(4) var<storage, read_write> weights: array<vec4<f32>>;

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP_SIZE + lane;
    // Not in the `if`: lavapipe loads once what all lanes read, but not with lanes masked.
    let factor = rate[0] * norm[1];
    if 4u * i < params.len {
        let inside = 4u * i + vec4(0u, 1u, 2u, 3u) < vec4(params.len);
        let w = weights[i];
        weights[i] = select(w, w - factor * gradient[i], inside);
    }
}
