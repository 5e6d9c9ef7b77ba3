// partials[s, c] = Σ dout[r, first_column + c] over the rows r of segment s: the first of two levels of
// dtable[v, :] = Σ dout[r, :] over the rows that hold token v.
//
// Scatter-add turned into a gather, so that no atomic is needed: positions holds the rows sorted by
// token, and positions[starts[s] .. starts[s + 1]] is a segment of at most 32 rows of one token, in
// ascending order, as cut by the host. There is room for `segments` of them; those not needed are
// empty, and nothing reads their sums.
// dout is [rows, dim], starts [segments + 1], partials [segments, columns]: of as many columns from
// first_column on as one binding has room for. Columns are Elements: of one f32 or, where rows are whole
// vec4s, of four.
//
// Work: one lane an Element of partials, which sums in ascending r: the order is fixed.

struct Params {
    segments: u32,
    dim: u32,
    first_column: u32,
    columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dout: array<Element>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> positions: array<u32>;
@group(0) @binding(4) var<storage, read_write> partials: array<Element>;

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP_SIZE + lane;
    if i >= params.segments * params.columns {
        return;
    }
    let segment = i / params.columns;
    let column = params.first_column + i % params.columns;
    let start = starts[segment];
    let end = starts[segment + 1u];
    if start == end {
        return;
    }
    var sum = Element();
    for (var at = start; at < end; at++) {
        sum += dout[positions[at] * params.dim + column];
    }
    partials[i] = sum;
}
