// partials[first + w] = Σ x² over chunk w of a gradient: the first half of the global norm.
//
// x is [len]; each chunk is CHUNK elements, the last one what is left.
//
// Work: one workgroup a chunk; lane l takes elements l, l + WORKGROUP_SIZE, …; lanes are combined
// by workgroup_sum.wgsl: the order is fixed.

struct Params {
    len: u32,
    first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> partials: array<f32>;

override WORKGROUP_SIZE: u32 = 256u;
override CHUNK: u32 = 4096u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let chunk = workgroup.x + workgroup.y * workgroups.x;
    let end = min((chunk + 1u) * CHUNK, params.len);
    if chunk * CHUNK >= params.len {
        return;
    }
    var sum = 0.0;
    for (var i = chunk * CHUNK + lane; i < end; i += WORKGROUP_SIZE) {
        sum += x[i] * x[i];
    }
    let total = workgroup_sum(lane, sum);
    if lane == 0u {
        partials[params.first + chunk] = total;
    }
}
