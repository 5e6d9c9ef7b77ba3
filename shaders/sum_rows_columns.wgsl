// out[c] = Σ_r x[r, c] (+ out[c]): the sum of the rows.
//
// For CPU adapters: no barrier, no lane that waits for another, and four columns a load, which costs a loop
// over the lanes on lavapipe, whatever its width.
//
// x is [rows, cols] from offset on, out [cols].
//
// Work: one lane four columns side by side. Rows are summed in ascending order, BLOCK at a time, and the sums
// of blocks in ascending order: the order is fixed, and errors stay small for many rows. Columns beyond the
// edge read what follows, and are not stored.

struct Params {
    offset: u32,
    rows: u32,
    cols: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

override WORKGROUP_SIZE: u32 = 8u;
override BLOCK: u32 = 32u;
// Does every row begin at a multiple of four elements?
override ALIGNED: bool = false;

fn columns_of_row(row: u32, column: u32) -> vec4<f32> {
    let place = params.offset + row * params.cols + column;
    let low = x[place / 4u];
    if ALIGNED {
        return low;
    }
    return shifted(low, x[place / 4u + 1u], place % 4u);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = ((workgroup.x + workgroup.y * workgroups.x) * WORKGROUP_SIZE + lane) * 4u;
    if column >= params.cols {
        return;
    }
    var sums = vec4<f32>();
    for (var block = 0u; block < params.rows; block += BLOCK) {
        let block_end = min(block + BLOCK, params.rows);
        var block_sums = vec4<f32>();
        for (var row = block; row < block_end; row++) {
            block_sums += columns_of_row(row, column);
        }
        sums += block_sums;
    }
    let columns = min(4u, params.cols - column);
    for (var c = 0u; c < columns; c++) {
        if params.accumulate != 0u {
            sums[c] += out[column + c];
        }
        out[column + c] = sums[c];
    }
}
