// The sum of the partial products of a matrix product that was cut along k.
//
//   c[i, j] = Σ_p parts[p, i, j] + bias[j] (+ c[i, j])
//
// Parts is [count, m, n], C is [m, n] row-major, c_row elements a row.
//
// Work: one lane an element of C, in ascending p: the order is fixed.

struct Params {
    m: u32,
    n: u32,
    count: u32,
    c_offset: u32,
    c_row: u32,
    has_bias: u32,
    bias_offset: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP_SIZE + lane;
    let len = params.m * params.n;
    if i >= len {
        return;
    }
    let at = params.c_offset + i / params.n * params.c_row + i % params.n;
    var sum = parts[i];
    for (var p = 1u; p < params.count; p++) {
        sum += parts[p * len + i];
    }
    if params.has_bias != 0u {
        sum += bias[params.bias_offset + i % params.n];
    }
    if params.accumulate != 0u {
        sum += c[at];
    }
    c[at] = sum;
}
