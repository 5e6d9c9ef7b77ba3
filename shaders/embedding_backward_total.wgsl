// dtable[v, first_column + c] = Σ partials[s, c] over the segments s of token v; 0 where there is none: the second of
// two levels.
//
// The segments of token v are of_token[v] .. of_token[v + 1].
// partials is [segments, columns], of the columns from first_column on, of_token [V + 1]. dtable is
// [tokens, dim] from out_offset on: the rows of the tokens from first_token on. Columns, dim and
// out_offset are in Elements: of one f32 or, where rows are whole vec4s, of four.
//
// Work: one lane an Element of dtable, which sums in ascending s: the order is fixed.

struct Params {
    tokens: u32,
    dim: u32,
    first_token: u32,
    first_column: u32,
    columns: u32,
    out_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partials: array<Element>;
@group(0) @binding(2) var<storage, read> of_token: array<u32>;
@group(0) @binding(3) var<storage, read_write> dtable: array<Element>;

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP_SIZE + lane;
    if i >= params.tokens * params.columns {
        return;
    }
    let row = i / params.columns;
    let column = i % params.columns;
    let token = params.first_token + row;
    let end = of_token[token + 1u];
    var sum = Element();
    for (var segment = of_token[token]; segment < end; segment++) {
        sum += partials[segment * params.columns + column];
    }
    let at = params.out_offset + row * params.dim + params.first_column + column;
    dtable[at] = sum;
}
