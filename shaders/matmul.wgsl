// C = op(A)·op(B) + bias (+ C), for each matrix of a batch. For GPUs: tiles in workgroup memory.
//
//   c[i, j] = Σ_k a[i, k]·b[k, j] + bias[j] (+ c[i, j])
//
// op(A) is [m, k], op(B) is [k, n], C is [m, n] row-major, c_row elements a row; strides express
// transposition, and one stride of each operand is 1. With a k_batch, matrix p of the batch is the sum over the k_batch
// k's from p·k_batch on: a part of a product that is cut along k (matmul_sum.wgsl adds the parts).
//
// Work: a workgroup computes a TILE×TILE tile of C; tiles are numbered along n first, then m, then
// the batch. The host compiles three shapes, whose results are the same to the bit:
//
//   TILE 128: 256 lanes of 8×8, for large products
//   TILE 64: 128 lanes of 8×4
//   TILE 32: 64 lanes of 4×4, for few rows, and for products of few tiles
//
// Along k, 16 columns of A and rows of B are staged at a time. Half of the lanes stage A, half B,
// each a block of 4×4: four vec4s along the side that the operand is contiguous on, transposed in
// registers where that is k, and loaded while the block before is multiplied. Where a row does not
// begin at a multiple of four elements, two loads are shifted together. Rows beyond the edge are
// clamped, columns beyond it read what follows, neither is stored; k's beyond it are staged as 0.
// Each c is summed in ascending k by one lane: the order is fixed.
//
// Why so: a group is four rows of A or columns of B, and staged memory is [k, group], where the
// groups of k's 4q … 4q + 3 are permuted by XOR with 2q. So eight neighbouring lanes, a phase of
// 16-byte accesses, never share a bank, neither in writing blocks of either orientation nor in
// reading. 32 neighbouring lanes are 4×8 of the tile's, and read 4 groups of A and 8 of B together.
// For each k, a lane of 8×8 reads 4 vec4s for 64 fma's: on NVIDIA 16 to 32 cycles of a
// multiprocessor's shared memory beside 64 of its arithmetic. It needs 64 registers for sums, 16
// for the block under way and 16 for operands, less than 128 in all: two workgroups share 64 Ki
// registers, and each works while the other waits.

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
@group(0) @binding(4) var<storage, read_write> c: array<f32>;

// Rows and columns of a workgroup's tile of C: 32, 64 or 128.
override TILE: u32 = 64u;
// Does a lane have eight rows, and eight columns? Else four.
override TALL: bool = TILE >= 64u;
override WIDE: bool = TILE >= 128u;
override LANES: u32 = 2u * TILE;
override GROUPS: u32 = TILE / 4u;
// Is op(A) contiguous along k, and op(B) along n? Else along the other side.
override A_ALONG_K: bool = true;
override B_ALONG_N: bool = true;
// Does every row of A, and of B, as stored begin at a multiple of four elements?
override A_ALIGNED: bool = false;
override B_ALIGNED: bool = false;

const DEPTH: u32 = 16u; // k's staged at a time

// [2, DEPTH, GROUPS]: A, then B.
override B_STAGED: u32 = DEPTH * GROUPS;
override STAGED: u32 = 2u * B_STAGED;
var<workgroup> staged: array<vec4<f32>, STAGED>;

// The block that a lane stages: one k each.
var<private> block0: vec4<f32>;
var<private> block1: vec4<f32>;
var<private> block2: vec4<f32>;
var<private> block3: vec4<f32>;

// A lane's sums: rows 0 to 7, each a left and a right half.
var<private> left0: vec4<f32>;
var<private> left1: vec4<f32>;
var<private> left2: vec4<f32>;
var<private> left3: vec4<f32>;
var<private> left4: vec4<f32>;
var<private> left5: vec4<f32>;
var<private> left6: vec4<f32>;
var<private> left7: vec4<f32>;
var<private> right0: vec4<f32>;
var<private> right1: vec4<f32>;
var<private> right2: vec4<f32>;
var<private> right3: vec4<f32>;
var<private> right4: vec4<f32>;
var<private> right5: vec4<f32>;
var<private> right6: vec4<f32>;
var<private> right7: vec4<f32>;

// Elements i … i + 3 of A.
fn a4(i: u32) -> vec4<f32> {
    let low = a[i / 4u];
    if A_ALIGNED {
        return low;
    }
    return shifted(low, a[i / 4u + 1u], i % 4u);
}

// Elements i … i + 3 of B.
fn b4(i: u32) -> vec4<f32> {
    let low = b[i / 4u];
    if B_ALIGNED {
        return low;
    }
    return shifted(low, b[i / 4u + 1u], i % 4u);
}

// Loads the block at these four places of A or of B.
fn load(of_a: bool, at: vec4<u32>) {
    if of_a {
        block0 = a4(at.x);
        block1 = a4(at.y);
        block2 = a4(at.z);
        block3 = a4(at.w);
    } else {
        block0 = b4(at.x);
        block1 = b4(at.y);
        block2 = b4(at.z);
        block3 = b4(at.w);
    }
}

fn transpose_block() {
    let x = vec4(block0.x, block1.x, block2.x, block3.x);
    let y = vec4(block0.y, block1.y, block2.y, block3.y);
    let z = vec4(block0.z, block1.z, block2.z, block3.z);
    let w = vec4(block0.w, block1.w, block2.w, block3.w);
    block0 = x;
    block1 = y;
    block2 = z;
    block3 = w;
}

// Adds the products of one k. A lane's lower four rows, and its right four columns, are half a tile
// away from the others.
fn multiply(a_at: u32, b_at: u32) {
    let upper = staged[a_at];
    let b_left = staged[b_at];
    left0 = fma(vec4(upper.x), b_left, left0);
    left1 = fma(vec4(upper.y), b_left, left1);
    left2 = fma(vec4(upper.z), b_left, left2);
    left3 = fma(vec4(upper.w), b_left, left3);
    var b_right = vec4<f32>();
    if WIDE {
        b_right = staged[b_at + GROUPS / 2u];
        right0 = fma(vec4(upper.x), b_right, right0);
        right1 = fma(vec4(upper.y), b_right, right1);
        right2 = fma(vec4(upper.z), b_right, right2);
        right3 = fma(vec4(upper.w), b_right, right3);
    }
    if TALL {
        let lower = staged[a_at + GROUPS / 2u];
        left4 = fma(vec4(lower.x), b_left, left4);
        left5 = fma(vec4(lower.y), b_left, left5);
        left6 = fma(vec4(lower.z), b_left, left6);
        left7 = fma(vec4(lower.w), b_left, left7);
        if WIDE {
            right4 = fma(vec4(lower.x), b_right, right4);
            right5 = fma(vec4(lower.y), b_right, right5);
            right6 = fma(vec4(lower.z), b_right, right6);
            right7 = fma(vec4(lower.w), b_right, right7);
        }
    }
}

// Adds the products of the staged k's: the fourth q begins at k = 4q. (What is known of the bits of
// q and of the groups shows that indices stay below STAGED, a power of two: no check is left.)
fn multiply_staged(a_group: u32, b_group: u32) {
    for (var fourth = 0u; fourth < 4u; fourth++) {
        let q = fourth % 4u;
        let a_at = 4u * q * GROUPS + (a_group ^ (2u * q));
        let b_at = 4u * q * GROUPS + (b_group ^ (2u * q)) + B_STAGED;
        multiply(a_at, b_at);
        multiply(a_at + GROUPS, b_at + GROUPS);
        multiply(a_at + 2u * GROUPS, b_at + 2u * GROUPS);
        multiply(a_at + 3u * GROUPS, b_at + 3u * GROUPS);
    }
}

fn store_one(at: u32, column: u32, sum: f32) {
    if column < params.n {
        var value = sum;
        if params.has_bias != 0u {
            value += bias[params.bias_offset + column];
        }
        if params.accumulate != 0u {
            value += c[at];
        }
        c[at] = value;
    }
}

fn store(row: u32, column: u32, base: u32, sums: vec4<f32>) {
    if row < params.m {
        let at = base + row * params.c_row + column;
        store_one(at, column, sums.x);
        store_one(at + 1u, column + 1u, sums.y);
        store_one(at + 2u, column + 2u, sums.z);
        store_one(at + 3u, column + 3u, sums.w);
    }
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles_n = (params.n + TILE - 1u) / TILE;
    let tiles_m = (params.m + TILE - 1u) / TILE;
    let tile = params.first_workgroup + workgroup.x + workgroup.y * workgroups.x;
    let matrix = tile / (tiles_n * tiles_m);
    if matrix >= params.batch {
        return;
    }
    let first_row = (tile / tiles_n % tiles_m) * TILE;
    let first_column = (tile % tiles_n) * TILE;
    let first_k = matrix * params.k_batch;
    let end = select(params.k, min(params.k, first_k + params.k_batch), params.k_batch != 0u);

    // The block that this lane stages: which group, and which fourth of the k's. Neighbouring lanes
    // load what lies side by side.
    let of_a = lane < TILE;
    let along_k = select(!B_ALONG_N, A_ALONG_K, of_a);
    let block = lane % TILE;
    let group = select(block % GROUPS, block / 4u, along_k);
    let q = select(block / GROUPS, block % 4u, along_k);
    let stage_at = select(B_STAGED, 0u, of_a) + 4u * q * GROUPS + (group ^ (2u * q));
    // Its four rows as stored: of the operand's side or of k, and elements from one k to the next.
    let a_base = params.a_offset + matrix * params.a_batch;
    let b_base = params.b_offset + matrix * params.b_batch;
    let a_stride = select(params.a_col, params.a_row, A_ALONG_K);
    let b_stride = select(params.b_col, params.b_row, B_ALONG_N);
    let stride = select(b_stride, a_stride, of_a);
    let side = select(first_column, first_row, of_a) + 4u * group;
    let last = select(params.n, params.m, of_a) - 1u;
    let four = vec4(0u, 1u, 2u, 3u);
    let rows = select(4u * q + four, min(side + four, vec4(last)), along_k);
    let k_step = select(stride, 1u, along_k);
    let base = select(b_base, a_base, of_a) + select(side, 4u * q, along_k);
    let rows_at = base + rows * stride;

    // The lane's groups of the tile: 32 lanes have 4 of A and 8 of B.
    let eights = select(GROUPS, GROUPS / 2u, WIDE) / 8u;
    let a_group = lane / (32u * eights) * 4u + lane / 8u % 4u;
    let b_group = lane / 32u % eights * 8u + lane % 8u;

    load(of_a, rows_at + first_k * k_step);
    for (var k0 = first_k; k0 < end; k0 += DEPTH) {
        if along_k {
            transpose_block();
        }
        let k = k0 + 4u * q;
        staged[stage_at] = select(vec4<f32>(), block0, k < end);
        staged[stage_at + GROUPS] = select(vec4<f32>(), block1, k + 1u < end);
        staged[stage_at + 2u * GROUPS] = select(vec4<f32>(), block2, k + 2u < end);
        staged[stage_at + 3u * GROUPS] = select(vec4<f32>(), block3, k + 3u < end);
        workgroupBarrier();
        load(of_a, rows_at + (k0 + DEPTH) * k_step);
        multiply_staged(a_group, b_group);
        workgroupBarrier();
    }

    let row = first_row + 4u * a_group;
    let column = first_column + 4u * b_group;
    let c_base = params.c_offset + matrix * params.c_batch;
    store(row, column, c_base, left0);
    store(row + 1u, column, c_base, left1);
    store(row + 2u, column, c_base, left2);
    store(row + 3u, column, c_base, left3);
    if TALL {
        store(row + TILE / 2u, column, c_base, left4);
        store(row + TILE / 2u + 1u, column, c_base, left5);
        store(row + TILE / 2u + 2u, column, c_base, left6);
        store(row + TILE / 2u + 3u, column, c_base, left7);
    }
    if WIDE {
        let right = column + TILE / 2u;
        store(row, right, c_base, right0);
        store(row + 1u, right, c_base, right1);
        store(row + 2u, right, c_base, right2);
        store(row + 3u, right, c_base, right3);
        store(row + TILE / 2u, right, c_base, right4);
        store(row + TILE / 2u + 1u, right, c_base, right5);
        store(row + TILE / 2u + 2u, right, c_base, right6);
        store(row + TILE / 2u + 3u, right, c_base, right7);
    }
}
