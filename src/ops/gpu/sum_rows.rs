//! Host side of `sum_rows.wgsl`: a bias gradient.

use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params};
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

static KERNEL: Kernel = Kernel::new::<Params>(
    "sum_rows",
    include_str!("../../../shaders/sum_rows.wgsl"),
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
    let params = Params {
        offset: layout.offset as u32,
        rows: layout.rows as u32,
        cols: layout.cols as u32,
        accumulate: u32::from(write == Write::Accumulate),
    };
    let workgroups = layout.cols.div_ceil(COLUMNS);
    gpu.dispatch(&KERNEL, &params, &[&x.buffer, &out.buffer], workgroups);
    Ok(())
}
