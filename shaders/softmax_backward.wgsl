// da = p ⊙ (dp − Σ_v p[v]·dp[v]), row by row: the gradient through a softmax.
//
// probs, dprobs and dlogits are [rows, vocab].
//
// Work: one workgroup a row; lane l takes elements l, l + WORKGROUP_SIZE, …; lanes are combined
// by workgroup_sum.wgsl: the order is fixed.

struct Params {
    rows: u32,
    vocab: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> probs: array<f32>;
@group(0) @binding(2) var<storage, read> dprobs: array<f32>;
@group(0) @binding(3) var<storage, read_write> dlogits: array<f32>;

override WORKGROUP_SIZE: u32 = 256u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = workgroup.x + workgroup.y * workgroups.x;
    if row >= params.rows {
        return;
    }
    let start = row * params.vocab;
    var sum = 0.0;
    for (var v = lane; v < params.vocab; v += WORKGROUP_SIZE) {
        sum += probs[start + v] * dprobs[start + v];
    }
    let dot = workgroup_sum(lane, sum);
    for (var v = lane; v < params.vocab; v += WORKGROUP_SIZE) {
        dlogits[start + v] = probs[start + v] * (dprobs[start + v] - dot);
    }
}
