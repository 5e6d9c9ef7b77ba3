//! Host side of `matmul.wgsl` (tiles in workgroup memory, for GPUs) and `matmul_registers.wgsl`
//! (no barrier, for adapters that compute on the CPU).

use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Access, Kernel, params};
use crate::error::Result;
use crate::ops::{Matrix, Write, check};

params! {
    /// See `shaders/matmul.wgsl`.
    Params {
        m: u32,
        n: u32,
        k: u32,
        batch: u32,
        a_offset: u32,
        a_row: u32,
        a_col: u32,
        a_batch: u32,
        b_offset: u32,
        b_row: u32,
        b_col: u32,
        b_batch: u32,
        c_offset: u32,
        c_batch: u32,
        has_bias: u32,
        accumulate: u32,
    }
}

const BINDINGS: &[(&str, Access)] = &[("a", Read), ("b", Read), ("bias", Read), ("c", ReadWrite)];
/// Lanes of a workgroup of the register variant, one tile each.
const LANES: usize = 16;

static TILED: Kernel = Kernel::new::<Params>(
    "matmul",
    include_str!("../../../shaders/matmul.wgsl"),
    BINDINGS,
    &[],
);
static REGISTERS: Kernel = Kernel::new::<Params>(
    "matmul_registers",
    include_str!("../../../shaders/matmul_registers.wgsl"),
    BINDINGS,
    &[("WORKGROUP_SIZE", LANES as f64)],
)
.with_switches(&["A_ALONG_K", "B_ALONG_N", "ALIGNED"]);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&TILED, &REGISTERS];

/// See [`crate::ops::Ops::matmul`].
pub fn matmul(
    gpu: &mut Gpu,
    a: (&GpuTensor, Matrix),
    b: (&GpuTensor, Matrix),
    bias: Option<&GpuTensor>,
    c: (&mut GpuTensor, Matrix),
    write: Write,
) -> Result<()> {
    let (m, n, k) = check::matmul(
        (a.0.len(), a.1),
        (b.0.len(), b.1),
        bias.map(GpuTensor::len),
        (c.0.len(), c.1),
    )?;
    let (a_strides, b_strides) = (a.1.strides(), b.1.strides());
    let params = Params {
        m: m as u32,
        n: n as u32,
        k: k as u32,
        batch: c.1.batch as u32,
        a_offset: a.1.offset as u32,
        a_row: a_strides.0 as u32,
        a_col: a_strides.1 as u32,
        a_batch: a.1.batch_stride as u32,
        b_offset: b.1.offset as u32,
        b_row: b_strides.0 as u32,
        b_col: b_strides.1 as u32,
        b_batch: b.1.batch_stride as u32,
        c_offset: c.1.offset as u32,
        c_batch: c.1.batch_stride as u32,
        has_bias: u32::from(bias.is_some()),
        accumulate: u32::from(write == Write::Accumulate),
    };
    let suited = if gpu.is_software() {
        &REGISTERS
    } else {
        &TILED
    };
    let kernel = gpu.forced_variant("matmul").unwrap_or(suited);
    let tiles = |side: usize| m.div_ceil(side) * n.div_ceil(side) * c.1.batch;
    let workgroups = if kernel.name == TILED.name {
        tiles(64)
    } else {
        tiles(8).div_ceil(LANES)
    };
    // Without a bias, A stands in for the binding, which is not read then.
    let bias = bias.unwrap_or(a.0);
    let buffers = [&a.0.buffer, &b.0.buffer, &bias.buffer, &c.0.buffer];
    let aligned = is_aligned(a.1) && is_aligned(b.1) && k.is_multiple_of(4);
    let switches = if kernel.switches.is_empty() {
        0
    } else {
        u32::from(!a.1.transposed) | u32::from(!b.1.transposed) << 1 | u32::from(aligned) << 2
    };
    gpu.dispatch_switched(kernel, switches, &params, &buffers, workgroups);
    Ok(())
}

/// Does every row as stored begin at a multiple of four elements?
fn is_aligned(x: Matrix) -> bool {
    [x.offset, x.cols, x.batch_stride]
        .iter()
        .all(|x| x.is_multiple_of(4))
}
