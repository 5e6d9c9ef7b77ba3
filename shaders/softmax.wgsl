// probs[r, :] = softmax(logits[r, :] / temperature).
//
// logits and probs are [rows, vocab].
//
// Work: one workgroup a row, which sums it as softmax_row.wgsl says, in a fixed order.

struct Params {
    rows: u32,
    vocab: u32,
    inverse_temperature: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> probs: array<f32>;

override WORKGROUP_SIZE: u32 = 256u;

// exp of a difference of two logits at the given temperature.
fn weight(difference: f32) -> f32 {
    return exp(difference * params.inverse_temperature);
}

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

    let of_row = maximum_and_sum(start, params.vocab, lane);
    for (var v = lane; v < params.vocab; v += WORKGROUP_SIZE) {
        probs[start + v] = weight(logits[start + v] - of_row.m) / of_row.s;
    }
}
