// norm[0] = √ Σ partials, norm[1] = min(1, max_norm / norm[0]), or 1 where max_norm is 0: the
// second half of the global norm, and the factor that clips gradients to it.
//
// Work: one workgroup; lane l takes elements l, l + WORKGROUP_SIZE, …; lanes are combined by
// workgroup_sum.wgsl: the order is fixed.

struct Params {
    len: u32,
    max_norm: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read_write> norm: array<f32>;

override WORKGROUP_SIZE: u32 = 256u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < params.len; i += WORKGROUP_SIZE) {
        sum += partials[i];
    }
    let total = workgroup_sum(lane, sum);
    if lane == 0u {
        let length = sqrt(total);
        norm[0] = length;
        let clip = params.max_norm > 0.0 && length > params.max_norm;
        norm[1] = select(1.0, params.max_norm / length, clip);
    }
}
