// Softmax, its loss and its gradient, fused: for each row a of logits with label y,
//
//   losses[r] = log Σ_v exp a[v] − a[y]
//   a[v] ← (exp(a[v]) / Σ exp a − [v = y]) · scale          (in place, if gradient ≠ 0)
//
// For CPU adapters: no barrier, no lane that waits for another, and four logits a load, which costs a loop
// over the lanes on lavapipe, whatever its width. The largest logit is subtracted first, so nothing overflows
// and no underflowed probability is taken the logarithm of.
//
// logits is [rows, vocab], the chunk's rows; labels and losses are indexed by row of the window,
// of which the chunk's first is first_row.
//
// Work: one lane a row. Its exponentials are summed in ascending v, every fourth one by itself, BLOCK at a
// time, and the sums of blocks in ascending order: the order is fixed, wherever the row lies, and errors stay
// small for long rows. The exponentials are computed twice, which takes less than to keep them.
// Rows beside each other may share a vec4: what is of another row is not used, and elements of the row in
// such a vec4 are stored one by one. WGSL lets that touch the whole vec4, and a Metal compiler may do so; in
// SPIR-V and HLSL naga stores a single element. No adapter that computes on the CPU is Metal's.

struct Params {
    first_row: u32,
    rows: u32,
    vocab: u32,
    gradient: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> logits: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;

override WORKGROUP_SIZE: u32 = 8u;
override BLOCK: u32 = 64u; // a multiple of four
const LOWEST: f32 = -3.4e38; // less than any logit

// Of the elements x from `first` on, those before `end`; `nothing` in the place of the others.
fn before_end(x: vec4<f32>, first: u32, end: u32, nothing: f32) -> vec4<f32> {
    return select(vec4(nothing), x, first + vec4(0u, 1u, 2u, 3u) < vec4(end));
}

fn maximum(start: u32, end: u32) -> f32 {
    var maxima = vec4(LOWEST);
    // The first vec4 may begin before the row.
    for (var at = start / 4u; at * 4u < end; at++) {
        let first = at * 4u;
        let of_row = select(vec4(LOWEST), logits[at], first + vec4(0u, 1u, 2u, 3u) >= vec4(start));
        maxima = max(maxima, before_end(of_row, first, end, LOWEST));
    }
    return max(max(maxima.x, maxima.y), max(maxima.z, maxima.w));
}

fn sum_of_exp(start: u32, m: f32) -> f32 {
    var sums = vec4<f32>();
    var low = logits[start / 4u];
    for (var block = 0u; block < params.vocab; block += BLOCK) {
        let block_end = min(block + BLOCK, params.vocab);
        var block_sums = vec4<f32>();
        for (var v = block; v < block_end; v += 4u) {
            let high = logits[(start + v) / 4u + 1u];
            let a = shifted(low, high, start % 4u);
            low = high;
            block_sums += before_end(exp(a - m), v, block_end, 0.0);
        }
        sums += block_sums;
    }
    return (sums.x + sums.y) + (sums.z + sums.w);
}

fn store_one(place: u32, m: f32, factor: f32) {
    logits[place / 4u][place % 4u] = exp(logits[place / 4u][place % 4u] - m) * factor;
}

fn store_probabilities(start: u32, end: u32, m: f32, factor: f32) {
    let first_whole = min((start + 3u) / 4u * 4u, end);
    let end_whole = max(end / 4u * 4u, first_whole);
    for (var place = start; place < first_whole; place++) {
        store_one(place, m, factor);
    }
    for (var at = first_whole / 4u; at * 4u + 4u <= end_whole; at++) {
        logits[at] = exp(logits[at] - m) * factor;
    }
    for (var place = end_whole; place < end; place++) {
        store_one(place, m, factor);
    }
}

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

    let m = maximum(start, end);
    let s = sum_of_exp(start, m);
    losses[params.first_row + row] = log(s) - (logits[label / 4u][label % 4u] - m);
    if params.gradient == 0u {
        return;
    }
    store_probabilities(start, end, m, params.scale / s);
    logits[label / 4u][label % 4u] -= params.scale;
}
