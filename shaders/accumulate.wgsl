// sum ← scale·g, or with accumulate = 1: sum ← sum + scale·g, as for a mean of gradients.
//
// sum and gradient are [len].
//
// Work: one lane four elements; what lies beyond the last is written back as it was.

struct Params {
    len: u32,
    scale: f32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> sum: array<vec4<f32>>;

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
        let before = select(vec4(0.0), sum[i], params.accumulate == 1u);
        sum[i] = select(sum[i], before + params.scale * gradient[i], inside);
    }
}
