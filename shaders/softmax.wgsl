// probs[r, :] = softmax(logits[r, :] / temperature).
//
// logits and probs are [rows, vocab]. The maximum m and the sum of exp((a − m) / temperature) come
// from one pass over the row (Milakov and Gimelshein 2018).
//
// Work: one workgroup a row; lane l takes elements l, l + WORKGROUP_SIZE, …; lanes are combined
// by a tree over workgroup memory: the order is fixed.

struct Params {
    rows: u32,
    vocab: u32,
    inverse_temperature: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> probs: array<f32>;

override WORKGROUP_SIZE: u32 = 256u;
const LOWEST: f32 = -3.4e38; // less than any logit

var<workgroup> maxima: array<f32, WORKGROUP_SIZE>;
var<workgroup> sums: array<f32, WORKGROUP_SIZE>;

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

    var m = LOWEST;
    var s = 0.0;
    for (var v = lane; v < params.vocab; v += WORKGROUP_SIZE) {
        let a = logits[start + v];
        let new_m = max(m, a);
        s = s * weight(m - new_m) + weight(a - new_m);
        m = new_m;
    }
    maxima[lane] = m;
    sums[lane] = s;
    workgroupBarrier();
    for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
        if lane < half {
            let other_m = maxima[lane + half];
            let new_m = max(m, other_m);
            s = s * weight(m - new_m) + sums[lane + half] * weight(other_m - new_m);
            m = new_m;
            maxima[lane] = m;
            sums[lane] = s;
        }
        workgroupBarrier();
    }
    m = maxima[0];
    s = sums[0];
    for (var v = lane; v < params.vocab; v += WORKGROUP_SIZE) {
        probs[start + v] = weight(logits[start + v] - m) / s;
    }
}
