//! Host side of `sum_rows.wgsl` and `sum_rows_columns.wgsl` (for adapters that compute on the CPU): a bias
//! gradient.

use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Access, Kernel, params, wgsl};
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::{Matrix, Write, check};

params! {
    /// See `shaders/sum_rows.wgsl`; of both kernels.
    Params {
        offset: u32,
        rows: u32,
        cols: u32,
        accumulate: u32,
    }
}

/// Columns that a workgroup sums.
const COLUMNS: usize = 32;
/// Lanes that share a column.
pub const LANES_A_COLUMN: usize = 8;
/// Lanes of a workgroup that have four columns each.
const LANES_OF_FOUR: usize = COLUMNS / 4;
/// Rows that such a lane sums before it adds them to those before.
pub const BLOCK: usize = 32;
/// Most rows that a lane takes in a dispatch: lavapipe ends an invocation's loops after 65,535 iterations
/// in all, without a word.
const MAX_ROWS: usize = 1 << 15;

const BINDINGS: &[(&str, Access)] = &[("x", Read), ("out", ReadWrite)];

static SHARED: Kernel = Kernel::new::<Params>("sum_rows", wgsl!("sum_rows"), BINDINGS, &[]);
static BY_COLUMNS: Kernel = Kernel::new::<Params>(
    "sum_rows_columns",
    wgsl!("sum_rows_columns", "shifted"),
    BINDINGS,
    &[
        ("WORKGROUP_SIZE", LANES_OF_FOUR as f64),
        ("BLOCK", BLOCK as f64),
    ],
)
.with_switches(&["ALIGNED"]);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&SHARED, &BY_COLUMNS];

/// See [`crate::ops::Ops::sum_rows`].
pub fn sum_rows(
    gpu: &mut Gpu,
    x: (&GpuTensor, Matrix),
    out: &mut GpuTensor,
    write: Write,
) -> Result<()> {
    let (x, layout) = x;
    check::stored("sum_rows", "x", x.len(), layout)?;
    check::at_least("sum_rows", "out", layout.cols, out.len())?;
    let out = out.whole("sum_rows", "out")?;
    let (offset, cols) = (layout.offset, layout.cols);
    let suited = if gpu.is_software() {
        &BY_COLUMNS
    } else {
        &SHARED
    };
    let kernel = gpu.forced_variant("sum_rows").unwrap_or(suited);
    let max_rows = if kernel.name == SHARED.name {
        MAX_ROWS * LANES_A_COLUMN
    } else {
        MAX_ROWS
    };
    let mut windows = x.row_windows(("sum_rows", "x"), layout, 1)?;
    if windows.is_empty() {
        // The sum of no rows.
        windows.push((0, 0));
    }
    let mut accumulate = write == Write::Accumulate;
    for (first, end) in windows {
        for first in (first..end.max(first + 1)).step_by(max_rows) {
            let end = end.min(first + max_rows);
            let (x, offset) = x.window(offset + first * cols, offset + end * cols);
            let params = Params {
                offset: offset as u32,
                rows: (end - first) as u32,
                cols: cols as u32,
                accumulate: u32::from(accumulate),
            };
            let elements = (end - first) * cols;
            let work = Work::of(elements, elements + cols);
            let aligned = kernel.setting(&[offset.is_multiple_of(4) && cols.is_multiple_of(4)]);
            let workgroups = cols.div_ceil(COLUMNS);
            gpu.dispatch_switched(kernel, aligned, &params, &[&x, out], workgroups, work)?;
            accumulate = true;
        }
    }
    Ok(())
}
