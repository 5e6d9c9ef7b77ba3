// loss[0] = mean of losses, loss[1] += loss[0].
//
// losses is [rows]; loss[1] is a running sum that the host resets when it reads it.
//
// Work: one workgroup; lane l takes elements l, l + WORKGROUP_SIZE, …; lanes are combined by
// workgroup_sum.wgsl: the order is fixed.

struct Params {
    rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> losses: array<f32>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;

override WORKGROUP_SIZE: u32 = 256u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var r = lane; r < params.rows; r += WORKGROUP_SIZE) {
        sum += losses[r];
    }
    let total = workgroup_sum(lane, sum);
    if lane == 0u {
        let mean = total / f32(params.rows);
        loss[0] = mean;
        loss[1] += mean;
    }
}
