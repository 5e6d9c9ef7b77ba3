// dz_t = (dh_t + dz_{t+1}·Whᵀ) ⊙ (1 − h_t²): several time steps of the recurrence's gradient, in
// place. For H that is a multiple of four, up to four times WORKGROUP_SIZE.
//
// grad is [T, N, H]: slot t holds dh of step t on entry and dz on return. hidden is [T + 1, N, H]
// with h of step t in slot t + 1. wh is [H, H]. A dispatch takes `steps` steps from first_step on
// backwards, a bounded number; for the last step of the window there is no dz_{t+1}.
//
// Work: rows do not depend on each other, so one workgroup takes 4 of them through all of the steps.
// One lane computes 4 columns of each in named accumulators. dz_{t+1}, which all lanes read, is in
// workgroup memory, twice: one is read while the other is written. Rows beyond the edge are clamped
// and not stored. Each sum is taken in ascending k by one lane, as in rnn_backward.wgsl: the order is
// fixed, and the result the same.

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

const ROWS: u32 = 4u; // of a workgroup
override WORKGROUP_SIZE: u32 = 128u; // vec4s of a row, at most

var<workgroup> state: array<vec4<f32>, 2u * ROWS * WORKGROUP_SIZE>;

/// Where a row of a slot begins.
fn row_of(slot: u32, row: u32) -> u32 {
    return (slot * params.batch + min(row, params.batch - 1u)) * (params.hidden / 4u);
}

/// dz of step t, also to where the step before it reads it.
fn store(t: u32, row: u32, column: u32, sum: vec4<f32>, next: u32) {
    let at = row_of(t, row) + column;
    let h = hidden[row_of(t + 1u, row) + column];
    let dz = (grad[at] + sum) * (vec4(1.0) - h * h);
    state[next + column] = dz;
    if row < params.batch {
        grad[at] = dz;
    }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) column: u32,
) {
    let across = params.hidden / 4u;
    let row = (params.first_workgroup + workgroup.x + workgroup.y * workgroups.x) * ROWS;
    if row >= params.batch {
        return;
    }
    let is_last = params.first_step + 1u == params.time_steps;
    if column < across && !is_last {
        for (var r = 0u; r < ROWS; r++) {
            let at = row_of(params.first_step + 1u, row + r) + column;
            state[r * WORKGROUP_SIZE + column] = grad[at];
        }
    }
    workgroupBarrier();
    // Whᵀ: dz_{t+1} meets rows of Wh.
    let w0_at = (column * 4u + 0u) * across;
    let w1_at = (column * 4u + 1u) * across;
    let w2_at = (column * 4u + 2u) * across;
    let w3_at = (column * 4u + 3u) * across;
    for (var step = 0u; step < params.steps; step++) {
        let previous = (step % 2u) * ROWS * WORKGROUP_SIZE;
        if column < across {
            var sum0 = vec4<f32>();
            var sum1 = vec4<f32>();
            var sum2 = vec4<f32>();
            var sum3 = vec4<f32>();
            if step > 0u || !is_last {
                for (var k = 0u; k < across; k++) {
                    let x0 = state[previous + 0u * WORKGROUP_SIZE + k];
                    let x1 = state[previous + 1u * WORKGROUP_SIZE + k];
                    let x2 = state[previous + 2u * WORKGROUP_SIZE + k];
                    let x3 = state[previous + 3u * WORKGROUP_SIZE + k];
                    let w0 = wh[w0_at + k];
                    let w1 = wh[w1_at + k];
                    let w2 = wh[w2_at + k];
                    let w3 = wh[w3_at + k];
                    let wx = vec4(w0.x, w1.x, w2.x, w3.x);
                    sum0 = fma(vec4(x0.x), wx, sum0);
                    sum1 = fma(vec4(x1.x), wx, sum1);
                    sum2 = fma(vec4(x2.x), wx, sum2);
                    sum3 = fma(vec4(x3.x), wx, sum3);
                    let wy = vec4(w0.y, w1.y, w2.y, w3.y);
                    sum0 = fma(vec4(x0.y), wy, sum0);
                    sum1 = fma(vec4(x1.y), wy, sum1);
                    sum2 = fma(vec4(x2.y), wy, sum2);
                    sum3 = fma(vec4(x3.y), wy, sum3);
                    let wz = vec4(w0.z, w1.z, w2.z, w3.z);
                    sum0 = fma(vec4(x0.z), wz, sum0);
                    sum1 = fma(vec4(x1.z), wz, sum1);
                    sum2 = fma(vec4(x2.z), wz, sum2);
                    sum3 = fma(vec4(x3.z), wz, sum3);
                    let ww = vec4(w0.w, w1.w, w2.w, w3.w);
                    sum0 = fma(vec4(x0.w), ww, sum0);
                    sum1 = fma(vec4(x1.w), ww, sum1);
                    sum2 = fma(vec4(x2.w), ww, sum2);
                    sum3 = fma(vec4(x3.w), ww, sum3);
                }
            }
            let t = params.first_step - step;
            let next = ROWS * WORKGROUP_SIZE - previous;
            store(t, row + 0u, column, sum0, next + 0u * WORKGROUP_SIZE);
            store(t, row + 1u, column, sum1, next + 1u * WORKGROUP_SIZE);
            store(t, row + 2u, column, sum2, next + 2u * WORKGROUP_SIZE);
            store(t, row + 3u, column, sum3, next + 3u * WORKGROUP_SIZE);
        }
        workgroupBarrier();
    }
}
