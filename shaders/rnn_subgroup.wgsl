// h_t = tanh(z_t + h_{t−1}·Wh): one time step of the recurrence, in place. For CPU adapters whose subgroups have
// eight lanes, and for H that is a multiple of four.
//
// hidden is [T + 1, N, H]: slot 0 the initial state, slot t + 1 holds z of step t on entry and h on
// return. wh is [H, H]. One dispatch a time step: the next one sees what this one wrote.
//
// Work: a workgroup is one subgroup and computes one tile of h_t (subgroup_tile.wgsl); tiles are numbered along
// the columns first. Rows beyond the edge are clamped, columns beyond it read what follows; neither is stored.
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

// Of this lane, set up by `main`: the vec4s where its row of h_{t−1} begins in each block, and its columns of Wh.
var<private> h_places: vec4<u32>;
var<private> wh_place: u32;

fn left_rows(block: u32, k: u32) -> Rows {
    return rows_of_lanes(hidden[h_places[block] + k / 4u]);
}

fn right_columns(strip: u32, k: u32) -> Four {
    let across = params.hidden / 4u;
    let at = wh_place + strip * STRIP / 4u + k * across;
    return Four(wh[at], wh[at + across], wh[at + 2u * across], wh[at + 3u * across]);
}

fn store_rows(row: u32, column: u32, sums: Rows) {
    if column >= params.hidden {
        return;
    }
    let rows = min(BLOCK, params.batch - min(row, params.batch));
    for (var i = 0u; i < rows; i++) {
        let at = (((params.first_step + 1u) * params.batch + row + i) * params.hidden + column) / 4u;
        let z = hidden[at] + row_of(sums, i);
        hidden[at] = vec4(stable_tanh(z.x), stable_tanh(z.y), stable_tanh(z.z), stable_tanh(z.w));
    }
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
    let previous = params.first_step * params.batch;
    h_places = (previous + min(rows, vec4(params.batch - 1u))) * (params.hidden / 4u);
    wh_place = column / 4u;
    compute_tile(row, column, 0u, params.hidden);
}
