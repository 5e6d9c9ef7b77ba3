// dz_t = (dh_t + dz_{t+1}·Whᵀ) ⊙ (1 − h_t²); one or more time steps of the recurrence's gradient, in place.
// For CPU adapters whose subgroups have eight lanes, and for H that is a multiple of four.
//
// grad is [T, N, H]: slot t holds dh of step t on entry and dz on return. hidden is [T + 1, N, H]
// with h of step t in slot t + 1. wh is [H, H]. The last step has no dz_{t+1}.
//
// Work: a workgroup is one subgroup. It computes one tile of dz_t (subgroup_tile.wgsl), or as a SEQUENCE, for small
// sizes, a row of tiles step by step, the last step first: rows do not depend on each other.
// What is beyond the edge is clamped and not stored.
// Each sum is taken in ascending k by one lane: the order is fixed.

struct Params {
    first_step: u32,
    steps: u32,
    time_steps: u32,
    batch: u32,
    hidden: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> hidden: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> wh: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> grad: array<vec4<f32>>;

// Whole rows of tiles, and one step before another? Else one tile of one step.
override SEQUENCE: bool = false;

// The time step t.
var<private> step: u32;
// Of this lane: the vec4s where its row of dz_{t+1} begins in each block, and in each half of its columns of Whᵀ,
// which are rows of Wh.
var<private> dz_places: vec4<u32>;
var<private> wh_places: array<vec4<u32>, 2>;

fn left_rows(block: u32, k: u32) -> Rows {
    return rows_of_lanes(grad[dz_places[block] + k / 4u]);
}

fn right_columns(k: u32) -> Columns {
    return Columns(columns_of_wh(wh_places[0] + k / 4u), columns_of_wh(wh_places[1] + k / 4u));
}

fn columns_of_wh(at: vec4<u32>) -> Four {
    return transposed(Four(wh[at.x], wh[at.y], wh[at.z], wh[at.w]));
}

fn store_rows(first_row: u32, column: u32, left: Rows, right: Rows) {
    let end = min(first_row + BLOCK, params.batch);
    for (var row = first_row; row < end; row++) {
        let at = ((step * params.batch + row) * params.hidden + column) / 4u;
        store4(at, column, row_of(left, row - first_row));
        store4(at + 1u, column + 4u, row_of(right, row - first_row));
    }
}

fn store4(at: u32, column: u32, sum: vec4<f32>) {
    if column < params.hidden {
        let h = hidden[at + params.batch * params.hidden / 4u];
        grad[at] = (grad[at] + sum) * (vec4(1.0) - h * h);
    }
}

fn rows_of_wh(column: u32) -> vec4<u32> {
    let rows = column + vec4(0u, 1u, 2u, 3u);
    return min(rows, vec4(params.hidden - 1u)) * (params.hidden / 4u);
}

fn compute_tile_of_step(place: vec2<u32>, lane: u32) {
    let rows = min(place.x + lane + vec4(0u, 1u, 2u, 3u) * BLOCK, vec4(params.batch - 1u));
    dz_places = ((step + 1u) * params.batch + rows) * (params.hidden / 4u);
    wh_places[0] = rows_of_wh(place.y);
    wh_places[1] = rows_of_wh(place.y + 4u);
    let has_next = step + 1u < params.time_steps;
    compute_tile(place.x, place.y, 0u, select(0u, params.hidden, has_next));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let number = params.first_workgroup + workgroup.x + workgroup.y * workgroups.x;
    let across = tiles_across(params.hidden);
    let tiles = select(1u, across, SEQUENCE);
    let first_tile = number * tiles;
    if first_tile / across * TILE_ROWS >= params.batch {
        return;
    }
    for (var i = 0u; i < params.steps; i++) {
        // The grid is flat: workgroup.z is 0. Of parameters alone Mesa 22 would take a step as a constant, and
        // compile the kernel anew for each.
        step = params.first_step - i + workgroup.z;
        for (var tile = first_tile; tile < first_tile + tiles; tile++) {
            compute_tile_of_step(place_of_tile(tile, params.hidden, lane), lane);
        }
        if SEQUENCE {
            storageBarrier();
        }
    }
}
