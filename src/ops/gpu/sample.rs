//! Host side of `sample.wgsl`: a token of each row, drawn from its probabilities.

use crate::device::Gpu;
use crate::device::gpu::GpuTensor;
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Kernel, params, wgsl};
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::{Choice, check};

use super::check_row;

params! {
    /// See `shaders/sample.wgsl`.
    Params {
        rows: u32,
        vocab: u32,
        top_k: u32,
        top_p: f32,
        inverse_temperature: f32,
        first_workgroup: u32,
    }
}

/// Lanes of a workgroup, which share a row.
const LANES: usize = 256;

/// How often a lane goes over its share of the row, at most, and over what the lanes found.
const VISITS: usize = 40;
const SEARCHES: usize = 2200;
/// Longest row on an adapter that computes on the CPU; see [`check_row`]. A lane's iterations are 40 times
/// its share and some 2,200.
const LONGEST_ON_SOFTWARE: usize = 400_000;

static KERNEL: Kernel = Kernel::new::<Params>(
    "sample",
    wgsl!("sample"),
    &[("logits", Read), ("uniforms", Read), ("tokens", ReadWrite)],
    &[("WORKGROUP_SIZE", LANES as f64)],
);

/// Every variant.
pub static KERNELS: &[&Kernel] = &[&KERNEL];

/// See [`crate::ops::Ops::sample`].
pub fn sample(
    gpu: &mut Gpu,
    logits: &GpuTensor,
    uniform: &GpuTensor,
    tokens: &mut GpuTensor,
    vocab: usize,
    choice: Choice,
) -> Result<()> {
    let op = "sample";
    let rows = uniform.len();
    check::sample(logits.len(), rows, tokens.len(), vocab, &choice)?;
    check_row(gpu, op, vocab, LONGEST_ON_SOFTWARE)?;
    let params = Params {
        rows: rows as u32,
        vocab: vocab as u32,
        top_k: choice.kept(vocab) as u32,
        top_p: choice.top_p,
        inverse_temperature: choice.inverse_temperature() as f32,
        first_workgroup: 0,
    };
    let work = Work::of(rows * (VISITS * vocab + SEARCHES * LANES), rows * vocab);
    let (uniform, tokens) = (uniform.whole(op, "uniform")?, tokens.whole(op, "tokens")?);
    let buffers = [logits.whole(op, "logits")?, uniform, tokens];
    gpu.dispatch(&KERNEL, &params, &buffers, rows, work)
}
