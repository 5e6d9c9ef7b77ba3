// Of the kernels in which a subgroup of eight lanes computes a tile of a product: sums of 32 rows by 64
// columns. Rows are in blocks of eight; each lane has eight columns side by side, in two halves. A kernel's own
// file says what is multiplied and where the sums go:
//
//   left_rows(block, k): four k's from k on of a block's rows of the left operand
//   right_columns(k): the same k's of a lane's columns of the right operand
//   store_rows(first_row, column, left, right): a block's sums, of its first row and a lane's first column. It counts
//     by the rows' own numbers: a loop from 0 to at most 8 Mesa would unroll, and compile for half as long again
//
// A load costs a loop over the lanes on lavapipe, whatever its width, and a broadcast one instruction: so
// one load brings four k's of eight rows of the left operand, a row to each lane, which are then broadcast.
// Each row of a block has a variable: an indexed array would stay in memory there.

const LANES: u32 = 8u;
const BLOCK: u32 = 8u;
const LANE_COLUMNS: u32 = 8u;
const TILE_ROWS: u32 = 4u * BLOCK;
const TILE_COLUMNS: u32 = LANES * LANE_COLUMNS;
// Has the result so many rows? Else the blocks behind them are left out. True where the host does not say.
override OVER_8_ROWS: bool = true;
override OVER_16_ROWS: bool = true;

// Of each row of a block: four k's of the left operand, or the sums of half of a lane's columns.
struct Rows {
    r0: vec4<f32>,
    r1: vec4<f32>,
    r2: vec4<f32>,
    r3: vec4<f32>,
    r4: vec4<f32>,
    r5: vec4<f32>,
    r6: vec4<f32>,
    r7: vec4<f32>,
}

// Four vec4s: of four columns of a lane, one for each of four k's or one for each column.
struct Four {
    v0: vec4<f32>,
    v1: vec4<f32>,
    v2: vec4<f32>,
    v3: vec4<f32>,
}

// Of four k's, both halves of a lane's columns.
struct Columns {
    left: Four,
    right: Four,
}

fn tiles_across(columns: u32) -> u32 {
    return (columns + TILE_COLUMNS - 1u) / TILE_COLUMNS;
}

// Of a tile, the first row and this lane's first column. Tiles are numbered along the columns first.
fn place_of_tile(tile: u32, columns: u32, lane: u32) -> vec2<u32> {
    let across = tiles_across(columns);
    return vec2(tile / across * TILE_ROWS, tile % across * TILE_COLUMNS + lane * LANE_COLUMNS);
}

// The rows of a block, of which each lane has one.
fn rows_of_lanes(x: vec4<f32>) -> Rows {
    return Rows(
        subgroupBroadcast(x, 0u),
        subgroupBroadcast(x, 1u),
        subgroupBroadcast(x, 2u),
        subgroupBroadcast(x, 3u),
        subgroupBroadcast(x, 4u),
        subgroupBroadcast(x, 5u),
        subgroupBroadcast(x, 6u),
        subgroupBroadcast(x, 7u),
    );
}

// sum + Σ x[k]·w[k] over four k's, in ascending order.
fn multiply_add(x: vec4<f32>, w: Four, sum: vec4<f32>) -> vec4<f32> {
    let half = fma(vec4(x.y), w.v1, fma(vec4(x.x), w.v0, sum));
    return fma(vec4(x.w), w.v3, fma(vec4(x.z), w.v2, half));
}

fn add_product(sums: ptr<function, Rows>, x: Rows, w: Four) {
    (*sums).r0 = multiply_add(x.r0, w, (*sums).r0);
    (*sums).r1 = multiply_add(x.r1, w, (*sums).r1);
    (*sums).r2 = multiply_add(x.r2, w, (*sums).r2);
    (*sums).r3 = multiply_add(x.r3, w, (*sums).r3);
    (*sums).r4 = multiply_add(x.r4, w, (*sums).r4);
    (*sums).r5 = multiply_add(x.r5, w, (*sums).r5);
    (*sums).r6 = multiply_add(x.r6, w, (*sums).r6);
    (*sums).r7 = multiply_add(x.r7, w, (*sums).r7);
}

// Sums the tile that begins at a row, and for this lane at a column, over the k's from first_k to `end`.
fn compute_tile(row: u32, column: u32, first_k: u32, end: u32) {
    // Of blocks 0 to 3, in the left and in the right half.
    var left0: Rows;
    var left1: Rows;
    var left2: Rows;
    var left3: Rows;
    var right0: Rows;
    var right1: Rows;
    var right2: Rows;
    var right3: Rows;
    for (var k = first_k; k < end; k += 4u) {
        let w = right_columns(k);
        let x0 = left_rows(0u, k);
        add_product(&left0, x0, w.left);
        add_product(&right0, x0, w.right);
        if OVER_8_ROWS {
            let x1 = left_rows(1u, k);
            add_product(&left1, x1, w.left);
            add_product(&right1, x1, w.right);
            if OVER_16_ROWS {
                let x2 = left_rows(2u, k);
                add_product(&left2, x2, w.left);
                add_product(&right2, x2, w.right);
                let x3 = left_rows(3u, k);
                add_product(&left3, x3, w.left);
                add_product(&right3, x3, w.right);
            }
        }
    }
    // In a loop: four times over, the stores would be most of what there is to compile. Of blocks that were left out
    // there are no rows to store.
    for (var block = 0u; block < TILE_ROWS / BLOCK; block++) {
        let left = block_of(block, left0, left1, left2, left3);
        let right = block_of(block, right0, right1, right2, right3);
        store_rows(row + block * BLOCK, column, left, right);
    }
}

// Block 0, 1, 2 or 3 of a tile.
fn block_of(block: u32, rows0: Rows, rows1: Rows, rows2: Rows, rows3: Rows) -> Rows {
    let odd = block % 2u == 1u;
    return either(either(rows0, rows1, odd), either(rows2, rows3, odd), block >= 2u);
}

fn either(x: Rows, y: Rows, second: bool) -> Rows {
    return Rows(
        select(x.r0, y.r0, second),
        select(x.r1, y.r1, second),
        select(x.r2, y.r2, second),
        select(x.r3, y.r3, second),
        select(x.r4, y.r4, second),
        select(x.r5, y.r5, second),
        select(x.r6, y.r6, second),
        select(x.r7, y.r7, second),
    );
}

// Row i of a block, for loops over what is stored: eight stores would be most of what there is to compile.
fn row_of(rows: Rows, i: u32) -> vec4<f32> {
    let low = select(select(rows.r0, rows.r1, i == 1u), select(rows.r2, rows.r3, i == 3u), i >= 2u);
    let high = select(select(rows.r4, rows.r5, i == 5u), select(rows.r6, rows.r7, i == 7u), i >= 6u);
    return select(low, high, i >= 4u);
}
