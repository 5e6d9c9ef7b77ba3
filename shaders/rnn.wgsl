// h_t = tanh(z_t + h_{t−1}·Wh): one time step of the recurrence, in place.
//
// hidden is [T + 1, N, H]: slot 0 the initial state, slot t + 1 holds z of step t on entry and h on
// return. wh is [H, H]. One dispatch a time step: the next one sees what this one wrote.
//
// Work: one lane computes 4 rows by 4 columns of h_t in four named accumulators; tiles are numbered
// along the columns first. Loads beyond the edge are clamped and their results not stored.
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
@group(0) @binding(1) var<storage, read> wh: array<f32>;
@group(0) @binding(2) var<storage, read_write> hidden: array<f32>;

const TILE: u32 = 4u; // rows and columns of a lane's tile
override WORKGROUP_SIZE: u32 = 64u;

fn store(row: u32, column: u32, sums: vec4<f32>) {
    if row >= params.batch {
        return;
    }
    let step = params.batch * params.hidden;
    for (var i = 0u; i < TILE; i++) {
        let j = column + i;
        if j < params.hidden {
            let at = (params.first_step + 1u) * step + row * params.hidden + j;
            hidden[at] = stable_tanh(hidden[at] + sums[i]);
        }
    }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params.hidden;
    let tiles_across = (size + TILE - 1u) / TILE;
    let tile = (params.first_workgroup + workgroup.x + workgroup.y * workgroups.x) * WORKGROUP_SIZE + lane;
    let row = (tile / tiles_across) * TILE;
    let column = (tile % tiles_across) * TILE;
    if row >= params.batch {
        return;
    }
    let last_row = params.batch - 1u;
    let last_column = size - 1u;
    // h_{t−1} and Wh: rows of the one meet columns of the other.
    let previous = params.first_step * params.batch * size;
    var x0 = previous + min(row, last_row) * size;
    var x1 = previous + min(row + 1u, last_row) * size;
    var x2 = previous + min(row + 2u, last_row) * size;
    var x3 = previous + min(row + 3u, last_row) * size;
    var w0 = min(column, last_column);
    var w1 = min(column + 1u, last_column);
    var w2 = min(column + 2u, last_column);
    var w3 = min(column + 3u, last_column);
    var sum0 = vec4<f32>();
    var sum1 = vec4<f32>();
    var sum2 = vec4<f32>();
    var sum3 = vec4<f32>();
    for (var k = 0u; k < size; k++) {
        let w = vec4(wh[w0], wh[w1], wh[w2], wh[w3]);
        sum0 = fma(vec4(hidden[x0]), w, sum0);
        sum1 = fma(vec4(hidden[x1]), w, sum1);
        sum2 = fma(vec4(hidden[x2]), w, sum2);
        sum3 = fma(vec4(hidden[x3]), w, sum3);
        x0 += 1u;
        x1 += 1u;
        x2 += 1u;
        x3 += 1u;
        w0 += size;
        w1 += size;
        w2 += size;
        w3 += size;
    }
    store(row, column, sum0);
    store(row + 1u, column, sum1);
    store(row + 2u, column, sum2);
    store(row + 3u, column, sum3);
}
