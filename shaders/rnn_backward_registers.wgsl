// dz_t = (dh_t + dz_{t+1}·Whᵀ) ⊙ (1 − h_t²): one time step of the recurrence's gradient, in place.
// For CPU adapters, and for H that is a multiple of four.
//
// grad is [T, N, H]: slot t holds dh of step t on entry and dz on return. hidden is [T + 1, N, H]
// with h of step t in slot t + 1. wh is [H, H]. One dispatch a time step, the last step first;
// for the last there is no dz_{t+1}.
//
// Work: one lane computes 4 rows by 16 columns of dz_t in sixteen named accumulators; tiles are
// numbered along the columns first. Everything is read as vec4s: a load costs a loop over the lanes
// on lavapipe, whatever its width. What is beyond the edge is clamped and not stored.
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

const ROWS: u32 = 4u; // of a lane's tile
const COLUMNS: u32 = 4u; // of a lane's tile, in vec4s
override WORKGROUP_SIZE: u32 = 16u;

fn store(row: u32, column: u32, sum: vec4<f32>) {
    let across = params.hidden / 4u;
    if row >= params.batch || column >= across {
        return;
    }
    let at = (params.first_step * params.batch + row) * across + column;
    let h = hidden[at + params.batch * across];
    grad[at] = (grad[at] + sum) * (vec4(1.0) - h * h);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let across = params.hidden / 4u;
    let tiles_across = (across + COLUMNS - 1u) / COLUMNS;
    let tile = (params.first_workgroup + workgroup.x + workgroup.y * workgroups.x) * WORKGROUP_SIZE + lane;
    let row = (tile / tiles_across) * ROWS;
    let column = (tile % tiles_across) * COLUMNS;
    if row >= params.batch {
        return;
    }
    let last_row = params.batch - 1u;
    // dz_{t+1} and Whᵀ: rows of the one meet rows of Wh.
    let next = (params.first_step + 1u) * params.batch * across;
    let x0_at = next + min(row + 0u, last_row) * across;
    let x1_at = next + min(row + 1u, last_row) * across;
    let x2_at = next + min(row + 2u, last_row) * across;
    let x3_at = next + min(row + 3u, last_row) * across;
    let last_column = params.hidden - 1u;
    let w0_at = min(column * 4u + 0u, last_column) * across;
    let w1_at = min(column * 4u + 1u, last_column) * across;
    let w2_at = min(column * 4u + 2u, last_column) * across;
    let w3_at = min(column * 4u + 3u, last_column) * across;
    let w4_at = min(column * 4u + 4u, last_column) * across;
    let w5_at = min(column * 4u + 5u, last_column) * across;
    let w6_at = min(column * 4u + 6u, last_column) * across;
    let w7_at = min(column * 4u + 7u, last_column) * across;
    let w8_at = min(column * 4u + 8u, last_column) * across;
    let w9_at = min(column * 4u + 9u, last_column) * across;
    let w10_at = min(column * 4u + 10u, last_column) * across;
    let w11_at = min(column * 4u + 11u, last_column) * across;
    let w12_at = min(column * 4u + 12u, last_column) * across;
    let w13_at = min(column * 4u + 13u, last_column) * across;
    let w14_at = min(column * 4u + 14u, last_column) * across;
    let w15_at = min(column * 4u + 15u, last_column) * across;
    var sum0_0 = vec4<f32>();
    var sum0_1 = vec4<f32>();
    var sum0_2 = vec4<f32>();
    var sum0_3 = vec4<f32>();
    var sum1_0 = vec4<f32>();
    var sum1_1 = vec4<f32>();
    var sum1_2 = vec4<f32>();
    var sum1_3 = vec4<f32>();
    var sum2_0 = vec4<f32>();
    var sum2_1 = vec4<f32>();
    var sum2_2 = vec4<f32>();
    var sum2_3 = vec4<f32>();
    var sum3_0 = vec4<f32>();
    var sum3_1 = vec4<f32>();
    var sum3_2 = vec4<f32>();
    var sum3_3 = vec4<f32>();
    if params.first_step + 1u < params.time_steps {
        for (var k = 0u; k < across; k++) {
            let x0 = grad[x0_at + k];
            let x1 = grad[x1_at + k];
            let x2 = grad[x2_at + k];
            let x3 = grad[x3_at + k];
            let w0 = wh[w0_at + k];
            let w1 = wh[w1_at + k];
            let w2 = wh[w2_at + k];
            let w3 = wh[w3_at + k];
            let w4 = wh[w4_at + k];
            let w5 = wh[w5_at + k];
            let w6 = wh[w6_at + k];
            let w7 = wh[w7_at + k];
            let w8 = wh[w8_at + k];
            let w9 = wh[w9_at + k];
            let w10 = wh[w10_at + k];
            let w11 = wh[w11_at + k];
            let w12 = wh[w12_at + k];
            let w13 = wh[w13_at + k];
            let w14 = wh[w14_at + k];
            let w15 = wh[w15_at + k];
            let wx0 = vec4(w0.x, w1.x, w2.x, w3.x);
            let wx1 = vec4(w4.x, w5.x, w6.x, w7.x);
            let wx2 = vec4(w8.x, w9.x, w10.x, w11.x);
            let wx3 = vec4(w12.x, w13.x, w14.x, w15.x);
            sum0_0 = fma(vec4(x0.x), wx0, sum0_0);
            sum0_1 = fma(vec4(x0.x), wx1, sum0_1);
            sum0_2 = fma(vec4(x0.x), wx2, sum0_2);
            sum0_3 = fma(vec4(x0.x), wx3, sum0_3);
            sum1_0 = fma(vec4(x1.x), wx0, sum1_0);
            sum1_1 = fma(vec4(x1.x), wx1, sum1_1);
            sum1_2 = fma(vec4(x1.x), wx2, sum1_2);
            sum1_3 = fma(vec4(x1.x), wx3, sum1_3);
            sum2_0 = fma(vec4(x2.x), wx0, sum2_0);
            sum2_1 = fma(vec4(x2.x), wx1, sum2_1);
            sum2_2 = fma(vec4(x2.x), wx2, sum2_2);
            sum2_3 = fma(vec4(x2.x), wx3, sum2_3);
            sum3_0 = fma(vec4(x3.x), wx0, sum3_0);
            sum3_1 = fma(vec4(x3.x), wx1, sum3_1);
            sum3_2 = fma(vec4(x3.x), wx2, sum3_2);
            sum3_3 = fma(vec4(x3.x), wx3, sum3_3);
            let wy0 = vec4(w0.y, w1.y, w2.y, w3.y);
            let wy1 = vec4(w4.y, w5.y, w6.y, w7.y);
            let wy2 = vec4(w8.y, w9.y, w10.y, w11.y);
            let wy3 = vec4(w12.y, w13.y, w14.y, w15.y);
            sum0_0 = fma(vec4(x0.y), wy0, sum0_0);
            sum0_1 = fma(vec4(x0.y), wy1, sum0_1);
            sum0_2 = fma(vec4(x0.y), wy2, sum0_2);
            sum0_3 = fma(vec4(x0.y), wy3, sum0_3);
            sum1_0 = fma(vec4(x1.y), wy0, sum1_0);
            sum1_1 = fma(vec4(x1.y), wy1, sum1_1);
            sum1_2 = fma(vec4(x1.y), wy2, sum1_2);
            sum1_3 = fma(vec4(x1.y), wy3, sum1_3);
            sum2_0 = fma(vec4(x2.y), wy0, sum2_0);
            sum2_1 = fma(vec4(x2.y), wy1, sum2_1);
            sum2_2 = fma(vec4(x2.y), wy2, sum2_2);
            sum2_3 = fma(vec4(x2.y), wy3, sum2_3);
            sum3_0 = fma(vec4(x3.y), wy0, sum3_0);
            sum3_1 = fma(vec4(x3.y), wy1, sum3_1);
            sum3_2 = fma(vec4(x3.y), wy2, sum3_2);
            sum3_3 = fma(vec4(x3.y), wy3, sum3_3);
            let wz0 = vec4(w0.z, w1.z, w2.z, w3.z);
            let wz1 = vec4(w4.z, w5.z, w6.z, w7.z);
            let wz2 = vec4(w8.z, w9.z, w10.z, w11.z);
            let wz3 = vec4(w12.z, w13.z, w14.z, w15.z);
            sum0_0 = fma(vec4(x0.z), wz0, sum0_0);
            sum0_1 = fma(vec4(x0.z), wz1, sum0_1);
            sum0_2 = fma(vec4(x0.z), wz2, sum0_2);
            sum0_3 = fma(vec4(x0.z), wz3, sum0_3);
            sum1_0 = fma(vec4(x1.z), wz0, sum1_0);
            sum1_1 = fma(vec4(x1.z), wz1, sum1_1);
            sum1_2 = fma(vec4(x1.z), wz2, sum1_2);
            sum1_3 = fma(vec4(x1.z), wz3, sum1_3);
            sum2_0 = fma(vec4(x2.z), wz0, sum2_0);
            sum2_1 = fma(vec4(x2.z), wz1, sum2_1);
            sum2_2 = fma(vec4(x2.z), wz2, sum2_2);
            sum2_3 = fma(vec4(x2.z), wz3, sum2_3);
            sum3_0 = fma(vec4(x3.z), wz0, sum3_0);
            sum3_1 = fma(vec4(x3.z), wz1, sum3_1);
            sum3_2 = fma(vec4(x3.z), wz2, sum3_2);
            sum3_3 = fma(vec4(x3.z), wz3, sum3_3);
            let ww0 = vec4(w0.w, w1.w, w2.w, w3.w);
            let ww1 = vec4(w4.w, w5.w, w6.w, w7.w);
            let ww2 = vec4(w8.w, w9.w, w10.w, w11.w);
            let ww3 = vec4(w12.w, w13.w, w14.w, w15.w);
            sum0_0 = fma(vec4(x0.w), ww0, sum0_0);
            sum0_1 = fma(vec4(x0.w), ww1, sum0_1);
            sum0_2 = fma(vec4(x0.w), ww2, sum0_2);
            sum0_3 = fma(vec4(x0.w), ww3, sum0_3);
            sum1_0 = fma(vec4(x1.w), ww0, sum1_0);
            sum1_1 = fma(vec4(x1.w), ww1, sum1_1);
            sum1_2 = fma(vec4(x1.w), ww2, sum1_2);
            sum1_3 = fma(vec4(x1.w), ww3, sum1_3);
            sum2_0 = fma(vec4(x2.w), ww0, sum2_0);
            sum2_1 = fma(vec4(x2.w), ww1, sum2_1);
            sum2_2 = fma(vec4(x2.w), ww2, sum2_2);
            sum2_3 = fma(vec4(x2.w), ww3, sum2_3);
            sum3_0 = fma(vec4(x3.w), ww0, sum3_0);
            sum3_1 = fma(vec4(x3.w), ww1, sum3_1);
            sum3_2 = fma(vec4(x3.w), ww2, sum3_2);
            sum3_3 = fma(vec4(x3.w), ww3, sum3_3);
        }
    }
    store(row, column, sum0_0);
    store(row, column + 1u, sum0_1);
    store(row, column + 2u, sum0_2);
    store(row, column + 3u, sum0_3);
    store(row + 1u, column, sum1_0);
    store(row + 1u, column + 1u, sum1_1);
    store(row + 1u, column + 2u, sum1_2);
    store(row + 1u, column + 3u, sum1_3);
    store(row + 2u, column, sum2_0);
    store(row + 2u, column + 1u, sum2_1);
    store(row + 2u, column + 2u, sum2_2);
    store(row + 2u, column + 3u, sum2_3);
    store(row + 3u, column, sum3_0);
    store(row + 3u, column + 1u, sum3_1);
    store(row + 3u, column + 2u, sum3_2);
    store(row + 3u, column + 3u, sum3_3);
}
