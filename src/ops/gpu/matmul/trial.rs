//! The size of the tiles by trial: first a check that every size gives the same, right bits on this
//! device, then the time of each on operands like those to come.

use super::{Product, Shape, TILES, run, suited};
use crate::device::gpu::GpuTensor;
use crate::device::kernel::Kernel;
use crate::device::{Device, Gpu, Purpose};
use crate::error::Result;
use crate::ops::{Matrix, Write};

/// Longest sides of C in a trial: their tiles of 128 fill any GPU.
const MAX_SIDE: usize = 2048;
/// Multiply-adds of a trial, if its sides leave that many.
const MAX_WORK: usize = 1 << 29;
/// M, N and K of the check: more than one tile of every size, with edges, and twice as many k's as
/// are staged.
const CHECKED: Shape = Shape {
    m: 132,
    n: 140,
    k: 36,
    batch: 1,
};

/// The tile for a product of this shape, tried out when its class is met for the first time.
pub fn choose(gpu: &mut Gpu, shape: Shape) -> Result<&'static Kernel> {
    let class = [shape.m, shape.n, shape.k, shape.batch].map(usize::next_power_of_two);
    if let Some(kernel) = gpu.chosen("matmul", class) {
        return Ok(kernel);
    }
    let right = gpu.right_kernels("matmul", TILES, right_tiles)?;
    let suited = suited(shape, &right);
    let [m, n, k, batch] = class;
    let mut words = format!("up to {m}×{k} · {k}×{n}");
    if batch > 1 {
        words += &format!(", {batch} of them");
    }
    let tried = like(shape);
    gpu.try_variants(
        ("matmul", class, words),
        &right,
        suited,
        |gpu| Operands::new(gpu, tried),
        |gpu, kernel, operands| run(gpu, kernel, &operands.product()),
    )
}

/// A shape that keeps a GPU as busy as `shape` does, in less time. Its rows are aligned: so trials
/// need one setting of the switches.
fn like(shape: Shape) -> Shape {
    let side = |length: usize| length.clamp(1, MAX_SIDE).next_multiple_of(4);
    let (m, n) = (side(shape.m), side(shape.n));
    let batch = shape.batch.min((MAX_SIDE * MAX_SIDE / (m * n)).max(1));
    let k = shape.k.min(MAX_WORK / (m * n * batch)).next_multiple_of(4);
    Shape { m, n, k, batch }
}

/// Packed, row-major operands of a trial.
struct Operands {
    shape: Shape,
    a: GpuTensor,
    b: GpuTensor,
    c: GpuTensor,
}

impl Operands {
    /// Zeros.
    fn new(gpu: &mut Gpu, shape: Shape) -> Result<Self> {
        let Shape { m, n, k, batch } = shape;
        let mut alloc = |len| gpu.alloc(Purpose::Scratch, "trial", batch * len);
        Ok(Operands {
            shape,
            a: alloc(m * k)?,
            b: alloc(k * n)?,
            c: alloc(m * n)?,
        })
    }

    fn product(&self) -> Product<'_> {
        let Shape { m, n, k, batch } = self.shape;
        let packed = |rows, cols| Matrix::new(rows, cols).batched(batch, rows * cols);
        Product {
            shape: self.shape,
            a: (&self.a, packed(m, k)),
            b: (&self.b, packed(k, n)),
            bias: None,
            c: (&self.c, packed(m, n)),
            write: Write::Overwrite,
        }
    }
}

/// The tiles that are right on this device, and whose results are the same to the bit.
fn right_tiles(gpu: &mut Gpu) -> Result<Vec<&'static Kernel>> {
    let mut operands = Operands::new(gpu, CHECKED)?;
    // Small whole numbers: every sum is exact, in whatever order and with whatever rounding.
    let whole = |i: usize| (i * 7919 % 17) as f32 - 8.0;
    let exact = exact_product(whole);
    let mut right = results(gpu, &mut operands, TILES, whole)?;
    right.retain(|(_, result)| *result == exact);
    let right: Vec<_> = right.into_iter().map(|(kernel, _)| kernel).collect();
    // Others, whose rounding shows the order of the sums.
    let rounded = |i: usize| (i * 7919 % 1009) as f32 / 1009.0 - 0.5;
    let results = results(gpu, &mut operands, &right, rounded)?;
    let first = results.first().map(|(_, result)| bits(result));
    let alike = results
        .iter()
        .filter(|(_, result)| Some(bits(result)) == first);
    Ok(alike.map(|(kernel, _)| *kernel).collect())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// What each kernel makes of operands with these elements.
fn results(
    gpu: &mut Gpu,
    operands: &mut Operands,
    kernels: &[&'static Kernel],
    element: impl Fn(usize) -> f32,
) -> Result<Vec<(&'static Kernel, Vec<f32>)>> {
    let Shape { m, n, k, .. } = operands.shape;
    let values = |len| (0..len).map(&element).collect::<Vec<f32>>();
    gpu.write(&mut operands.a, 0, &values(m * k))?;
    gpu.write(&mut operands.b, 0, &values(k * n))?;
    let mut results = Vec::new();
    for &kernel in kernels {
        gpu.write(&mut operands.c, 0, &vec![f32::NAN; m * n])?;
        run(gpu, kernel, &operands.product())?;
        results.push((kernel, gpu.read(&operands.c)?));
    }
    Ok(results)
}

/// The product of the check's operands, by definition.
fn exact_product(element: impl Fn(usize) -> f32) -> Vec<f32> {
    let Shape { m, n, k, .. } = CHECKED;
    let c = |at: usize| {
        let (i, j) = (at / n, at % n);
        let terms = (0..k).map(|l| element(i * k + l) * element(l * n + j));
        terms.sum()
    };
    (0..m * n).map(c).collect()
}
