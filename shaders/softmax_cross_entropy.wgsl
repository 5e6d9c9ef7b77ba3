// Softmax, its loss and its gradient, fused: for each row a of logits with label y,
//
//   losses[r] = log Σ_v exp a[v] − a[y]
//   a[v] ← (exp(a[v]) / Σ exp a − [v = y]) · scale          (in place, if gradient ≠ 0)
//
// The largest logit is subtracted first, so nothing overflows and no underflowed probability is
// taken the logarithm of. The maximum m and the sum s of exp(a − m) come from one pass over the
// row (Milakov and Gimelshein 2018, Online normalizer calculation for softmax).
//
// logits is [rows, vocab], the chunk's rows; labels and losses are indexed by row of the window,
// of which the chunk's first is first_row.
//
// Work: one workgroup a row; lane l takes elements l, l + WORKGROUP_SIZE, …; lanes are combined
// by a tree over workgroup memory: the order is fixed, whatever the subgroup size.

struct Params {
    first_row: u32,
    rows: u32,
    vocab: u32,
    gradient: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> logits: array<f32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;

override WORKGROUP_SIZE: u32 = 256u;
const LOWEST: f32 = -3.4e38; // less than any logit

var<workgroup> maxima: array<f32, WORKGROUP_SIZE>;
var<workgroup> sums: array<f32, WORKGROUP_SIZE>;

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
    let label = labels[params.first_row + row];

    var m = LOWEST;
    var s = 0.0;
    for (var v = lane; v < params.vocab; v += WORKGROUP_SIZE) {
        let a = logits[start + v];
        let new_m = max(m, a);
        s = s * exp(m - new_m) + exp(a - new_m);
        m = new_m;
    }
    maxima[lane] = m;
    sums[lane] = s;
    workgroupBarrier();
    for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
        if lane < half {
            let other_m = maxima[lane + half];
            let new_m = max(m, other_m);
            s = s * exp(m - new_m) + sums[lane + half] * exp(other_m - new_m);
            m = new_m;
            maxima[lane] = m;
            sums[lane] = s;
        }
        workgroupBarrier();
    }
    m = maxima[0];
    s = sums[0];
    if lane == 0u {
        losses[params.first_row + row] = log(s) - (logits[start + label] - m);
    }
    if params.gradient == 0u {
        return;
    }
    // The loss reads the label's logit before its lane overwrites it.
    storageBarrier();
    workgroupBarrier();
    let factor = params.scale / s;
    for (var v = lane; v < params.vocab; v += WORKGROUP_SIZE) {
        let p = exp(logits[start + v] - m) * factor;
        logits[start + v] = select(p, p - params.scale, v == label);
    }
}
