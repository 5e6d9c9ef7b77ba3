// C = op(A)·op(B) + bias (+ C), for each matrix of a batch. For CPU adapters: no barrier.
//
//   c[i, j] = Σ_k a[i, k]·b[k, j] + bias[j] (+ c[i, j])
//
// op(A) is [m, k], op(B) is [k, n], C is [m, n] row-major, c_row elements a row; strides express
// transposition, and one stride of each operand is 1. With a k_batch, matrix p of the batch is the sum over the k_batch
// k's from p·k_batch on: a part of a product that is cut along k (matmul_sum.wgsl adds the parts).
//
// Work: one lane computes an 8×8 tile of C in sixteen named accumulators (an indexed array would
// stay in memory on lavapipe); tiles are numbered along n first, then m, then the batch. Along k,
// four columns of A and rows of B are taken at a time. Both operands are read as vec4s along the
// side that they are contiguous on: a load costs a loop over the lanes there, whatever its width.
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

const TILE: u32 = 8u; // rows and columns of a lane's tile of C
override WORKGROUP_SIZE: u32 = 16u;
// Is op(A) contiguous along k, and op(B) along n? Else along the other side.
override A_ALONG_K: bool = true;
override B_ALONG_N: bool = true;
// Does every row of A and of B as stored begin at a multiple of four elements, and is k one?
override ALIGNED: bool = false;
// Does every row of C begin at a multiple of four elements, and is n one?
override C_ALIGNED: bool = false;
override HAS_BIAS: bool = true;
override ACCUMULATE: bool = true;

// Elements shift … shift + 3 of the eight in low and high; shift is 0 to 3.
fn shifted(low: vec4<f32>, high: vec4<f32>, shift: u32) -> vec4<f32> {
    let odd = (shift & 1u) != 0u;
    let first = select(low, vec4(low.y, low.z, low.w, high.x), odd);
    let last = select(high.xy, high.yz, odd);
    return select(first, vec4(first.z, first.w, last.x, last.y), shift >= 2u);
}

struct Eight {
    left: vec4<f32>,
    right: vec4<f32>,
}

// Elements i … i + 7 of A.
fn a8(i: u32) -> Eight {
    let low = a[i / 4u];
    let middle = a[i / 4u + 1u];
    if ALIGNED {
        return Eight(low, middle);
    }
    let high = a[i / 4u + 2u];
    return Eight(shifted(low, middle, i % 4u), shifted(middle, high, i % 4u));
}

// Elements i … i + 7 of B.
fn b8(i: u32) -> Eight {
    let low = b[i / 4u];
    let middle = b[i / 4u + 1u];
    if ALIGNED {
        return Eight(low, middle);
    }
    let high = b[i / 4u + 2u];
    return Eight(shifted(low, middle, i % 4u), shifted(middle, high, i % 4u));
}

// Elements i … i + 3 of A; `before` is the vec4 that the first of them is in, and becomes that of
// element i + 4.
fn next_a4(i: u32, before: ptr<function, vec4<f32>>) -> vec4<f32> {
    if ALIGNED {
        return a[i / 4u];
    }
    let low = *before;
    *before = a[i / 4u + 1u];
    return shifted(low, *before, i % 4u);
}

// Elements i … i + 3 of B, likewise.
fn next_b4(i: u32, before: ptr<function, vec4<f32>>) -> vec4<f32> {
    if ALIGNED {
        return b[i / 4u];
    }
    let low = *before;
    *before = b[i / 4u + 1u];
    return shifted(low, *before, i % 4u);
}

// Of columns column … column + 3; what is beyond the edge is not stored.
fn bias4(column: u32) -> vec4<f32> {
    let last = params.n - 1u;
    let at = params.bias_offset + min(vec4(column, column + 1u, column + 2u, column + 3u), vec4(last));
    return vec4(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
}

fn store(row: u32, column: u32, base: u32, values: vec4<f32>) {
    if row >= params.m || column >= params.n {
        return;
    }
    let first = base + row * params.c_row + column;
    if C_ALIGNED {
        if ACCUMULATE {
            c[first / 4u] += values;
        } else {
            c[first / 4u] = values;
        }
        return;
    }
    for (var i = 0u; i < 4u; i++) {
        if column + i < params.n {
            let at = first + i;
            if ACCUMULATE {
                c[at / 4u][at % 4u] += values[i];
            } else {
                c[at / 4u][at % 4u] = values[i];
            }
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
    let tile = (params.first_workgroup + workgroup.x + workgroup.y * workgroups.x) * WORKGROUP_SIZE + lane;
    let matrix = tile / (tiles_n * tiles_m);
    if matrix >= params.batch {
        return;
    }
    let row = (tile / tiles_n % tiles_m) * TILE;
    let column = (tile % tiles_n) * TILE;
    let a_base = params.a_offset + matrix * params.a_batch;
    let b_base = params.b_offset + matrix * params.b_batch;
    let first_k = matrix * params.k_batch;
    let end = select(params.k, min(params.k, first_k + params.k_batch), params.k_batch != 0u);
    let last_row = params.m - 1u;
    let last_column = params.n - 1u;
    let a0_at = a_base + min(row + 0u, last_row) * params.a_row;
    let a1_at = a_base + min(row + 1u, last_row) * params.a_row;
    let a2_at = a_base + min(row + 2u, last_row) * params.a_row;
    let a3_at = a_base + min(row + 3u, last_row) * params.a_row;
    let a4_at = a_base + min(row + 4u, last_row) * params.a_row;
    let a5_at = a_base + min(row + 5u, last_row) * params.a_row;
    let a6_at = a_base + min(row + 6u, last_row) * params.a_row;
    let a7_at = a_base + min(row + 7u, last_row) * params.a_row;
    let b0_at = b_base + min(column + 0u, last_column) * params.b_col;
    let b1_at = b_base + min(column + 1u, last_column) * params.b_col;
    let b2_at = b_base + min(column + 2u, last_column) * params.b_col;
    let b3_at = b_base + min(column + 3u, last_column) * params.b_col;
    let b4_at = b_base + min(column + 4u, last_column) * params.b_col;
    let b5_at = b_base + min(column + 5u, last_column) * params.b_col;
    let b6_at = b_base + min(column + 6u, last_column) * params.b_col;
    let b7_at = b_base + min(column + 7u, last_column) * params.b_col;

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
    // Where rows along k are not aligned: the last vec4 of each that was read.
    var a0_before: vec4<f32>;
    var a1_before: vec4<f32>;
    var a2_before: vec4<f32>;
    var a3_before: vec4<f32>;
    var a4_before: vec4<f32>;
    var a5_before: vec4<f32>;
    var a6_before: vec4<f32>;
    var a7_before: vec4<f32>;
    var b0_before: vec4<f32>;
    var b1_before: vec4<f32>;
    var b2_before: vec4<f32>;
    var b3_before: vec4<f32>;
    var b4_before: vec4<f32>;
    var b5_before: vec4<f32>;
    var b6_before: vec4<f32>;
    var b7_before: vec4<f32>;
    if !ALIGNED && A_ALONG_K {
        a0_before = a[(a0_at + first_k) / 4u];
        a1_before = a[(a1_at + first_k) / 4u];
        a2_before = a[(a2_at + first_k) / 4u];
        a3_before = a[(a3_at + first_k) / 4u];
        a4_before = a[(a4_at + first_k) / 4u];
        a5_before = a[(a5_at + first_k) / 4u];
        a6_before = a[(a6_at + first_k) / 4u];
        a7_before = a[(a7_at + first_k) / 4u];
    }
    if !ALIGNED && !B_ALONG_N {
        b0_before = b[(b0_at + first_k) / 4u];
        b1_before = b[(b1_at + first_k) / 4u];
        b2_before = b[(b2_at + first_k) / 4u];
        b3_before = b[(b3_at + first_k) / 4u];
        b4_before = b[(b4_at + first_k) / 4u];
        b5_before = b[(b5_at + first_k) / 4u];
        b6_before = b[(b6_at + first_k) / 4u];
        b7_before = b[(b7_at + first_k) / 4u];
    }
    for (var k = first_k; k < end; k += 4u) {
        // Eight rows of A, four k's each.
        var x0: vec4<f32>;
        var x1: vec4<f32>;
        var x2: vec4<f32>;
        var x3: vec4<f32>;
        var x4: vec4<f32>;
        var x5: vec4<f32>;
        var x6: vec4<f32>;
        var x7: vec4<f32>;
        if A_ALONG_K {
            x0 = next_a4(a0_at + k, &a0_before);
            x1 = next_a4(a1_at + k, &a1_before);
            x2 = next_a4(a2_at + k, &a2_before);
            x3 = next_a4(a3_at + k, &a3_before);
            x4 = next_a4(a4_at + k, &a4_before);
            x5 = next_a4(a5_at + k, &a5_before);
            x6 = next_a4(a6_at + k, &a6_before);
            x7 = next_a4(a7_at + k, &a7_before);
        } else {
            let at = a_base + row + k * params.a_col;
            let k0 = a8(at + 0u * params.a_col);
            let k1 = a8(at + 1u * params.a_col);
            let k2 = a8(at + 2u * params.a_col);
            let k3 = a8(at + 3u * params.a_col);
            x0 = vec4(k0.left.x, k1.left.x, k2.left.x, k3.left.x);
            x1 = vec4(k0.left.y, k1.left.y, k2.left.y, k3.left.y);
            x2 = vec4(k0.left.z, k1.left.z, k2.left.z, k3.left.z);
            x3 = vec4(k0.left.w, k1.left.w, k2.left.w, k3.left.w);
            x4 = vec4(k0.right.x, k1.right.x, k2.right.x, k3.right.x);
            x5 = vec4(k0.right.y, k1.right.y, k2.right.y, k3.right.y);
            x6 = vec4(k0.right.z, k1.right.z, k2.right.z, k3.right.z);
            x7 = vec4(k0.right.w, k1.right.w, k2.right.w, k3.right.w);
        }
        // Four rows of B, a left and a right half each.
        var w0_left: vec4<f32>;
        var w0_right: vec4<f32>;
        var w1_left: vec4<f32>;
        var w1_right: vec4<f32>;
        var w2_left: vec4<f32>;
        var w2_right: vec4<f32>;
        var w3_left: vec4<f32>;
        var w3_right: vec4<f32>;
        if B_ALONG_N {
            let at = b_base + column + k * params.b_row;
            let row0 = b8(at + 0u * params.b_row);
            let row1 = b8(at + 1u * params.b_row);
            let row2 = b8(at + 2u * params.b_row);
            let row3 = b8(at + 3u * params.b_row);
            w0_left = row0.left;
            w0_right = row0.right;
            w1_left = row1.left;
            w1_right = row1.right;
            w2_left = row2.left;
            w2_right = row2.right;
            w3_left = row3.left;
            w3_right = row3.right;
        } else {
            let column0 = next_b4(b0_at + k, &b0_before);
            let column1 = next_b4(b1_at + k, &b1_before);
            let column2 = next_b4(b2_at + k, &b2_before);
            let column3 = next_b4(b3_at + k, &b3_before);
            let column4 = next_b4(b4_at + k, &b4_before);
            let column5 = next_b4(b5_at + k, &b5_before);
            let column6 = next_b4(b6_at + k, &b6_before);
            let column7 = next_b4(b7_at + k, &b7_before);
            w0_left = vec4(column0.x, column1.x, column2.x, column3.x);
            w0_right = vec4(column4.x, column5.x, column6.x, column7.x);
            w1_left = vec4(column0.y, column1.y, column2.y, column3.y);
            w1_right = vec4(column4.y, column5.y, column6.y, column7.y);
            w2_left = vec4(column0.z, column1.z, column2.z, column3.z);
            w2_right = vec4(column4.z, column5.z, column6.z, column7.z);
            w3_left = vec4(column0.w, column1.w, column2.w, column3.w);
            w3_right = vec4(column4.w, column5.w, column6.w, column7.w);
        }
        if !ALIGNED && k + 4u > end {
            // The last k's are fewer: what was read beyond them counts as 0.
            let inside = vec4(k, k + 1u, k + 2u, k + 3u) < vec4(end);
            x0 = select(vec4<f32>(), x0, inside);
            x1 = select(vec4<f32>(), x1, inside);
            x2 = select(vec4<f32>(), x2, inside);
            x3 = select(vec4<f32>(), x3, inside);
            x4 = select(vec4<f32>(), x4, inside);
            x5 = select(vec4<f32>(), x5, inside);
            x6 = select(vec4<f32>(), x6, inside);
            x7 = select(vec4<f32>(), x7, inside);
            w0_left = select(vec4<f32>(), w0_left, inside.x);
            w0_right = select(vec4<f32>(), w0_right, inside.x);
            w1_left = select(vec4<f32>(), w1_left, inside.y);
            w1_right = select(vec4<f32>(), w1_right, inside.y);
            w2_left = select(vec4<f32>(), w2_left, inside.z);
            w2_right = select(vec4<f32>(), w2_right, inside.z);
            w3_left = select(vec4<f32>(), w3_left, inside.w);
            w3_right = select(vec4<f32>(), w3_right, inside.w);
        }
        left0 = fma(vec4(x0.x), w0_left, left0);
        right0 = fma(vec4(x0.x), w0_right, right0);
        left1 = fma(vec4(x1.x), w0_left, left1);
        right1 = fma(vec4(x1.x), w0_right, right1);
        left2 = fma(vec4(x2.x), w0_left, left2);
        right2 = fma(vec4(x2.x), w0_right, right2);
        left3 = fma(vec4(x3.x), w0_left, left3);
        right3 = fma(vec4(x3.x), w0_right, right3);
        left4 = fma(vec4(x4.x), w0_left, left4);
        right4 = fma(vec4(x4.x), w0_right, right4);
        left5 = fma(vec4(x5.x), w0_left, left5);
        right5 = fma(vec4(x5.x), w0_right, right5);
        left6 = fma(vec4(x6.x), w0_left, left6);
        right6 = fma(vec4(x6.x), w0_right, right6);
        left7 = fma(vec4(x7.x), w0_left, left7);
        right7 = fma(vec4(x7.x), w0_right, right7);
        left0 = fma(vec4(x0.y), w1_left, left0);
        right0 = fma(vec4(x0.y), w1_right, right0);
        left1 = fma(vec4(x1.y), w1_left, left1);
        right1 = fma(vec4(x1.y), w1_right, right1);
        left2 = fma(vec4(x2.y), w1_left, left2);
        right2 = fma(vec4(x2.y), w1_right, right2);
        left3 = fma(vec4(x3.y), w1_left, left3);
        right3 = fma(vec4(x3.y), w1_right, right3);
        left4 = fma(vec4(x4.y), w1_left, left4);
        right4 = fma(vec4(x4.y), w1_right, right4);
        left5 = fma(vec4(x5.y), w1_left, left5);
        right5 = fma(vec4(x5.y), w1_right, right5);
        left6 = fma(vec4(x6.y), w1_left, left6);
        right6 = fma(vec4(x6.y), w1_right, right6);
        left7 = fma(vec4(x7.y), w1_left, left7);
        right7 = fma(vec4(x7.y), w1_right, right7);
        left0 = fma(vec4(x0.z), w2_left, left0);
        right0 = fma(vec4(x0.z), w2_right, right0);
        left1 = fma(vec4(x1.z), w2_left, left1);
        right1 = fma(vec4(x1.z), w2_right, right1);
        left2 = fma(vec4(x2.z), w2_left, left2);
        right2 = fma(vec4(x2.z), w2_right, right2);
        left3 = fma(vec4(x3.z), w2_left, left3);
        right3 = fma(vec4(x3.z), w2_right, right3);
        left4 = fma(vec4(x4.z), w2_left, left4);
        right4 = fma(vec4(x4.z), w2_right, right4);
        left5 = fma(vec4(x5.z), w2_left, left5);
        right5 = fma(vec4(x5.z), w2_right, right5);
        left6 = fma(vec4(x6.z), w2_left, left6);
        right6 = fma(vec4(x6.z), w2_right, right6);
        left7 = fma(vec4(x7.z), w2_left, left7);
        right7 = fma(vec4(x7.z), w2_right, right7);
        left0 = fma(vec4(x0.w), w3_left, left0);
        right0 = fma(vec4(x0.w), w3_right, right0);
        left1 = fma(vec4(x1.w), w3_left, left1);
        right1 = fma(vec4(x1.w), w3_right, right1);
        left2 = fma(vec4(x2.w), w3_left, left2);
        right2 = fma(vec4(x2.w), w3_right, right2);
        left3 = fma(vec4(x3.w), w3_left, left3);
        right3 = fma(vec4(x3.w), w3_right, right3);
        left4 = fma(vec4(x4.w), w3_left, left4);
        right4 = fma(vec4(x4.w), w3_right, right4);
        left5 = fma(vec4(x5.w), w3_left, left5);
        right5 = fma(vec4(x5.w), w3_right, right5);
        left6 = fma(vec4(x6.w), w3_left, left6);
        right6 = fma(vec4(x6.w), w3_right, right6);
        left7 = fma(vec4(x7.w), w3_left, left7);
        right7 = fma(vec4(x7.w), w3_right, right7);
    }

    let c_base = params.c_offset + matrix * params.c_batch;
    var bias_left = vec4<f32>();
    var bias_right = vec4<f32>();
    if HAS_BIAS {
        bias_left = bias4(column);
        bias_right = bias4(column + 4u);
    }
    store(row, column, c_base, left0 + bias_left);
    store(row, column + 4u, c_base, right0 + bias_right);
    store(row + 1u, column, c_base, left1 + bias_left);
    store(row + 1u, column + 4u, c_base, right1 + bias_right);
    store(row + 2u, column, c_base, left2 + bias_left);
    store(row + 2u, column + 4u, c_base, right2 + bias_right);
    store(row + 3u, column, c_base, left3 + bias_left);
    store(row + 3u, column + 4u, c_base, right3 + bias_right);
    store(row + 4u, column, c_base, left4 + bias_left);
    store(row + 4u, column + 4u, c_base, right4 + bias_right);
    store(row + 5u, column, c_base, left5 + bias_left);
    store(row + 5u, column + 4u, c_base, right5 + bias_right);
    store(row + 6u, column, c_base, left6 + bias_left);
    store(row + 6u, column + 4u, c_base, right6 + bias_right);
    store(row + 7u, column, c_base, left7 + bias_left);
    store(row + 7u, column + 4u, c_base, right7 + bias_right);
}
