//! Host side of `sum_rows.wgsl`: a bias gradient.

use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params, wgsl};
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::{Matrix, Write, check};

params! {
    /// See `shaders/sum_rows.wgsl`.
    Params {
        offset: u32,
        rows: u32,
        cols: u32,
        accumulate: u32,
    }
}

/// Columns that a workgroup sums.
const COLUMNS: usize = 32;
/// Most rows of a dispatch, eight lanes a column: lavapipe ends an invocation's loops after 65,535
/// iterations in all, without a word.
const MAX_ROWS: usize = 1 << 18;

static KERNEL: Kernel = Kernel::new::<Params>(
    "sum_rows",
    wgsl!("sum_rows"),
    &[("x", Read), ("out", ReadWrite)],
    &[],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&KERNEL];

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
    let mut windows = x.row_windows(("sum_rows", "x"), layout, 1)?;
    if windows.is_empty() {
        // The sum of no rows.
        windows.push((0, 0));
    }
    let mut accumulate = write == Write::Accumulate;
    for (first, end) in windows {
        for first in (first..end.max(first + 1)).step_by(MAX_ROWS) {
            let end = end.min(first + MAX_ROWS);
            let (x, offset) = x.window(offset + first * cols, offset + end * cols);
            let params = Params {
                offset: offset as u32,
                rows: (end - first) as u32,
                cols: cols as u32,
                accumulate: u32::from(accumulate),
            };
            let elements = (end - first) * cols;
            let work = Work::of(elements, elements + cols);
            gpu.dispatch(&KERNEL, &params, &[&x, out], cols.div_ceil(COLUMNS), work)?;
            accumulate = true;
        }
    }
    Ok(())
}
