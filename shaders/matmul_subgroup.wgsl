// C = op(A)·op(B) + bias (+ C), for each matrix of a batch. For CPU adapters whose subgroups have eight lanes.
//
//   c[i, j] = Σ_k a[i, k]·b[k, j] + bias[j] (+ c[i, j])
//
// op(A) is [m, k], op(B) is [k, n], C is [m, n] row-major, c_row elements a row; strides express
// transposition, and one stride of each operand is 1. With a k_batch, matrix p of the batch is the sum over the k_batch
// k's from p·k_batch on: a part of a product that is cut along k (matmul_sum.wgsl adds the parts).
//
// Work: a workgroup is one subgroup and computes one tile of C (subgroup_tile.wgsl); tiles are numbered along n
// first, then m, then the batch. Along k, four columns of A and rows of B are taken at a time.
// Where a row does not begin at a multiple of four elements, two loads are shifted together, of
// which one serves the neighbouring elements too.
// Rows beyond the edge are clamped, columns beyond it read what follows; neither is stored.
// Each c is summed in ascending k by one lane: the order is fixed.
// Where rows of C are not aligned, lanes beside each other store elements of one vec4. WGSL would let such a
// store touch the whole of it; naga makes one of a single element for each of its back ends.
// Whether there is a bias, and whether C is added to, are switches, not has_bias and accumulate: what an
// `if` leaves out is loaded all the same, with lanes masked.

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
    c_row: u32,
    c_batch: u32,
    k_batch: u32,
    has_bias: u32,
    bias_offset: u32,
    accumulate: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> c: array<vec4<f32>>;

// Is op(A) contiguous along k, and op(B) along n? Else along the other side.
override A_ALONG_K: bool = true;
override B_ALONG_N: bool = true;
// Does every row of A and of B as stored begin at a multiple of four elements, and is k one?
override ALIGNED: bool = false;
// Does every row of C begin at a multiple of four elements, and is n one?
override C_ALIGNED: bool = false;
override HAS_BIAS: bool = true;
override ACCUMULATE: bool = true;

// Of this lane, set up by `main`.
var<private> lane: u32;
var<private> first_column: u32; // in the left strip
var<private> b_base: u32;
var<private> c_base: u32;
var<private> end_k: u32;
// Where its part of a block's rows of A begins, for k = 0.
var<private> a_places: array<u32, 4>;
// Where rows along k are not aligned: the last vec4s that were read, of a block and of a strip.
var<private> a_before: array<vec4<f32>, 4>;
var<private> b_before: array<Four, 2>;

// Elements i … i + 3 of A.
fn a4(i: u32) -> vec4<f32> {
    if ALIGNED {
        return a[i / 4u];
    }
    return shifted(a[i / 4u], a[i / 4u + 1u], i % 4u);
}

// Elements i … i + 3 of B.
fn b4(i: u32) -> vec4<f32> {
    if ALIGNED {
        return b[i / 4u];
    }
    return shifted(b[i / 4u], b[i / 4u + 1u], i % 4u);
}

// The vec4s that four elements of B are in.
fn vec4s_of_b(at: vec4<u32>) -> Four {
    return Four(b[at.x / 4u], b[at.y / 4u], b[at.z / 4u], b[at.w / 4u]);
}

// Where this lane's columns in a strip begin, if op(B) is contiguous along k.
fn b_columns(strip: u32) -> vec4<u32> {
    let first = first_column + strip * STRIP;
    let columns = vec4(first, first + 1u, first + 2u, first + 3u);
    return b_base + min(columns, vec4(params.n - 1u)) * params.b_col;
}

fn set_up_block(block: u32, base: u32, first_row: u32, first_k: u32) {
    if A_ALONG_K {
        // A row a lane.
        a_places[block] = base + min(first_row + lane, params.m - 1u) * params.a_row;
        a_before[block] = a[(a_places[block] + first_k) / 4u];
    } else {
        // Four rows of one k a lane.
        a_places[block] = base + first_row + lane % 2u * 4u + lane / 2u * params.a_col;
    }
}

fn set_up_strip(strip: u32, first_k: u32) {
    if !B_ALONG_N {
        b_before[strip] = vec4s_of_b(b_columns(strip) + first_k);
    }
}

fn left_rows(block: u32, k: u32) -> Rows {
    if A_ALONG_K {
        let at = a_places[block] + k;
        if ALIGNED {
            return rows_of_lanes(a[at / 4u]);
        }
        let low = a_before[block];
        let high = a[at / 4u + 1u];
        a_before[block] = high;
        // What was read beyond the last k counts as 0.
        let inside = vec4(k, k + 1u, k + 2u, k + 3u) < vec4(end_k);
        return rows_of_lanes(select(vec4<f32>(), shifted(low, high, at % 4u), inside));
    }
    var x = a4(a_places[block] + k * params.a_col);
    if !ALIGNED {
        x = select(vec4<f32>(), x, k + lane / 2u < end_k);
    }
    // Rows 0 to 3 of four k's are in the even lanes, rows 4 to 7 in the odd ones.
    let by_lane = rows_of_lanes(x);
    let upper = transposed(Four(by_lane.r0, by_lane.r2, by_lane.r4, by_lane.r6));
    let lower = transposed(Four(by_lane.r1, by_lane.r3, by_lane.r5, by_lane.r7));
    return Rows(upper.v0, upper.v1, upper.v2, upper.v3, lower.v0, lower.v1, lower.v2, lower.v3);
}

fn right_columns(strip: u32, k: u32) -> Four {
    let w = any_right_columns(strip, k);
    if ALIGNED {
        return w;
    }
    let inside = vec4(k, k + 1u, k + 2u, k + 3u) < vec4(end_k);
    return Four(
        select(vec4<f32>(), w.v0, inside.x),
        select(vec4<f32>(), w.v1, inside.y),
        select(vec4<f32>(), w.v2, inside.z),
        select(vec4<f32>(), w.v3, inside.w),
    );
}

// The same, with what follows the last k's.
fn any_right_columns(strip: u32, k: u32) -> Four {
    if B_ALONG_N {
        let at = b_base + first_column + strip * STRIP + k * params.b_row;
        return Four(b4(at), b4(at + params.b_row), b4(at + 2u * params.b_row), b4(at + 3u * params.b_row));
    }
    let at = b_columns(strip) + k;
    if ALIGNED {
        return transposed(vec4s_of_b(at));
    }
    let low = b_before[strip];
    let high = vec4s_of_b(at + 4u);
    b_before[strip] = high;
    return transposed(Four(
        shifted(low.v0, high.v0, at.x % 4u),
        shifted(low.v1, high.v1, at.y % 4u),
        shifted(low.v2, high.v2, at.z % 4u),
        shifted(low.v3, high.v3, at.w % 4u),
    ));
}

// Of columns column … column + 3; what is beyond the edge is not stored.
fn bias4(column: u32) -> vec4<f32> {
    let last = params.n - 1u;
    let at = params.bias_offset + min(vec4(column, column + 1u, column + 2u, column + 3u), vec4(last));
    return vec4(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
}

fn store(first: u32, columns: u32, values: vec4<f32>) {
    if C_ALIGNED {
        if ACCUMULATE {
            c[first / 4u] += values;
        } else {
            c[first / 4u] = values;
        }
        return;
    }
    for (var i = 0u; i < columns; i++) {
        let at = first + i;
        if ACCUMULATE {
            c[at / 4u][at % 4u] += values[i];
        } else {
            c[at / 4u][at % 4u] = values[i];
        }
    }
}

// Stores what is within C of a block.
fn store_rows(row: u32, column: u32, sums: Rows) {
    if column >= params.n {
        return;
    }
    let added = bias4(column);
    let columns = min(4u, params.n - column);
    let rows = min(BLOCK, params.m - min(row, params.m));
    for (var i = 0u; i < rows; i++) {
        let sum = row_of(sums, i);
        store(c_base + (row + i) * params.c_row + column, columns, select(sum, sum + added, HAS_BIAS));
    }
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    let tile = params.first_workgroup + workgroup.x + workgroup.y * workgroups.x;
    let tiles_m = (params.m + TILE_ROWS - 1u) / TILE_ROWS;
    let tiles_n = (params.n + TILE_COLUMNS - 1u) / TILE_COLUMNS;
    let matrix = tile / (tiles_n * tiles_m);
    if matrix >= params.batch {
        return;
    }
    let row = tile / tiles_n % tiles_m * TILE_ROWS;
    let first_k = matrix * params.k_batch;
    lane = subgroup_lane;
    first_column = tile % tiles_n * TILE_COLUMNS + lane * 4u;
    b_base = params.b_offset + matrix * params.b_batch;
    c_base = params.c_offset + matrix * params.c_batch;
    end_k = select(params.k, min(params.k, first_k + params.k_batch), params.k_batch != 0u);
    let a_base = params.a_offset + matrix * params.a_batch;
    set_up_block(0u, a_base, row, first_k);
    set_up_block(1u, a_base, row + BLOCK, first_k);
    set_up_block(2u, a_base, row + 2u * BLOCK, first_k);
    set_up_block(3u, a_base, row + 3u * BLOCK, first_k);
    set_up_strip(0u, first_k);
    set_up_strip(1u, first_k);
    compute_tile(row, first_column, first_k, end_k);
}
