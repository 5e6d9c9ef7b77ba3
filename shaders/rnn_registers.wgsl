// h_t = tanh(z_t + h_{t−1}·Wh): one time step of the recurrence, in place. For CPU adapters, and for
// H that is a multiple of four.
//
// hidden is [T + 1, N, H]: slot 0 the initial state, slot t + 1 holds z of step t on entry and h on
// return. wh is [H, H]. One dispatch a time step: the next one sees what this one wrote.
//
// Work: one lane computes 4 rows by 16 columns of h_t in sixteen named accumulators; tiles are
// numbered along the columns first. Everything is read as vec4s: a load costs a loop over the lanes
// on lavapipe, whatever its width. Rows beyond the edge are clamped, columns beyond it read what
// follows; neither is stored. Each sum is taken in ascending k by one lane: the order is fixed.

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

const ROWS: u32 = 4u; // of a lane's tile
const COLUMNS: u32 = 4u; // of a lane's tile, in vec4s
override WORKGROUP_SIZE: u32 = 16u;

fn stable_tanh(x: f32) -> f32 {
    let s = x * x;
    var p = -5.70498872745e-3;
    p = p * s + 2.06390887954e-2;
    p = p * s - 5.37397155531e-2;
    p = p * s + 1.33314422036e-1;
    p = p * s - 3.33332819422e-1;
    let small = p * s * x + x;
    let a = min(abs(x), 15.0);
    let large = sign(x) * (1.0 - 2.0 / (exp(2.0 * a) + 1.0));
    return select(small, large, a >= 0.625);
}

fn store(row: u32, column: u32, sum: vec4<f32>) {
    let across = params.hidden / 4u;
    if row >= params.batch || column >= across {
        return;
    }
    let at = ((params.first_step + 1u) * params.batch + row) * across + column;
    let z = hidden[at] + sum;
    hidden[at] = vec4(stable_tanh(z.x), stable_tanh(z.y), stable_tanh(z.z), stable_tanh(z.w));
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
    // h_{t−1} and Wh: rows of the one meet columns of the other.
    let previous = params.first_step * params.batch * across;
    let x0_at = previous + min(row + 0u, last_row) * across;
    let x1_at = previous + min(row + 1u, last_row) * across;
    let x2_at = previous + min(row + 2u, last_row) * across;
    let x3_at = previous + min(row + 3u, last_row) * across;
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
    for (var k = 0u; k < across; k++) {
        let x0 = hidden[x0_at + k];
        let x1 = hidden[x1_at + k];
        let x2 = hidden[x2_at + k];
        let x3 = hidden[x3_at + k];
        let at0 = (k * 4u + 0u) * across + column;
        let wx0 = wh[at0 + 0u];
        let wx1 = wh[at0 + 1u];
        let wx2 = wh[at0 + 2u];
        let wx3 = wh[at0 + 3u];
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
        let at1 = (k * 4u + 1u) * across + column;
        let wy0 = wh[at1 + 0u];
        let wy1 = wh[at1 + 1u];
        let wy2 = wh[at1 + 2u];
        let wy3 = wh[at1 + 3u];
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
        let at2 = (k * 4u + 2u) * across + column;
        let wz0 = wh[at2 + 0u];
        let wz1 = wh[at2 + 1u];
        let wz2 = wh[at2 + 2u];
        let wz3 = wh[at2 + 3u];
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
        let at3 = (k * 4u + 3u) * across + column;
        let ww0 = wh[at3 + 0u];
        let ww1 = wh[at3 + 1u];
        let ww2 = wh[at3 + 2u];
        let ww3 = wh[at3 + 3u];
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
