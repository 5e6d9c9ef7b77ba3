// Softmax, its loss and its gradient, fused: for each row a of logits with label y,
//
//   losses[r] = log Σ_v exp a[v] − a[y]
//   a[v] ← (exp(a[v]) / Σ exp a − [v = y]) · scale          (in place, if gradient ≠ 0)
//
// For CPU adapters: no barrier, no lane that waits for another. The largest logit is subtracted
// first, so nothing overflows and no underflowed probability is taken the logarithm of.
//
// logits is [rows, vocab], the chunk's rows; labels and losses are indexed by row of the window,
// of which the chunk's first is first_row.
//
// Work: one lane a row. Its exponentials are summed in ascending v, BLOCK at a time, and the sums
// of blocks in ascending order: the order is fixed, and errors stay small for long rows.

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

override WORKGROUP_SIZE: u32 = 16u;
override BLOCK: u32 = 64u;
const LOWEST: f32 = -3.4e38; // less than any logit

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP_SIZE + lane;
    if row >= params.rows {
        return;
    }
    let start = row * params.vocab;
    let end = start + params.vocab;
    let label = start + labels[params.first_row + row];

    var m = LOWEST;
    for (var i = start; i < end; i++) {
        m = max(m, logits[i]);
    }
    let target_distance = logits[label] - m;
    // exp(a − m) waits for its factor where the gradient will be.
    var s = 0.0;
    for (var block = start; block < end; block += BLOCK) {
        let block_end = min(block + BLOCK, end);
        var block_sum = 0.0;
        for (var i = block; i < block_end; i++) {
            let e = exp(logits[i] - m);
            block_sum += e;
            if params.gradient != 0u {
                logits[i] = e;
            }
        }
        s += block_sum;
    }
    losses[params.first_row + row] = log(s) - target_distance;
    if params.gradient == 0u {
        return;
    }
    let factor = params.scale / s;
    for (var i = start; i < end; i++) {
        logits[i] *= factor;
    }
    logits[label] -= params.scale;
}
