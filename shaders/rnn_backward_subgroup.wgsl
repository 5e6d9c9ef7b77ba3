// dz_t = (dh_t + dz_{t+1}·Whᵀ) ⊙ (1 − h_t²): one time step of the recurrence's gradient, in place.
// For CPU adapters whose subgroups have eight lanes, and for H that is a multiple of four.
//
// grad is [T, N, H]: slot t holds dh of step t on entry and dz on return. hidden is [T + 1, N, H]
// with h of step t in slot t + 1. wh is [H, H]. One dispatch a time step, the last step first;
// for the last there is no dz_{t+1}.
//
// Work: a workgroup is one subgroup and computes one tile of dz_t (subgroup_tile.wgsl); tiles are numbered along
// the columns first. What is beyond the edge is clamped and not stored.
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

// Of this lane, set up by `main`: the vec4s where its row of dz_{t+1} begins in each block, and in each strip its
// columns of Whᵀ, which are rows of Wh.
var<private> dz_places: vec4<u32>;
var<private> wh_places: array<vec4<u32>, 2>;

fn left_rows(block: u32, k: u32) -> Rows {
    return rows_of_lanes(grad[dz_places[block] + k / 4u]);
}

fn right_columns(strip: u32, k: u32) -> Four {
    let at = wh_places[strip] + k / 4u;
    return transposed(Four(wh[at.x], wh[at.y], wh[at.z], wh[at.w]));
}

fn store_rows(row: u32, column: u32, sums: Rows) {
    if column >= params.hidden {
        return;
    }
    let slot = params.batch * params.hidden / 4u;
    let rows = min(BLOCK, params.batch - min(row, params.batch));
    for (var i = 0u; i < rows; i++) {
        let at = params.first_step * slot + ((row + i) * params.hidden + column) / 4u;
        let h = hidden[at + slot];
        grad[at] = (grad[at] + row_of(sums, i)) * (vec4(1.0) - h * h);
    }
}

fn rows_of_wh(column: u32) -> vec4<u32> {
    let rows = vec4(column, column + 1u, column + 2u, column + 3u);
    return min(rows, vec4(params.hidden - 1u)) * (params.hidden / 4u);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let tile = params.first_workgroup + workgroup.x + workgroup.y * workgroups.x;
    let tiles_across = (params.hidden + TILE_COLUMNS - 1u) / TILE_COLUMNS;
    let row = tile / tiles_across * TILE_ROWS;
    let column = tile % tiles_across * TILE_COLUMNS + lane * 4u;
    if row >= params.batch {
        return;
    }
    let rows = row + lane + vec4(0u, 1u, 2u, 3u) * BLOCK;
    let next = (params.first_step + 1u) * params.batch;
    dz_places = (next + min(rows, vec4(params.batch - 1u))) * (params.hidden / 4u);
    wh_places[0] = rows_of_wh(column);
    wh_places[1] = rows_of_wh(column + STRIP);
    let has_next = params.first_step + 1u < params.time_steps;
    compute_tile(row, column, 0u, select(0u, params.hidden, has_next));
}
