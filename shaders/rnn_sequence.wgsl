// h_t = tanh(z_t + h_{t−1}·Wh): several time steps of the recurrence, in place. For H that is a
// multiple of four, up to four times WORKGROUP_SIZE.
//
// hidden is [T + 1, N, H]: slot 0 the initial state, slot t + 1 holds z of step t on entry and h on
// return. wh is [H, H]. A dispatch takes `steps` steps from first_step on, a bounded number.
//
// Work: rows do not depend on each other, so one workgroup takes 4 of them through all of the steps.
// One lane computes 4 columns of each in named accumulators. The h of the last step, which all lanes
// read, is in workgroup memory, twice: one is read while the other is written. Rows beyond the edge
// are clamped and not stored. Each sum is taken in ascending k by one lane, as in rnn.wgsl: the order
// is fixed, and the result the same.

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

const ROWS: u32 = 4u; // of a workgroup
override WORKGROUP_SIZE: u32 = 128u; // vec4s of a row, at most

var<workgroup> state: array<vec4<f32>, 2u * ROWS * WORKGROUP_SIZE>;

/// Where a row of a slot begins.
fn row_of(slot: u32, row: u32) -> u32 {
    return (slot * params.batch + min(row, params.batch - 1u)) * (params.hidden / 4u);
}

/// h of step t, also to where the next step reads it.
fn store(t: u32, row: u32, column: u32, sum: vec4<f32>, next: u32) {
    let at = row_of(t + 1u, row) + column;
    let z = hidden[at] + sum;
    let h = vec4(stable_tanh(z.x), stable_tanh(z.y), stable_tanh(z.z), stable_tanh(z.w));
    state[next + column] = h;
    if row < params.batch {
        hidden[at] = h;
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
    if column < across {
        for (var r = 0u; r < ROWS; r++) {
            let at = row_of(params.first_step, row + r) + column;
            state[r * WORKGROUP_SIZE + column] = hidden[at];
        }
    }
    workgroupBarrier();
    for (var step = 0u; step < params.steps; step++) {
        let previous = (step % 2u) * ROWS * WORKGROUP_SIZE;
        if column < across {
            var sum0 = vec4<f32>();
            var sum1 = vec4<f32>();
            var sum2 = vec4<f32>();
            var sum3 = vec4<f32>();
            for (var k = 0u; k < across; k++) {
                let x0 = state[previous + 0u * WORKGROUP_SIZE + k];
                let x1 = state[previous + 1u * WORKGROUP_SIZE + k];
                let x2 = state[previous + 2u * WORKGROUP_SIZE + k];
                let x3 = state[previous + 3u * WORKGROUP_SIZE + k];
                let wx = wh[(k * 4u + 0u) * across + column];
                let wy = wh[(k * 4u + 1u) * across + column];
                let wz = wh[(k * 4u + 2u) * across + column];
                let ww = wh[(k * 4u + 3u) * across + column];
                sum0 = fma(vec4(x0.x), wx, sum0);
                sum1 = fma(vec4(x1.x), wx, sum1);
                sum2 = fma(vec4(x2.x), wx, sum2);
                sum3 = fma(vec4(x3.x), wx, sum3);
                sum0 = fma(vec4(x0.y), wy, sum0);
                sum1 = fma(vec4(x1.y), wy, sum1);
                sum2 = fma(vec4(x2.y), wy, sum2);
                sum3 = fma(vec4(x3.y), wy, sum3);
                sum0 = fma(vec4(x0.z), wz, sum0);
                sum1 = fma(vec4(x1.z), wz, sum1);
                sum2 = fma(vec4(x2.z), wz, sum2);
                sum3 = fma(vec4(x3.z), wz, sum3);
                sum0 = fma(vec4(x0.w), ww, sum0);
                sum1 = fma(vec4(x1.w), ww, sum1);
                sum2 = fma(vec4(x2.w), ww, sum2);
                sum3 = fma(vec4(x3.w), ww, sum3);
            }
            let t = params.first_step + step;
            let next = ROWS * WORKGROUP_SIZE - previous;
            store(t, row + 0u, column, sum0, next + 0u * WORKGROUP_SIZE);
            store(t, row + 1u, column, sum1, next + 1u * WORKGROUP_SIZE);
            store(t, row + 2u, column, sum2, next + 2u * WORKGROUP_SIZE);
            store(t, row + 3u, column, sum3, next + 3u * WORKGROUP_SIZE);
        }
        workgroupBarrier();
    }
}
