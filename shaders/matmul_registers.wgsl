// C = op(A)·op(B) + bias (+ C), for each matrix of a batch. For CPU adapters: no barrier.
//
//   c[i, j] = Σ_k a[i, k]·b[k, j] + bias[j] (+ c[i, j])
//
// op(A) is [m, k], op(B) is [k, n], C is [m, n] row-major; strides express transposition.
//
// Work: one lane computes an 8×8 tile of C in sixteen named accumulators (an indexed array would
// stay in memory on lavapipe); tiles are numbered along n first, then m, then the batch. Loads
// beyond the edge are clamped to the last row or column, and their results are not stored.
// Each c is summed in ascending k by one lane: the order is fixed.

struct Params {
    m: u32,
    n: u32,
    k: u32,
    batch: u32,
    a_offset: u32,
    a_row: u32,
    a_col: u32,
    a_batch: u32,
    b_offset: u32,
    b_row: u32,
    b_col: u32,
    b_batch: u32,
    c_offset: u32,
    c_batch: u32,
    has_bias: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> c: array<f32>;

const TILE: u32 = 8u; // rows and columns of a lane's tile of C
override WORKGROUP_SIZE: u32 = 64u;

fn store(row: u32, column: u32, base: u32, values: vec4<f32>) {
    if row >= params.m {
        return;
    }
    for (var i = 0u; i < 4u; i++) {
        let j = column + i;
        if j < params.n {
            let at = base + row * params.n + j;
            var value = values[i];
            if params.has_bias != 0u {
                value += bias[j];
            }
            if params.accumulate != 0u {
                value += c[at];
            }
            c[at] = value;
        }
    }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles_n = (params.n + TILE - 1u) / TILE;
    let tiles_m = (params.m + TILE - 1u) / TILE;
    let tile = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP_SIZE + lane;
    let matrix = tile / (tiles_n * tiles_m);
    if matrix >= params.batch {
        return;
    }
    let row = (tile / tiles_n % tiles_m) * TILE;
    let column = (tile % tiles_n) * TILE;
    let last_row = params.m - 1u;
    let last_column = params.n - 1u;
    let a_base = params.a_offset + matrix * params.a_batch;
    let b_base = params.b_offset + matrix * params.b_batch;
    var a0 = a_base + min(row, last_row) * params.a_row;
    var a1 = a_base + min(row + 1u, last_row) * params.a_row;
    var a2 = a_base + min(row + 2u, last_row) * params.a_row;
    var a3 = a_base + min(row + 3u, last_row) * params.a_row;
    var a4 = a_base + min(row + 4u, last_row) * params.a_row;
    var a5 = a_base + min(row + 5u, last_row) * params.a_row;
    var a6 = a_base + min(row + 6u, last_row) * params.a_row;
    var a7 = a_base + min(row + 7u, last_row) * params.a_row;
    var b0 = b_base + min(column, last_column) * params.b_col;
    var b1 = b_base + min(column + 1u, last_column) * params.b_col;
    var b2 = b_base + min(column + 2u, last_column) * params.b_col;
    var b3 = b_base + min(column + 3u, last_column) * params.b_col;
    var b4 = b_base + min(column + 4u, last_column) * params.b_col;
    var b5 = b_base + min(column + 5u, last_column) * params.b_col;
    var b6 = b_base + min(column + 6u, last_column) * params.b_col;
    var b7 = b_base + min(column + 7u, last_column) * params.b_col;

    // Rows 0 to 7 of the tile, each a left and a right half.
    var left0 = vec4<f32>();
    var right0 = vec4<f32>();
    var left1 = vec4<f32>();
    var right1 = vec4<f32>();
    var left2 = vec4<f32>();
    var right2 = vec4<f32>();
    var left3 = vec4<f32>();
    var right3 = vec4<f32>();
    var left4 = vec4<f32>();
    var right4 = vec4<f32>();
    var left5 = vec4<f32>();
    var right5 = vec4<f32>();
    var left6 = vec4<f32>();
    var right6 = vec4<f32>();
    var left7 = vec4<f32>();
    var right7 = vec4<f32>();
    for (var k = 0u; k < params.k; k++) {
        let b_left = vec4(b[b0], b[b1], b[b2], b[b3]);
        let b_right = vec4(b[b4], b[b5], b[b6], b[b7]);
        let x0 = vec4(a[a0]);
        left0 = fma(x0, b_left, left0);
        right0 = fma(x0, b_right, right0);
        let x1 = vec4(a[a1]);
        left1 = fma(x1, b_left, left1);
        right1 = fma(x1, b_right, right1);
        let x2 = vec4(a[a2]);
        left2 = fma(x2, b_left, left2);
        right2 = fma(x2, b_right, right2);
        let x3 = vec4(a[a3]);
        left3 = fma(x3, b_left, left3);
        right3 = fma(x3, b_right, right3);
        let x4 = vec4(a[a4]);
        left4 = fma(x4, b_left, left4);
        right4 = fma(x4, b_right, right4);
        let x5 = vec4(a[a5]);
        left5 = fma(x5, b_left, left5);
        right5 = fma(x5, b_right, right5);
        let x6 = vec4(a[a6]);
        left6 = fma(x6, b_left, left6);
        right6 = fma(x6, b_right, right6);
        let x7 = vec4(a[a7]);
        left7 = fma(x7, b_left, left7);
        right7 = fma(x7, b_right, right7);
        a0 += params.a_col;
        a1 += params.a_col;
        a2 += params.a_col;
        a3 += params.a_col;
        a4 += params.a_col;
        a5 += params.a_col;
        a6 += params.a_col;
        a7 += params.a_col;
        b0 += params.b_row;
        b1 += params.b_row;
        b2 += params.b_row;
        b3 += params.b_row;
        b4 += params.b_row;
        b5 += params.b_row;
        b6 += params.b_row;
        b7 += params.b_row;
    }

    let c_base = params.c_offset + matrix * params.c_batch;
    store(row, column, c_base, left0);
    store(row, column + 4u, c_base, right0);
    store(row + 1u, column, c_base, left1);
    store(row + 1u, column + 4u, c_base, right1);
    store(row + 2u, column, c_base, left2);
    store(row + 2u, column + 4u, c_base, right2);
    store(row + 3u, column, c_base, left3);
    store(row + 3u, column + 4u, c_base, right3);
    store(row + 4u, column, c_base, left4);
    store(row + 4u, column + 4u, c_base, right4);
    store(row + 5u, column, c_base, left5);
    store(row + 5u, column + 4u, c_base, right5);
    store(row + 6u, column, c_base, left6);
    store(row + 6u, column + 4u, c_base, right6);
    store(row + 7u, column, c_base, left7);
    store(row + 7u, column + 4u, c_base, right7);
}
