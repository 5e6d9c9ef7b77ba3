// tokens[r] = the id of a token drawn from row r: the first kept id v, in ascending order, with
//
//   Σ_{i ≤ v} w[i] > uniforms[r] · Σ w,   w[i] = exp((a[i] − max a) / temperature),
//
// sums over the kept ids. Kept are the top_k first in rank, by logit and then by lower id; of them
// the first in rank that w adds up to top_p of its sum for.
//
// logits is [rows, vocab], uniforms and tokens are [rows].
//
// What is kept is found without sorting. f32 numbers are ordered as their bits are, once those of
// negative numbers are flipped (`key`): the threshold is the greatest key that enough is at or
// above of, found two bits at a time from the highest on. Ids at the threshold itself are kept from
// the lowest on, as many as are still wanted.
//
// Work: one workgroup a row. Thresholds: lane l takes ids l, l + WORKGROUP_SIZE, …. Where the order
// of ids matters it takes a block of them, and blocks are summed in ascending order. All orders are
// fixed. Counts are f32 too: they stay below 2²⁴, so they are exact.

struct Params {
    rows: u32,
    vocab: u32,
    top_k: u32,
    top_p: f32,
    inverse_temperature: f32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> uniforms: array<f32>;
@group(0) @binding(3) var<storage, read_write> tokens: array<f32>;

override WORKGROUP_SIZE: u32 = 256u;
const GROUPS: u32 = 16u; // of lanes, in a sum over them
const LOWEST: f32 = -3.4e38; // less than any logit
const SIGN: u32 = 0x80000000u;

var<workgroup> partials: array<vec3<f32>, WORKGROUP_SIZE>;
var<workgroup> group_sums: array<vec3<f32>, GROUPS>;
var<workgroup> last_at_threshold: u32;

// Kept are the ids with a key above the threshold, and with that key up to `last`.
var<private> threshold: u32;
var<private> last: u32;
var<private> largest: f32;
var<private> row_start: u32;

fn key(id: u32) -> u32 {
    let bits = bitcast<u32>(logits[row_start + id]);
    return select(bits ^ SIGN, ~bits, bits >= SIGN);
}

fn logit_of(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key ^ SIGN, key >= SIGN));
}

fn weight(logit: f32) -> f32 {
    return exp((logit - largest) * params.inverse_temperature);
}

fn is_kept(id: u32) -> bool {
    let k = key(id);
    return k > threshold || (k == threshold && id <= last);
}

// What an id adds: its weight, or one where ids are counted.
fn amount(logit: f32, by_weight: bool) -> f32 {
    return select(1.0, weight(logit), by_weight);
}

fn sum_over_lanes(lane: u32, x: vec3<f32>) -> vec3<f32> {
    partials[lane] = x;
    workgroupBarrier();
    let group_size = WORKGROUP_SIZE / GROUPS;
    if lane < GROUPS {
        var sum = vec3<f32>(0.0);
        for (var i = 0u; i < group_size; i++) {
            sum += partials[lane * group_size + i];
        }
        group_sums[lane] = sum;
    }
    workgroupBarrier();
    var total = vec3<f32>(0.0);
    for (var i = 0u; i < GROUPS; i++) {
        total += group_sums[i];
    }
    return total;
}

fn max_over_lanes(lane: u32, x: f32) -> f32 {
    partials[lane].x = x;
    workgroupBarrier();
    for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
        if lane < half {
            partials[lane].x = max(partials[lane].x, partials[lane + half].x);
        }
        workgroupBarrier();
    }
    let largest_of_all = partials[0].x;
    workgroupBarrier();
    return largest_of_all;
}

// Keeps, of the ids kept so far, the first in rank that the amounts before are less than `wanted`.
fn narrow(lane: u32, by_weight: bool, wanted: f32) {
    var found = 0u;
    var above = 0.0; // the amount with a greater key than `found`
    for (var digit = 0u; digit < 16u; digit++) {
        let shift = 30u - 2u * digit;
        let candidates = vec3<u32>(found) + (vec3<u32>(1u, 2u, 3u) << vec3<u32>(shift));
        var sums = vec3<f32>(0.0);
        for (var id = lane; id < params.vocab; id += WORKGROUP_SIZE) {
            let added = select(0.0, amount(logits[row_start + id], by_weight), is_kept(id));
            sums += select(vec3<f32>(0.0), vec3<f32>(added), vec3<u32>(key(id)) >= candidates);
        }
        let totals = sum_over_lanes(lane, sums);
        let enough = (totals >= vec3<f32>(wanted)) & (totals > vec3<f32>(0.0));
        if enough.z {
            found = candidates.z;
        } else if enough.y {
            found = candidates.y;
            above = totals.z;
        } else if enough.x {
            found = candidates.x;
            above = totals.y;
        } else {
            above = totals.x;
        }
    }
    let missing = wanted - above;
    let each = amount(logit_of(found), by_weight);
    // A division need not be exact, which a count must be.
    let at_threshold = max(1.0, select(missing, ceil(missing / each), by_weight));
    cut(lane, found, at_threshold);
}

// Keeps what is above the key `found`, and `count` of the ids that have it.
fn cut(lane: u32, found: u32, count: f32) {
    let block = (params.vocab + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
    let first = min(lane * block, params.vocab);
    let end = min(first + block, params.vocab);
    var in_block = 0.0;
    for (var id = first; id < end; id++) {
        in_block += select(0.0, 1.0, key(id) == found && is_kept(id));
    }
    partials[lane].x = in_block;
    if lane == 0u {
        last_at_threshold = params.vocab;
    }
    workgroupBarrier();
    var number = 0.0;
    for (var i = 0u; i < lane; i++) {
        number += partials[i].x;
    }
    for (var id = first; id < end; id++) {
        if key(id) == found && is_kept(id) {
            number += 1.0;
            if number == count {
                last_at_threshold = id;
            }
        }
    }
    workgroupBarrier();
    threshold = found;
    last = last_at_threshold;
}

// The kept id that the distribution function reaches at `uniform`; one lane writes it.
fn draw(lane: u32, row: u32) {
    let block = (params.vocab + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
    let first = min(lane * block, params.vocab);
    let end = min(first + block, params.vocab);
    var in_block = 0.0;
    for (var id = first; id < end; id++) {
        in_block += select(0.0, weight(logits[row_start + id]), is_kept(id));
    }
    partials[lane].x = in_block;
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < WORKGROUP_SIZE; i++) {
        total += partials[i].x;
    }
    let goal = uniforms[row] * total;
    // Every lane finds the same one: the last that begins at the goal or before.
    var chosen_lane = 0u;
    var before = 0.0;
    var sum = 0.0;
    for (var i = 0u; i < WORKGROUP_SIZE; i++) {
        if sum <= goal && partials[i].x > 0.0 {
            chosen_lane = i;
            before = sum;
        }
        sum += partials[i].x;
    }
    if lane != chosen_lane {
        return;
    }
    var chosen = 0u;
    var within = 0.0;
    for (var id = first; id < end && before + within <= goal; id++) {
        let w = select(0.0, weight(logits[row_start + id]), is_kept(id));
        if w > 0.0 {
            chosen = id;
            within += w;
        }
    }
    tokens[row] = f32(chosen);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = params.first_workgroup + workgroup.x + workgroup.y * workgroups.x;
    if row >= params.rows {
        return;
    }
    row_start = row * params.vocab;
    threshold = 0u;
    last = params.vocab;
    var m = LOWEST;
    for (var id = lane; id < params.vocab; id += WORKGROUP_SIZE) {
        m = max(m, logits[row_start + id]);
    }
    largest = max_over_lanes(lane, m);
    if params.top_k < params.vocab {
        narrow(lane, false, f32(params.top_k));
    }
    if params.top_p < 1.0 {
        var sum = 0.0;
        for (var id = lane; id < params.vocab; id += WORKGROUP_SIZE) {
            sum += select(0.0, weight(logits[row_start + id]), is_kept(id));
        }
        let total = sum_over_lanes(lane, vec3<f32>(sum)).x;
        narrow(lane, true, params.top_p * total);
    }
    draw(lane, row);
}
