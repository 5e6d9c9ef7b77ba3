// dtable[v, :] = Σ dout[r, :] over the rows r that hold token v; 0 where there is none.
//
// Scatter-add turned into a gather, so that no atomic is needed: positions[row_starts[v] ..
// row_starts[v + 1]] are the rows that hold token v, in ascending order, as sorted by the host.
// dout is [rows, dim], row_starts [V + 1], dtable [V, dim].
//
// Work: one lane an element of dtable, which sums in ascending r: the order is fixed.

struct Params {
    vocab: u32,
    dim: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dout: array<f32>;
@group(0) @binding(2) var<storage, read> row_starts: array<u32>;
@group(0) @binding(3) var<storage, read> positions: array<u32>;
@group(0) @binding(4) var<storage, read_write> dtable: array<f32>;

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP_SIZE + lane;
    if i >= params.vocab * params.dim {
        return;
    }
    let token = i / params.dim;
    let column = i % params.dim;
    let end = row_starts[token + 1u];
    var sum = 0.0;
    for (var at = row_starts[token]; at < end; at++) {
        sum += dout[positions[at] * params.dim + column];
    }
    dtable[i] = sum;
}
