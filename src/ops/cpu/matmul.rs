//! C = op(A)·op(B) + bias (+ C).
//!
//! A large product is cut into tasks by its shape alone, which any number of threads then share:
//! along the longer side of C, or along K where C is small, in which case the partial products are
//! added in ascending order. So results do not depend on the number of threads. Each task is a
//! product of the `gemm` crate on one thread.

use std::ops::Range;

use rayon::prelude::*;

use crate::device::Element;
use crate::device::loops::{CHUNK, for_each_chunk, vectorised};
use crate::error::Result;
use crate::ops::{Matrix, Write, check};

/// Multiply-adds of a task that outweigh handing it out.
const TASK: usize = 2 << 20;
/// Most tasks of a product: enough to share evenly among a few threads.
const MAX_TASKS: usize = 16;
/// Most tasks along K, each of which writes a product that has to be added.
const MAX_DEPTHS: usize = 8;
/// Fewest rows or columns of a task, and fewest k's: below, packing outweighs computing.
const MIN_SIDE: usize = 64;
const MIN_DEPTH: usize = 256;

/// Bytes from whose multiples on elements meet in a few sets of a first-level cache (of 4 KiB a way, as a
/// rule).
const ALIASING: usize = 1024;
/// What rows are spread by so that they do not: a cache line.
const PADDING: usize = 16;
/// Most elements that are copied to spread them, and fewest k's of such a copy.
const SPREAD: usize = 1 << 20;
const MIN_SPREAD_DEPTH: usize = 256;

/// See [`crate::ops::Ops::matmul`]. `scratch` is scratch space.
pub fn matmul<F: Element>(
    a: (&[F], Matrix),
    b: (&[F], Matrix),
    bias: Option<&[F]>,
    c: (&mut [F], Matrix),
    write: Write,
    scratch: &mut Vec<F>,
    threads: usize,
) -> Result<()> {
    let (m, n, k) = check::matmul(
        (a.0.len(), a.1),
        (b.0.len(), b.1),
        bias.map(<[F]>::len),
        (c.0.len(), c.1),
    )?;
    for i in 0..c.1.batch {
        let a_i = &a.0[a.1.offset + i * a.1.batch_stride..];
        let b_i = &b.0[b.1.offset + i * b.1.batch_stride..];
        let start = c.1.offset + i * c.1.batch_stride;
        let c_i = &mut c.0[start..start + m * n];
        let operands = Operands {
            shape: (m, n, k),
            a: (a_i, a.1.strides()),
            b: (b_i, b.1.strides()),
        };
        match Cut::of((m, n, k)) {
            Cut::Output(tiles) if tiles.len() > 1 && operands.columns_of_b_alias() => {
                operands.spread(c_i, bias, write, &tiles, scratch, threads);
            }
            Cut::Output(tiles) => operands.in_tiles(c_i, bias, write, &tiles, threads),
            Cut::Depth(ranges) => {
                operands.along_depth(c_i, bias, write, &ranges, scratch, threads);
            }
        }
    }
    Ok(())
}

fn add_bias<F: Element>(bias: &[F], row: &mut [F], write: Write) {
    match write {
        Write::Overwrite => row.copy_from_slice(bias),
        Write::Accumulate => row.iter_mut().zip(bias).for_each(|(c, &b)| *c += b),
    }
}

/// How a product is cut into tasks.
enum Cut {
    /// Rows and columns of C; one tile where it does not pay to cut.
    Output(Vec<(Range<usize>, Range<usize>)>),
    /// Ranges of k.
    Depth(Vec<Range<usize>>),
}

impl Cut {
    fn of((m, n, k): (usize, usize, usize)) -> Self {
        let tasks = (m * n * k / TASK).min(MAX_TASKS);
        let along = |length: usize, least: usize| ranges(length, tasks.min(length / least).max(1));
        let depth = along(k, MIN_DEPTH.max(k / MAX_DEPTHS));
        if k >= 2 * m.max(n) && depth.len() > 1 {
            return Cut::Depth(depth);
        }
        Cut::Output(if n > m {
            let columns = along(n, MIN_SIDE).into_iter();
            columns.map(|columns| (0..m, columns)).collect()
        } else {
            let rows = along(m, MIN_SIDE).into_iter();
            rows.map(|rows| (rows, 0..n)).collect()
        })
    }
}

/// `0..length` in `count` ranges of nearly the same length.
fn ranges(length: usize, count: usize) -> Vec<Range<usize>> {
    let bound = |i: usize| i * length / count;
    (0..count).map(|i| bound(i)..bound(i + 1)).collect()
}

/// A matrix that several tasks write, each its own elements.
#[derive(Clone, Copy)]
struct Shared<F>(*mut F);

// SAFETY: the tasks of a product write disjoint elements, and nothing reads them meanwhile.
unsafe impl<F: Send> Send for Shared<F> {}
// SAFETY: as above.
unsafe impl<F: Send> Sync for Shared<F> {}

impl<F> Shared<F> {
    fn pointer(self) -> *mut F {
        self.0
    }
}

/// The operands of a product: their sizes M, N, K; elements, row strides and column strides.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a, F> {
    pub shape: (usize, usize, usize),
    pub a: (&'a [F], (usize, usize)),
    pub b: (&'a [F], (usize, usize)),
}

impl<F: Element> Operands<'_, F> {
    /// c = a·b, or c += a·b, on this thread.
    pub fn product(self, c: &mut [F], accumulate: bool) {
        let (m, n, k) = self.shape;
        assert!(c.len() >= m * n);
        let all = (0..m, 0..n, 0..k);
        // SAFETY: the assert bounds every element of c that is written, and c is borrowed mutably.
        unsafe { self.task(Shared(c.as_mut_ptr()), all, accumulate) }
    }

    /// Do neighbouring columns of B, each of which lies in one piece, begin in the same sets of a cache?
    fn columns_of_b_alias(&self) -> bool {
        let (row, column) = self.b.1;
        row == 1 && (column * size_of::<F>()).is_multiple_of(ALIASING)
    }

    /// [`Operands::in_tiles`] on copies of B with columns that do not alias: each tile packs B side by side, which
    /// took up to three times as long as the product. Copied are a few k's at a time, which are added
    /// in ascending order.
    fn spread(
        self,
        c: &mut [F],
        bias: Option<&[F]>,
        write: Write,
        tiles: &[(Range<usize>, Range<usize>)],
        copy: &mut Vec<F>,
        threads: usize,
    ) {
        let (m, n, k) = self.shape;
        let ((a, a_strides), (b, (_, b_column))) = (self.a, self.b);
        let depth = (SPREAD / n).clamp(MIN_SPREAD_DEPTH, k.max(MIN_SPREAD_DEPTH));
        let column = depth + PADDING;
        copy.resize(copy.len().max(n * column), F::zero());
        let copy = &mut copy[..n * column];
        for first in (0..k.max(1)).step_by(depth) {
            let depth = depth.min(k - first);
            for_each_chunk(copy, column, 2 * n * depth, threads, |at, copy| {
                let from = at / column * b_column + first;
                copy[..depth].copy_from_slice(&b[from..from + depth]);
            });
            let of_depth = Operands {
                shape: (m, n, depth),
                a: (&a[(first * a_strides.1).min(a.len())..], a_strides),
                b: (copy, (1, column)),
            };
            match first {
                0 => of_depth.in_tiles(c, bias, write, tiles, threads),
                _ => of_depth.in_tiles(c, None, Write::Accumulate, tiles, threads),
            }
        }
    }

    /// Each task a tile of C, which takes the bias while it is about to be used.
    fn in_tiles(
        self,
        c: &mut [F],
        bias: Option<&[F]>,
        write: Write,
        tiles: &[(Range<usize>, Range<usize>)],
        threads: usize,
    ) {
        let (m, n, k) = self.shape;
        assert!(c.len() >= m * n);
        let c = Shared(c.as_mut_ptr());
        let accumulate = bias.is_some() || write == Write::Accumulate;
        let task = |(rows, columns): &(Range<usize>, Range<usize>)| {
            if let Some(bias) = bias {
                for row in rows.clone() {
                    let start = row * n + columns.start;
                    // SAFETY: tiles do not overlap and lie within the m·n elements of c.
                    let row = unsafe {
                        std::slice::from_raw_parts_mut(c.pointer().add(start), columns.len())
                    };
                    add_bias(&bias[columns.clone()], row, write);
                }
            }
            let ranges = (rows.clone(), columns.clone(), 0..k);
            // SAFETY: as above; the rows borrowed for the bias are no longer used.
            unsafe { self.task(c, ranges, accumulate) }
        };
        if threads > 1 && tiles.len() > 1 {
            tiles.par_iter().for_each(task);
        } else {
            tiles.iter().for_each(task);
        }
    }

    /// Each task a range of k, into a product of its own; then their sum, in ascending order of k.
    fn along_depth(
        self,
        c: &mut [F],
        bias: Option<&[F]>,
        write: Write,
        ranges: &[Range<usize>],
        partials: &mut Vec<F>,
        threads: usize,
    ) {
        let (m, n, _) = self.shape;
        if let Some(bias) = bias {
            let rows = c.chunks_exact_mut(n);
            rows.for_each(|row| add_bias(bias, row, write));
        }
        let accumulate = bias.is_some() || write == Write::Accumulate;
        partials.resize(partials.len().max(ranges.len() * m * n), F::zero());
        let partials = &mut partials[..ranges.len() * m * n];
        let task = |(range, partial): (&Range<usize>, &mut [F])| {
            let all = (0..m, 0..n, range.clone());
            // SAFETY: each partial product has m·n elements, borrowed mutably.
            unsafe { self.task(Shared(partial.as_mut_ptr()), all, false) }
        };
        let parts = partials.chunks_exact_mut(m * n);
        if threads > 1 {
            ranges.iter().zip(parts).par_bridge().for_each(task);
        } else {
            ranges.iter().zip(parts).for_each(task);
        }
        let work = partials.len();
        for_each_chunk(&mut c[..m * n], CHUNK, work, threads, |first, c| {
            vectorised(
                #[inline(always)]
                || {
                    if !accumulate {
                        c.fill(F::zero());
                    }
                    for partial in partials.chunks_exact(m * n) {
                        for (c, &p) in c.iter_mut().zip(&partial[first..]) {
                            *c += p;
                        }
                    }
                },
            );
        });
    }

    /// The part of c = a·b, or c += a·b, in these rows and columns, over these k's.
    ///
    /// # Safety
    /// The rows and columns of the row-major m×n matrix `c` are valid and are not used elsewhere.
    unsafe fn task(
        self,
        c: Shared<F>,
        (rows, columns, depth): (Range<usize>, Range<usize>, Range<usize>),
        accumulate: bool,
    ) {
        let (_, n, _) = self.shape;
        let ((a, (a_row, a_col)), (b, (b_row, b_col))) = (self.a, self.b);
        let a = &a[(rows.start * a_row + depth.start * a_col).min(a.len())..];
        let b = &b[(depth.start * b_row + columns.start * b_col).min(b.len())..];
        let (m, columns_count, k) = (rows.len(), columns.len(), depth.len());
        if m == 0 || columns_count == 0 {
            return;
        }
        let last = |x: usize| x.saturating_sub(1);
        assert!(k == 0 || a.len() > last(m) * a_row + last(k) * a_col);
        assert!(k == 0 || b.len() > last(k) * b_row + last(columns_count) * b_col);
        // SAFETY: the asserts bound every element that is read; c is the caller's promise. A product
        // over no k's reads nothing and writes zeros.
        unsafe {
            gemm::gemm(
                m,
                columns_count,
                k,
                c.pointer().add(rows.start * n + columns.start),
                1,
                n as isize,
                accumulate,
                a.as_ptr(),
                a_col as isize,
                a_row as isize,
                b.as_ptr(),
                b_col as isize,
                b_row as isize,
                F::one(),
                F::one(),
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    /// Σ_k op(A)[i, k]·op(B)[k, j], written out.
    fn by_definition(a: &[f64], am: Matrix, b: &[f64], bm: Matrix) -> Vec<f64> {
        let ((m, k), (_, n)) = (am.shape(), bm.shape());
        let ((ar, ac), (br, bc)) = (am.strides(), bm.strides());
        let mut c = vec![0.0; m * n];
        for i in 0..m {
            for j in 0..n {
                c[i * n + j] = (0..k)
                    .map(|l| a[am.offset + i * ar + l * ac] * b[bm.offset + l * br + j * bc])
                    .sum();
            }
        }
        c
    }

    #[test]
    fn agrees_with_the_definition_for_every_transposition() {
        let (m, n, k) = (5, 7, 3);
        let a: Vec<f64> = (0..40).map(|i| f64::from(i * 7 % 11) - 5.0).collect();
        let b: Vec<f64> = (0..40).map(|i| f64::from(i * 5 % 13) - 6.0).collect();
        let bias: Vec<f64> = (0..n).map(|j| j as f64).collect();
        for (am, bm) in [
            (Matrix::new(m, k), Matrix::new(k, n)),
            (Matrix::new(k, m).t(), Matrix::new(k, n).at(4)),
            (Matrix::new(m, k).at(3), Matrix::new(n, k).t()),
            (Matrix::new(k, m).t(), Matrix::new(n, k).t()),
        ] {
            let mut c = vec![1.0; m * n + 2];
            let cm = Matrix::new(m, n).at(1);
            matmul(
                (&a, am),
                (&b, bm),
                Some(&bias),
                (&mut c, cm),
                Write::Accumulate,
                &mut Vec::new(),
                1,
            )
            .unwrap();
            let want = by_definition(&a, am, &b, bm);
            for (i, w) in want.iter().enumerate() {
                assert_eq!(c[i + 1], w + bias[i % n] + 1.0);
            }
            assert_eq!((c[0], c[m * n + 1]), (1.0, 1.0));
        }
    }

    /// Columns that alias are copied before, as many k's at a time as fit the copy.
    #[test]
    fn columns_that_alias_give_the_same_product() {
        for (m, n, k) in [(520, 130, 512), (3000, 1500, 1024)] {
            let a: Vec<f64> = (0..m * k).map(|i| (i % 7) as f64 - 3.0).collect();
            let b: Vec<f64> = (0..n * k).map(|i| (i % 11) as f64 - 5.0).collect();
            let (am, bm) = (Matrix::new(m, k), Matrix::new(n, k).t());
            let operands = Operands {
                shape: (m, n, k),
                a: (&a, am.strides()),
                b: (&b, bm.strides()),
            };
            assert!(operands.columns_of_b_alias());
            let bias: Vec<f64> = (0..n).map(|j| j as f64).collect();
            let (mut spread, mut plain) = (vec![1.0; m * n], vec![1.0; m * n]);
            let Cut::Output(tiles) = Cut::of((m, n, k)) else {
                panic!("cut along k");
            };
            assert!(tiles.len() > 1);
            let (write, bias) = (Write::Accumulate, Some(&*bias));
            operands.spread(&mut spread, bias, write, &tiles, &mut Vec::new(), 2);
            operands.in_tiles(&mut plain, bias, write, &tiles, 2);
            // Sums of small integers are exact.
            assert!(spread == plain, "{m}x{n}x{k}");
        }
    }

    /// What makes it sound that tasks write one matrix.
    #[test]
    fn tiles_do_not_overlap_and_leave_nothing_out() {
        let mut largest = 0;
        for (m, n, k) in [
            (1, 1, 1),
            (63, 65, 100_000),
            (128, 128, 4096),
            (700, 1000, 200),
            (20, 10_000, 200),
            (10_007, 19, 300),
            (1031, 1033, 1),
        ] {
            let Cut::Output(tiles) = Cut::of((m, n, k)) else {
                continue;
            };
            let mut written = vec![0; m * n];
            for (rows, columns) in &tiles {
                for row in rows.clone() {
                    let row = &mut written[row * n..(row + 1) * n];
                    row[columns.clone()]
                        .iter_mut()
                        .for_each(|times| *times += 1);
                }
            }
            assert!(written.iter().all(|&times| times == 1), "{m}x{n}x{k}");
            largest = largest.max(tiles.len());
        }
        assert!(largest > 1);
    }

    #[test]
    fn an_empty_product_is_no_error() {
        for (m, n, k) in [(0, 3, 2), (3, 0, 2), (3, 2, 0)] {
            let (am, bm) = (Matrix::new(m, k), Matrix::new(k, n));
            let (a, b) = (vec![1.0; m * k], vec![1.0; k * n]);
            let (bias, mut c) = (vec![5.0; n], vec![f64::NAN; m * n]);
            let cm = (c.as_mut_slice(), Matrix::new(m, n));
            let scratch = &mut Vec::new();
            matmul(
                (&a, am),
                (&b, bm),
                Some(&bias),
                cm,
                Write::Overwrite,
                scratch,
                2,
            )
            .unwrap();
            assert!(c.iter().all(|&c| c == 5.0));
        }
    }

    #[test]
    fn results_do_not_depend_on_the_thread_count() {
        for (m, n, k) in [
            (700, 1000, 200),
            (257, 301, 1031),
            (200, 200, 2048),
            (20, 10000, 200),
            (520, 130, 512),
        ] {
            let a: Vec<f32> = (0..m * k).map(|i| (i as f32 * 0.7).sin()).collect();
            let b: Vec<f32> = (0..k * n).map(|i| (i as f32 * 0.3).cos()).collect();
            let run = |threads| {
                let mut c = vec![0.0f32; m * n];
                let bm = match k.is_multiple_of(512) {
                    true => Matrix::new(n, k).t(),
                    false => Matrix::new(k, n),
                };
                let am = Matrix::new(m, k);
                let cm = (c.as_mut_slice(), Matrix::new(m, n));
                let scratch = &mut Vec::new();
                matmul(
                    (&a, am),
                    (&b, bm),
                    None,
                    cm,
                    Write::Overwrite,
                    scratch,
                    threads,
                )
                .unwrap();
                c
            };
            let one = run(1);
            for threads in [2, 3, 4] {
                assert!(run(threads) == one, "{m}x{n}x{k} with {threads} threads");
            }
        }
    }
}
