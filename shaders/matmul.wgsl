// C = op(A)·op(B) + bias (+ C), for each matrix of a batch. For GPUs: tiles in workgroup memory.
//
//   c[i, j] = Σ_k a[i, k]·b[k, j] + bias[j] (+ c[i, j])
//
// op(A) is [m, k], op(B) is [k, n], C is [m, n] row-major. A transposed operand is one whose row
// stride is 1, so no copy is made and no branch is taken on it.
//
// Work: one workgroup of 16×16 lanes computes a 64×64 tile of C, each lane 4×4 of it in
// registers; tiles are numbered along n first, then m, then the batch. Along k, 16 columns of A
// and 16 rows of B are staged at a time; elements outside the matrices are staged as 0.
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

const TILE: u32 = 64u; // rows and columns of a tile of C
const DEPTH: u32 = 16u; // k's staged at a time
const LANES: u32 = 256u;

var<workgroup> a_tile: array<f32, 1024>; // [DEPTH, TILE]
var<workgroup> b_tile: array<f32, 1024>; // [DEPTH, TILE]

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

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles_n = (params.n + TILE - 1u) / TILE;
    let tiles_m = (params.m + TILE - 1u) / TILE;
    let tile = workgroup.x + workgroup.y * workgroups.x;
    let matrix = tile / (tiles_n * tiles_m);
    if matrix >= params.batch {
        return;
    }
    let first_row = (tile / tiles_n % tiles_m) * TILE;
    let first_column = (tile % tiles_n) * TILE;
    let a_base = params.a_offset + matrix * params.a_batch;
    let b_base = params.b_offset + matrix * params.b_batch;

    // Lane's corner of the tile.
    let row = (lane / 16u) * 4u;
    let column = (lane % 16u) * 4u;
    var acc0 = vec4<f32>();
    var acc1 = vec4<f32>();
    var acc2 = vec4<f32>();
    var acc3 = vec4<f32>();

    for (var k0 = 0u; k0 < params.k; k0 += DEPTH) {
        for (var i = lane; i < TILE * DEPTH; i += LANES) {
            // Neighbouring lanes read neighbouring elements, whichever way the operand lies.
            let a_along_k = params.a_col == 1u;
            let a_k = select(i / TILE, i % DEPTH, a_along_k);
            let a_i = select(i % TILE, i / DEPTH, a_along_k);
            var a_value = 0.0;
            if first_row + a_i < params.m && k0 + a_k < params.k {
                a_value = a[a_base + (first_row + a_i) * params.a_row + (k0 + a_k) * params.a_col];
            }
            a_tile[a_k * TILE + a_i] = a_value;

            let b_along_n = params.b_col == 1u;
            let b_k = select(i % DEPTH, i / TILE, b_along_n);
            let b_j = select(i / DEPTH, i % TILE, b_along_n);
            var b_value = 0.0;
            if first_column + b_j < params.n && k0 + b_k < params.k {
                b_value = b[b_base + (k0 + b_k) * params.b_row + (first_column + b_j) * params.b_col];
            }
            b_tile[b_k * TILE + b_j] = b_value;
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let a_at = k * TILE + row;
            let b_at = k * TILE + column;
            let b_k = vec4(b_tile[b_at], b_tile[b_at + 1u], b_tile[b_at + 2u], b_tile[b_at + 3u]);
            acc0 = fma(vec4(a_tile[a_at]), b_k, acc0);
            acc1 = fma(vec4(a_tile[a_at + 1u]), b_k, acc1);
            acc2 = fma(vec4(a_tile[a_at + 2u]), b_k, acc2);
            acc3 = fma(vec4(a_tile[a_at + 3u]), b_k, acc3);
        }
        workgroupBarrier();
    }

    let c_base = params.c_offset + matrix * params.c_batch;
    store(first_row + row, first_column + column, c_base, acc0);
    store(first_row + row + 1u, first_column + column, c_base, acc1);
    store(first_row + row + 2u, first_column + column, c_base, acc2);
    store(first_row + row + 3u, first_column + column, c_base, acc3);
}
