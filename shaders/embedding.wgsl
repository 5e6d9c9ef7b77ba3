// out[r, :] = table[ids[r], :]: a row of the table for each token.
//
// table is [tokens, dim]: the rows of the tokens from first_token on. ids is [rows], out [rows, dim]
// from out_offset on; rows of other tokens are left alone. dim and out_offset are in Elements: of one
// f32 or, where rows are whole vec4s, of four.
//
// Work: one lane an Element of out.

struct Params {
    rows: u32,
    dim: u32,
    out_offset: u32,
    first_token: u32,
    tokens: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<Element>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<Element>;

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP_SIZE + lane;
    if i < params.rows * params.dim {
        let token = ids[i / params.dim] - params.first_token; // of a token before, more than there are
        if token < params.tokens {
            out[params.out_offset + i] = table[token * params.dim + i % params.dim];
        }
    }
}
