// h_t = tanh(z_t + h_{t−1}·Wh): one or more time steps of the recurrence, in place. For CPU adapters whose
// subgroups have eight lanes, and for H that is a multiple of four.
//
// hidden is [T + 1, N, H]: slot 0 the initial state, slot t + 1 holds z of step t on entry and h on
// return. wh is [H, H].
//
// Work: a workgroup is one subgroup. It computes one tile of h_t (subgroup_tile.wgsl), or as a SEQUENCE, for small
// sizes, a row of tiles step by step: rows do not depend on each other.
// Rows beyond the edge are clamped, columns beyond it read what follows; neither is stored.
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
@group(0) @binding(1) var<storage, read> wh: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> hidden: array<vec4<f32>>;

// Whole rows of tiles, and one step after another? Else one tile of one step.
override SEQUENCE: bool = false;

// The time step t.
var<private> step: u32;
// Of this lane: the vec4s where its row of h_{t−1} begins in each block, and its columns of Wh.
var<private> h_places: vec4<u32>;
var<private> wh_place: u32;

fn left_rows(block: u32, k: u32) -> Rows {
    return rows_of_lanes(hidden[h_places[block] + k / 4u]);
}

fn right_columns(k: u32) -> Columns {
    let rows = wh_place + (k + vec4(0u, 1u, 2u, 3u)) * (params.hidden / 4u);
    return Columns(vec4s_of_wh(rows), vec4s_of_wh(rows + 1u));
}

fn vec4s_of_wh(at: vec4<u32>) -> Four {
    return Four(wh[at.x], wh[at.y], wh[at.z], wh[at.w]);
}

fn store_rows(first_row: u32, column: u32, left: Rows, right: Rows) {
    let end = min(first_row + BLOCK, params.batch);
    for (var row = first_row; row < end; row++) {
        let at = (((step + 1u) * params.batch + row) * params.hidden + column) / 4u;
        store4(at, column, row_of(left, row - first_row));
        store4(at + 1u, column + 4u, row_of(right, row - first_row));
    }
}

fn store4(at: u32, column: u32, sum: vec4<f32>) {
    if column < params.hidden {
        let z = hidden[at] + sum;
        hidden[at] = vec4(stable_tanh(z.x), stable_tanh(z.y), stable_tanh(z.z), stable_tanh(z.w));
    }
}

fn compute_tile_of_step(place: vec2<u32>, lane: u32) {
    let rows = min(place.x + lane + vec4(0u, 1u, 2u, 3u) * BLOCK, vec4(params.batch - 1u));
    h_places = (step * params.batch + rows) * (params.hidden / 4u);
    wh_place = place.y / 4u;
    compute_tile(place.x, place.y, 0u, params.hidden);
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
        step = params.first_step + i;
        for (var tile = first_tile; tile < first_tile + tiles; tile++) {
            compute_tile_of_step(place_of_tile(tile, params.hidden, lane), lane);
        }
        if SEQUENCE {
            storageBarrier();
        }
    }
}
