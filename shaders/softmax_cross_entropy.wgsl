// Softmax, its loss and its gradient, fused: for each row a of logits with label y,
//
//   losses[r] = log Σ_v exp a[v] − a[y]
//   a[v] ← (exp(a[v]) / Σ exp a − [v = y]) · scale          (in place, if gradient ≠ 0)
//
// The largest logit is subtracted first, so nothing overflows and no underflowed probability is
// taken the logarithm of.
//
// logits is [rows, vocab], the chunk's rows; labels and losses are indexed by row of the window,
// of which the chunk's first is first_row.
//
// Work: one workgroup a row, which sums it as softmax_row.wgsl says, in a fixed order.

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

fn weight(difference: f32) -> f32 {
    return exp(difference);
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
    let label = labels[params.first_row + row];

    let of_row = maximum_and_sum(start, params.vocab, lane);
    if lane == 0u {
        losses[params.first_row + row] = log(of_row.s) - (logits[start + label] - of_row.m);
    }
    if params.gradient == 0u {
        return;
    }
    // The loss reads the label's logit before its lane overwrites it.
    storageBarrier();
    workgroupBarrier();
    let factor = params.scale / of_row.s;
    for (var v = lane; v < params.vocab; v += WORKGROUP_SIZE) {
        let p = weight(logits[start + v] - of_row.m) * factor;
        logits[start + v] = select(p, p - params.scale, v == label);
    }
}
