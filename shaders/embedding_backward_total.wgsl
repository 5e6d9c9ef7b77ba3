// dtable[v, :] = Σ partials[s, :] over the segments s of token v; 0 where there is none: the second of
// two levels.
//
// The segments of token v are of_token[v] .. of_token[v + 1].
// partials is [segments, dim], of_token [V + 1], dtable [V, dim].
//
// Work: one lane an element of dtable, which sums in ascending s: the order is fixed.

struct Params {
    vocab: u32,
    dim: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read> of_token: array<u32>;
@group(0) @binding(3) var<storage, read_write> dtable: array<f32>;

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP_SIZE + lane;
    if i >= params.vocab * params.dim {
        return;
    }
    let token = i / params.dim;
    let column = i % params.dim;
    let end = of_token[token + 1u];
    var sum = 0.0;
    for (var segment = of_token[token]; segment < end; segment++) {
        sum += partials[segment * params.dim + column];
    }
    dtable[i] = sum;
}
