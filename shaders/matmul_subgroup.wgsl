// C = op(A)·op(B) + bias (+ C), for each matrix of a batch. For CPU adapters whose subgroups have eight lanes.
//
//   c[i, j] = Σ_k a[i, k]·b[k, j] + bias[j] (+ c[i, j])
//
// op(A) is [m, k], op(B) is [k, n], C is [m, n] row-major, c_row elements a row; strides express
// transposition, and one stride of each operand is 1. With a k_batch, matrix p of the batch is the sum over the k_batch
// k's from p·k_batch on: a part of a product that is cut along k (matmul_sum.wgsl adds the parts).
//
// Work: a workgroup is one subgroup and computes one tile of C (subgroup_tile.wgsl); tiles are numbered matrix
// by matrix. Along k, four columns of A and rows of B are taken at a time.
// Where a row does not begin at a multiple of four elements, two vec4s are shifted together, of which one serves
// the neighbouring elements too: along k in the next step, along n in the lane beside. Rows of C are shifted
// back, and stored as whole vec4s.
// Rows beyond the edge are clamped, columns beyond it read what follows; neither is stored.
// Each c is summed in ascending k by one lane: the order is fixed.
// Where rows of C are not aligned, tiles beside each other store elements of one vec4. WGSL lets such a store
// touch the whole of it, and a Metal compiler may do so; in SPIR-V and HLSL naga stores a single element. No
// Metal device has subgroups of eight lanes.
// Whether C is added to is a switch, not `accumulate`: what an `if` leaves out is loaded all the same, with lanes
// masked.

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
// Does every row of A, of B and of C as stored begin at a multiple of four elements? For C, n is one, too.
override A_ALIGNED: bool = false;
override B_ALIGNED: bool = false;
override C_ALIGNED: bool = false;
override ACCUMULATE: bool = true;

// Of this lane, set up by `main`.
var<private> lane: u32;
var<private> first_column: u32;
var<private> bias_left: vec4<f32>;
var<private> bias_right: vec4<f32>;
var<private> b_base: u32;
var<private> c_base: u32;
var<private> end_k: u32;
// Where its part of a block's rows of A begins, for k = 0.
var<private> a_places: array<u32, 4>;
// Where rows along k are not aligned: the last vec4s that were read, of a block and of B's columns.
var<private> a_before: array<vec4<f32>, 4>;
var<private> b_before: Columns;

// The vec4s that four elements of B are in.
fn vec4s_of_b(at: vec4<u32>) -> Four {
    return Four(b[at.x / 4u], b[at.y / 4u], b[at.z / 4u], b[at.w / 4u]);
}

// Where four columns begin, if op(B) is contiguous along k.
fn b_columns(first: u32) -> vec4<u32> {
    let columns = first + vec4(0u, 1u, 2u, 3u);
    return b_base + min(columns, vec4(params.n - 1u)) * params.b_col;
}

// The vec4s that this lane's columns are in at a k.
fn vec4s_of_columns(k: u32) -> Columns {
    return Columns(vec4s_of_b(b_columns(first_column) + k), vec4s_of_b(b_columns(first_column + 4u) + k));
}

fn set_up_block(block: u32, base: u32, first_row: u32, first_k: u32) {
    if A_ALONG_K {
        // A row a lane.
        a_places[block] = base + min(first_row + lane, params.m - 1u) * params.a_row;
        if !A_ALIGNED {
            a_before[block] = a[(a_places[block] + first_k) / 4u];
        }
    } else {
        // Four rows of one k a lane.
        a_places[block] = base + first_row + lane % 2u * 4u + lane / 2u * params.a_col;
    }
}

fn left_rows(block: u32, k: u32) -> Rows {
    if A_ALONG_K {
        let at = a_places[block] + k;
        var x = a_before[block];
        if A_ALIGNED {
            x = a[at / 4u];
        } else {
            let high = a[at / 4u + 1u];
            a_before[block] = high;
            x = shifted(x, high, at % 4u);
        }
        // What was read beyond the last k counts as 0.
        let inside = k + vec4(0u, 1u, 2u, 3u) < vec4(end_k);
        return rows_of_lanes(select(vec4<f32>(), x, inside));
    }
    let at = a_places[block] + k * params.a_col;
    var x = a[at / 4u];
    if !A_ALIGNED {
        x = shifted(x, a[at / 4u + 1u], at % 4u);
    }
    // Rows 0 to 3 of four k's are in the even lanes, rows 4 to 7 in the odd ones.
    let by_lane = rows_of_lanes(select(vec4<f32>(), x, k + lane / 2u < end_k));
    let upper = transposed(Four(by_lane.r0, by_lane.r2, by_lane.r4, by_lane.r6));
    let lower = transposed(Four(by_lane.r1, by_lane.r3, by_lane.r5, by_lane.r7));
    return Rows(upper.v0, upper.v1, upper.v2, upper.v3, lower.v0, lower.v1, lower.v2, lower.v3);
}

// x of the next lane; for the last one, `behind`.
fn of_next_lane(x: vec4<f32>, behind: vec4<f32>) -> vec4<f32> {
    return select(subgroupShuffle(x, (lane + 1u) % LANES), behind, lane == LANES - 1u);
}

// Along n, columns that are not aligned are in the two vec4s where they begin and the next lane's first one. For
// the last lane that is, of the i-th k, lane i's `behind`.
fn shifted_along_n(low: Columns, behind: vec4<f32>, at: vec4<u32>) -> Columns {
    let shifts = at % 4u;
    let left = Four(
        shifted(low.left.v0, low.right.v0, shifts.x),
        shifted(low.left.v1, low.right.v1, shifts.y),
        shifted(low.left.v2, low.right.v2, shifts.z),
        shifted(low.left.v3, low.right.v3, shifts.w),
    );
    let right = Four(
        shifted(low.right.v0, of_next_lane(low.left.v0, subgroupBroadcast(behind, 0u)), shifts.x),
        shifted(low.right.v1, of_next_lane(low.left.v1, subgroupBroadcast(behind, 1u)), shifts.y),
        shifted(low.right.v2, of_next_lane(low.left.v2, subgroupBroadcast(behind, 2u)), shifts.z),
        shifted(low.right.v3, of_next_lane(low.left.v3, subgroupBroadcast(behind, 3u)), shifts.w),
    );
    return Columns(left, right);
}

fn shifted_along_k(low: Four, high: Four, at: vec4<u32>) -> Four {
    return Four(
        shifted(low.v0, high.v0, at.x % 4u),
        shifted(low.v1, high.v1, at.y % 4u),
        shifted(low.v2, high.v2, at.z % 4u),
        shifted(low.v3, high.v3, at.w % 4u),
    );
}

fn right_columns(k: u32) -> Columns {
    let w = any_right_columns(k);
    return Columns(up_to_end(w.left, k), up_to_end(w.right, k));
}

// What was read beyond the last k counts as 0.
fn up_to_end(w: Four, k: u32) -> Four {
    let inside = k + vec4(0u, 1u, 2u, 3u) < vec4(end_k);
    return Four(
        select(vec4<f32>(), w.v0, inside.x),
        select(vec4<f32>(), w.v1, inside.y),
        select(vec4<f32>(), w.v2, inside.z),
        select(vec4<f32>(), w.v3, inside.w),
    );
}

// The same, with what follows the last k's.
fn any_right_columns(k: u32) -> Columns {
    if B_ALONG_N {
        let at = b_base + first_column + (k + vec4(0u, 1u, 2u, 3u)) * params.b_row;
        let w = Columns(vec4s_of_b(at), vec4s_of_b(at + 4u));
        if B_ALIGNED {
            return w;
        }
        let behind = at[lane % 4u] - lane * LANE_COLUMNS + TILE_COLUMNS;
        return shifted_along_n(w, b[behind / 4u], at);
    }
    if B_ALIGNED {
        let w = vec4s_of_columns(k);
        return Columns(transposed(w.left), transposed(w.right));
    }
    let low = b_before;
    let high = vec4s_of_columns(k + 4u);
    b_before = high;
    // Without k, which is a multiple of four, as the first one is.
    let left = shifted_along_k(low.left, high.left, b_columns(first_column));
    let right = shifted_along_k(low.right, high.right, b_columns(first_column + 4u));
    return Columns(transposed(left), transposed(right));
}

// Of columns column … column + 3; what is beyond the edge is not stored.
fn bias4(column: u32) -> vec4<f32> {
    let at = params.bias_offset + min(column + vec4(0u, 1u, 2u, 3u), vec4(params.n - 1u));
    return vec4(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
}

fn with_bias(sums: vec4<f32>, bias: vec4<f32>) -> vec4<f32> {
    return select(sums, sums + bias, params.has_bias != 0u);
}

fn store4(at: u32, values: vec4<f32>) {
    if ACCUMULATE {
        c[at] += values;
    } else {
        c[at] = values;
    }
}

fn store1(place: u32, value: f32) {
    if ACCUMULATE {
        c[place / 4u][place % 4u] += value;
    } else {
        c[place / 4u][place % 4u] = value;
    }
}

// Stores a row of the tile that is not aligned in C, from the place of its first column on. The first whole vec4
// begins `gap` columns behind that. Columns before it, and those behind the last, share a vec4 with other
// tiles; there are at most three of each: lanes 0 to 2 store the former, one each, lanes 4 to 6 the latter.
fn store_shifted(first: u32, left: vec4<f32>, right: vec4<f32>) {
    let of_lane = lane * LANE_COLUMNS;
    let columns = min(TILE_COLUMNS, params.n - (first_column - of_lane));
    let gap = (4u - first % 4u) % 4u;
    // The single column that this lane stores, and what other lanes have, while all of them are here.
    let before = min(gap, columns);
    let is_before = lane < 4u;
    let behind = before + (columns - before) / 4u * 4u;
    let column = select(behind + lane - 4u, lane, is_before);
    let owner = column / LANE_COLUMNS % LANES;
    let half = select(subgroupShuffle(left, owner), subgroupShuffle(right, owner), column % LANE_COLUMNS >= 4u);
    let next = of_next_lane(left, vec4<f32>());

    let at = (first + gap + of_lane) / 4u;
    if of_lane + gap + 4u <= columns {
        store4(at, shifted(left, right, gap));
    }
    if of_lane + gap + 8u <= columns {
        store4(at + 1u, shifted(right, next, gap));
    }
    if column < select(columns, before, is_before) {
        store1(first + column, half[column % 4u]);
    }
}

fn store_aligned(at: u32, left: vec4<f32>, right: vec4<f32>) {
    if first_column < params.n {
        store4(at, left);
    }
    if first_column + 4u < params.n {
        store4(at + 1u, right);
    }
}

// Stores what is within C of a block.
fn store_rows(first_row: u32, column: u32, left: Rows, right: Rows) {
    let end = min(first_row + BLOCK, params.m);
    for (var row = first_row; row < end; row++) {
        let left_sums = with_bias(row_of(left, row - first_row), bias_left);
        let right_sums = with_bias(row_of(right, row - first_row), bias_right);
        let at = c_base + row * params.c_row + column;
        if C_ALIGNED {
            store_aligned(at / 4u, left_sums, right_sums);
        } else {
            store_shifted(at - lane * LANE_COLUMNS, left_sums, right_sums);
        }
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
    let tiles = tiles_m * tiles_across(params.n);
    let matrix = tile / tiles;
    if matrix >= params.batch {
        return;
    }
    let place = place_of_tile(tile % tiles, params.n, subgroup_lane);
    let row = place.x;
    let first_k = matrix * params.k_batch;
    lane = subgroup_lane;
    first_column = place.y;
    bias_left = bias4(first_column);
    bias_right = bias4(first_column + 4u);
    b_base = params.b_offset + matrix * params.b_batch;
    c_base = params.c_offset + matrix * params.c_batch;
    end_k = select(params.k, min(params.k, first_k + params.k_batch), params.k_batch != 0u);
    let a_base = params.a_offset + matrix * params.a_batch;
    set_up_block(0u, a_base, row, first_k);
    set_up_block(1u, a_base, row + BLOCK, first_k);
    set_up_block(2u, a_base, row + 2u * BLOCK, first_k);
    set_up_block(3u, a_base, row + 3u * BLOCK, first_k);
    if !B_ALONG_N && !B_ALIGNED {
        b_before = vec4s_of_columns(first_k);
    }
    compute_tile(row, first_column, first_k, end_k);
}
