// Stochastic gradient descent with momentum, on a clipped gradient (I. Sutskever et al. 2013, in
// PyTorch's form):
//
//     g' = norm[1]·g + weight_decay·w, v ← momentum·v + g'
//     w ← w − rate[0]·v, or with nesterov = 1: w ← w − rate[0]·(g' + momentum·v)
//
// weights, velocity and gradient are [len]; norm[1] is the clipping factor of the global norm.
//
// Work: one lane four elements; what lies beyond the last is written back as it was.

struct Params {
    len: u32,
    momentum: f32,
    weight_decay: f32,
    nesterov: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> rate: array<f32>;
@group(0) @binding(3) var<storage, read> norm: array<f32>;
@group(0) @binding(4) var<storage, read_write> velocity: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> weights: array<vec4<f32>>;

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
        let g = norm[1] * gradient[i] + params.weight_decay * w;
        let v = params.momentum * velocity[i] + g;
        let direction = select(v, g + params.momentum * v, params.nesterov == 1u);
        velocity[i] = select(velocity[i], v, inside);
        weights[i] = select(w, w - rate[0] * direction, inside);
    }
}
