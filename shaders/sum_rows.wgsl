// out[c] = Σ_r x[r, c] (+ out[c]): the sum of the rows.
//
// x is [rows, cols] from offset on, out [cols].
//
// Work: one workgroup sums 32 columns with 8 lanes a column; lane g of a column takes rows
// g, g + 8, …, and the 8 sums are added in ascending order: the order is fixed.

struct Params {
    offset: u32,
    rows: u32,
    cols: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

const COLUMNS: u32 = 32u;
const LANES_A_COLUMN: u32 = 8u;

var<workgroup> sums: array<f32, 256>; // [LANES_A_COLUMN, COLUMNS]

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = (workgroup.x + workgroup.y * workgroups.x) * COLUMNS + lane % COLUMNS;
    var sum = 0.0;
    if column < params.cols {
        for (var r = lane / COLUMNS; r < params.rows; r += LANES_A_COLUMN) {
            sum += x[params.offset + r * params.cols + column];
        }
    }
    sums[lane] = sum;
    workgroupBarrier();
    if lane < COLUMNS && column < params.cols {
        for (var g = 1u; g < LANES_A_COLUMN; g++) {
            sum += sums[g * COLUMNS + lane];
        }
        if params.accumulate != 0u {
            sum += out[column];
        }
        out[column] = sum;
    }
}
