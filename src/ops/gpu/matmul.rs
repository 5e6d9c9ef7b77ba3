//! Host side of `matmul.wgsl` (tiles in workgroup memory, for GPUs), `matmul_subgroup.wgsl` (a tile a
//! subgroup, for adapters that compute on the CPU) and `matmul_sum.wgsl` (adds partial products).
//!
//! What decides the bits of a result, the cut along k, is decided by the adapter's kind and the shape
//! alone. The kernel does not: among tiles in workgroup memory, it may be found by trial.

mod blocks;
mod trial;

use crate::device::Gpu;
use crate::device::gpu::{Buffer, GpuTensor, SCRATCH};
use crate::device::kernel::Access::{Read, ReadWrite};
use crate::device::kernel::{Access, Kernel, params, wgsl};
use crate::device::work::Work;
use crate::error::Result;
use crate::ops::{Matrix, Write, check};

use super::subgroup;
use blocks::Blocks;

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
        c_row: u32,
        c_batch: u32,
        k_batch: u32,
        has_bias: u32,
        bias_offset: u32,
        accumulate: u32,
        first_workgroup: u32,
    }
}

params! {
    /// See `shaders/matmul_sum.wgsl`.
    SumParams {
        m: u32,
        n: u32,
        count: u32,
        c_offset: u32,
        c_row: u32,
        has_bias: u32,
        bias_offset: u32,
        accumulate: u32,
    }
}

const BINDINGS: &[(&str, Access)] = &[("a", Read), ("b", Read), ("bias", Read), ("c", ReadWrite)];
/// Those of workgroups are the first of those of subgroups.
const SWITCHES: &[&str] = &["A_ALONG_K", "B_ALONG_N", "A_ALIGNED", "B_ALIGNED"];
/// Without `OVER_16_ROWS`: each switch doubles what there is to compile and to check.
const SUBGROUP_SWITCHES: &[&str] = &[
    "A_ALONG_K",
    "B_ALONG_N",
    "A_ALIGNED",
    "B_ALIGNED",
    "C_ALIGNED",
    "ACCUMULATE",
    "OVER_8_ROWS",
];
/// Lanes of a workgroup of the sum.
const SUM_LANES: usize = 64;

/// `matmul.wgsl` for tiles of one size.
const fn tiled(name: &'static str, overrides: &'static [(&'static str, f64)]) -> Kernel {
    let source = wgsl!("matmul", "shifted");
    Kernel::new::<Params>("matmul", source, BINDINGS, overrides)
        .named(name)
        .with_switches(SWITCHES)
}

static TILE_32: Kernel = tiled("matmul_32", &[("TILE", 32.0)]);
static TILE_64: Kernel = tiled("matmul_64", &[("TILE", 64.0)]);
static TILE_128: Kernel = tiled("matmul_128", &[("TILE", 128.0)]);
static SUBGROUP: Kernel = Kernel::new::<Params>(
    "matmul_subgroup",
    wgsl!("matmul_subgroup", "subgroup_tile", "transposed", "shifted"),
    BINDINGS,
    &[],
)
.with_switches(SUBGROUP_SWITCHES)
.for_subgroups_of(subgroup::LANES);
static SUM: Kernel = Kernel::new::<SumParams>(
    "matmul_sum",
    wgsl!("matmul_sum"),
    &[("parts", Read), ("bias", Read), ("c", ReadWrite)],
    &[("WORKGROUP_SIZE", SUM_LANES as f64)],
);

/// The tiles in workgroup memory. Any adapter can run each: they keep to WebGPU's least limits.
static TILES: &[&Kernel] = &[&TILE_32, &TILE_64, &TILE_128];

/// Every variant.
pub static VARIANTS: &[&Kernel] = &[&TILE_32, &TILE_64, &TILE_128, &SUBGROUP];

/// Every variant, and the sum that all of them need.
pub static KERNELS: &[&Kernel] = &[&TILE_32, &TILE_64, &TILE_128, &SUBGROUP, &SUM];

/// Rows and columns of the tile of C that a workgroup of one of [`TILES`] computes.
fn side(kernel: &Kernel) -> usize {
    match kernel.overrides {
        [("TILE", side)] => *side as usize,
        _ => 1,
    }
}

/// M, N, K and the batch of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    m: usize,
    n: usize,
    k: usize,
    batch: usize,
}

impl Shape {
    /// Workgroups of `kernel` for one product of the batch after another.
    fn workgroups(&self, kernel: &Kernel) -> usize {
        let tiles = if kernel.subgroup.is_some() {
            subgroup::tiles(self.m, self.n)
        } else {
            let side = side(kernel);
            self.m.div_ceil(side) * self.n.div_ceil(side)
        };
        tiles * self.batch
    }
}

/// Workgroups of 64×64 that fill a GPU: about one for each multiprocessor of a large one. As many
/// parts of a product fit the scratch memory.
const FILLING: usize = SCRATCH / (64 * 64);
/// Subgroups that keep the cores of a processor busy.
const FILLING_CORES: usize = 16;
/// Fewest k's of a part, and most parts: each costs writing and reading M·N elements.
const MIN_DEPTH: usize = 128;
const MAX_PARTS: usize = 16;
/// Fewest k's from which on a cut outweighs a second dispatch.
const CUT_FROM: usize = 4 * MIN_DEPTH;
/// k's that kernels take at a time: parts are multiples of it.
const DEPTH: usize = 16;

/// A long sum for a small C, cut along k into parts that are computed side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    parts: usize,
    /// k's of a part; the last has the rest.
    depth: usize,
}

impl Cut {
    /// By the adapter's kind and the shape alone, and the same for every kernel: the order of sums depends
    /// on it.
    fn of(shape: Shape, is_software: bool) -> Option<Self> {
        let (uncut, filling) = if is_software {
            (shape.workgroups(&SUBGROUP), FILLING_CORES)
        } else {
            (shape.workgroups(&TILE_64), FILLING)
        };
        let Shape { m, n, k, batch } = shape;
        if batch != 1 || uncut == 0 || k < CUT_FROM.max(2 * m.max(n)) {
            return None;
        }
        let parts = (filling / uncut).min(k / MIN_DEPTH).min(MAX_PARTS);
        let depth = k.div_ceil(parts.max(1)).next_multiple_of(DEPTH);
        let parts = k.div_ceil(depth);
        (parts > 1).then_some(Cut { parts, depth })
    }
}

/// The operands of a product, checked.
#[derive(Clone, Copy)]
struct Product<'a> {
    shape: Shape,
    a: (&'a GpuTensor, Matrix),
    b: (&'a GpuTensor, Matrix),
    bias: Option<&'a GpuTensor>,
    c: (&'a GpuTensor, Matrix),
    write: Write,
}

/// What a dispatch takes of a product: operands as they are bound.
struct Bound {
    shape: Shape,
    a: (Buffer, Matrix),
    b: (Buffer, Matrix),
    /// The bias, and the place of its first element.
    bias: Option<(Buffer, usize)>,
    /// C, and elements from one of its rows to the next.
    c: (Buffer, Matrix),
    c_row: usize,
    write: Write,
}

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
    let batch = c.1.batch;
    let product = Product {
        shape: Shape { m, n, k, batch },
        a,
        b,
        bias,
        c: (&*c.0, c.1),
        write,
    };
    let kernel = kernel(gpu, product.shape)?;
    run(gpu, kernel, &product)
}

/// The variant for a shape.
fn kernel(gpu: &mut Gpu, shape: Shape) -> Result<&'static Kernel> {
    if let Some(forced) = gpu.forced_variant("matmul") {
        return Ok(forced);
    }
    if gpu.tries_variants() {
        return trial::choose(gpu, shape);
    }
    if gpu.is_software() && gpu.can_run(&SUBGROUP) {
        return Ok(&SUBGROUP);
    }
    Ok(suited(shape, TILES))
}

/// The largest of `tiles` (which are in ascending order) of which the product fills a GPU, and
/// more than half of which its smaller side fills; else the smallest.
fn suited(shape: Shape, tiles: &[&'static Kernel]) -> &'static Kernel {
    let parts = Cut::of(shape, false).map_or(1, |cut| cut.parts);
    let fits = |tile: &&&'static Kernel| {
        shape.workgroups(tile) * parts >= FILLING && 2 * shape.m.min(shape.n) > side(tile)
    };
    let largest = tiles.iter().rfind(fits);
    largest.or(tiles.first()).copied().unwrap_or(&TILE_64)
}

/// Dispatches a product by `kernel`, block by block where operands cannot be bound at once.
fn run(gpu: &mut Gpu, kernel: &'static Kernel, product: &Product) -> Result<()> {
    let blocks = Blocks::of(product)?;
    for block in blocks.all() {
        let bound = product.bind(&block)?;
        // The cut decides the bits: it is that of the whole product, unless its sums are in blocks.
        let shape = match blocks.k.len() {
            1 => product.shape,
            _ => bound.shape,
        };
        let cut = Cut::of(shape, gpu.is_software());
        run_block(gpu, kernel, &bound, cut)?;
    }
    Ok(())
}

/// Dispatches a block by `kernel`: at once, or its parts and their sum.
fn run_block(
    gpu: &mut Gpu,
    kernel: &'static Kernel,
    block: &Bound,
    cut: Option<Cut>,
) -> Result<()> {
    let Some(cut) = cut else {
        return dispatch(gpu, kernel, block, 0);
    };
    let (m, n) = (block.shape.m, block.shape.n);
    let scratch = gpu.take_scratch()?;
    let parts = Matrix::new(m, n).batched(cut.parts, m * n);
    let sums = scratch.from(("matmul", "parts"), 0, cut.parts * m * n)?;
    let partial = Bound {
        shape: Shape {
            batch: cut.parts,
            ..block.shape
        },
        // All parts read the same operands, from other k's on.
        a: (block.a.0.clone(), block.a.1.batched(cut.parts, 0)),
        b: (block.b.0.clone(), block.b.1.batched(cut.parts, 0)),
        bias: None,
        c: (sums.clone(), parts),
        c_row: n,
        write: Write::Overwrite,
    };
    dispatch(gpu, kernel, &partial, cut.depth)?;
    let params = SumParams {
        m: m as u32,
        n: n as u32,
        count: cut.parts as u32,
        c_offset: block.c.1.offset as u32,
        c_row: block.c_row as u32,
        has_bias: u32::from(block.bias.is_some()),
        bias_offset: block.bias.as_ref().map_or(0, |bias| bias.1 as u32),
        accumulate: u32::from(block.write == Write::Accumulate),
    };
    let bias = block.bias.as_ref().map_or(&sums, |bias| &bias.0);
    let elements = m * n;
    let work = Work::of(cut.parts * elements, (cut.parts + 2) * elements);
    let workgroups = elements.div_ceil(SUM_LANES);
    gpu.dispatch(&SUM, &params, &[&sums, bias, &block.c.0], workgroups, work)?;
    gpu.put_scratch(scratch);
    Ok(())
}

/// One dispatch; with a `k_batch` that is not 0, each matrix of the batch has k's of its own.
fn dispatch(gpu: &mut Gpu, kernel: &'static Kernel, block: &Bound, k_batch: usize) -> Result<()> {
    let Bound { shape, a, b, c, .. } = block;
    let (a_strides, b_strides) = (a.1.strides(), b.1.strides());
    let params = Params {
        m: shape.m as u32,
        n: shape.n as u32,
        k: shape.k as u32,
        batch: shape.batch as u32,
        a_offset: a.1.offset as u32,
        a_row: a_strides.0 as u32,
        a_col: a_strides.1 as u32,
        a_batch: a.1.batch_stride as u32,
        b_offset: b.1.offset as u32,
        b_row: b_strides.0 as u32,
        b_col: b_strides.1 as u32,
        b_batch: b.1.batch_stride as u32,
        c_offset: c.1.offset as u32,
        c_row: block.c_row as u32,
        c_batch: c.1.batch_stride as u32,
        k_batch: k_batch as u32,
        has_bias: u32::from(block.bias.is_some()),
        bias_offset: block.bias.as_ref().map_or(0, |bias| bias.1 as u32),
        accumulate: u32::from(block.write == Write::Accumulate),
        first_workgroup: 0,
    };
    // Without a bias, A stands in for the binding: what is read of it is not used.
    let bias = block.bias.as_ref().map_or(&a.0, |bias| &bias.0);
    let Shape { m, n, k, batch } = *shape;
    let c_aligned = is_aligned([c.1.offset, block.c_row, c.1.batch_stride]) && n.is_multiple_of(4);
    let [over_8_rows, _] = subgroup::switches(m);
    let switches = [
        !a.1.transposed,
        !b.1.transposed,
        is_aligned([a.1.offset, a.1.cols, a.1.batch_stride]),
        is_aligned([b.1.offset, b.1.cols, b.1.batch_stride]),
        c_aligned,
        block.write == Write::Accumulate,
        over_8_rows,
    ];
    let switches = kernel.setting(&switches);
    // Parts of a sum share the k's.
    let sums = if k_batch == 0 { k * batch } else { k };
    let elements = (m + n) * sums + 2 * m * n * batch;
    gpu.dispatch_switched(
        kernel,
        switches,
        &params,
        &[&a.0, &b.0, bias, &c.0],
        shape.workgroups(kernel),
        Work::of(2 * m * n * sums, elements),
    )
}

/// Does every row begin at a multiple of four elements, by where the first begins, by the elements from one to
/// the next, and by those from one matrix of the batch to the next?
fn is_aligned(places: [usize; 3]) -> bool {
    places.iter().all(|place| place.is_multiple_of(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(m: usize, n: usize, k: usize) -> Shape {
        let batch = 1;
        Shape { m, n, k, batch }
    }

    #[test]
    fn long_sums_for_a_small_c_are_cut() {
        let cut = |m, n, k| Cut::of(shape(m, n, k), false).map(|c| (c.parts, c.depth));
        // Weight gradients of the workloads char and ptb; K = N·T.
        assert_eq!(cut(256, 256, 2048), Some((8, 256)));
        assert_eq!(cut(64, 256, 2048), Some((16, 128)));
        assert_eq!(cut(200, 200, 700), Some((5, 144)));
        assert_eq!(cut(200, 10_000, 700), None);
        assert_eq!(cut(512, 512, 512), None);
        assert_eq!(cut(32, 256, 256), None);
        // An adapter that computes on the CPU is full sooner.
        assert_eq!(Cut::of(shape(256, 256, 2048), true), None);
        assert!(Cut::of(shape(8, 8, 2048), true).is_some());
        let batch = 2;
        let batched = Shape {
            batch,
            ..shape(64, 64, 2048)
        };
        assert_eq!(Cut::of(batched, false), None);
    }

    #[test]
    fn parts_cover_k_and_fit_the_scratch_memory() {
        let sizes = [1, 9, 63, 64, 65, 200, 511, 777, 2000];
        for (m, n) in sizes.iter().flat_map(|&m| sizes.map(|n| (m, n))) {
            for k in [512, 513, 1031, 4096, 100_003] {
                let shape = shape(m, n, k);
                let cuts = [false, true].map(|is_software| Cut::of(shape, is_software));
                for Cut { parts, depth } in cuts.into_iter().flatten() {
                    assert!(parts * m * n <= SCRATCH, "{shape:?}");
                    assert!((parts - 1) * depth < k && k <= parts * depth, "{shape:?}");
                    assert!(depth.is_multiple_of(DEPTH) && depth >= MIN_DEPTH);
                }
            }
        }
    }

    #[test]
    fn the_tile_suits_the_shape() {
        let suited = |m, n, k| suited(shape(m, n, k), TILES).name;
        assert_eq!(suited(2048, 2048, 2048), "matmul_128");
        assert_eq!(suited(700, 10_000, 200), "matmul_128");
        assert_eq!(suited(2048, 256, 64), "matmul_64");
        assert_eq!(suited(256, 256, 2048), "matmul_64");
        assert_eq!(suited(32, 10_000, 200), "matmul_32");
        assert_eq!(suited(10, 100, 100), "matmul_32");
    }
}
