//! C = op(A)·op(B) + bias (+ C).

use crate::device::Element;
use crate::error::Result;
use crate::ops::{Matrix, Write, check};

/// Below this many multiply-adds a second thread costs more than it brings: 32×256×256 runs at
/// 140 GFLOP/s on one core and at 54 on two.
const THREADS_FROM: usize = 8 << 20;

/// See [`crate::ops::Ops::matmul`]. The product itself is the `gemm` crate's.
pub fn matmul<F: Element>(
    a: (&[F], Matrix),
    b: (&[F], Matrix),
    bias: Option<&[F]>,
    c: (&mut [F], Matrix),
    write: Write,
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
        add_bias(bias, c_i, n, write);
        let accumulate = bias.is_some() || write == Write::Accumulate;
        let strides = (a.1.strides(), b.1.strides());
        product(
            (m, n, k),
            (a_i, strides.0),
            (b_i, strides.1),
            c_i,
            accumulate,
            threads,
        );
    }
    Ok(())
}

fn add_bias<F: Element>(bias: Option<&[F]>, c: &mut [F], n: usize, write: Write) {
    let Some(bias) = bias else { return };
    for row in c.chunks_exact_mut(n.max(1)) {
        match write {
            Write::Overwrite => row.copy_from_slice(bias),
            Write::Accumulate => row.iter_mut().zip(bias).for_each(|(c, &b)| *c += b),
        }
    }
}

/// c = a·b, or c += a·b. `a` and `b` come with their row and column strides.
pub(super) fn product<F: Element>(
    (m, n, k): (usize, usize, usize),
    (a, (a_row, a_col)): (&[F], (usize, usize)),
    (b, (b_row, b_col)): (&[F], (usize, usize)),
    c: &mut [F],
    accumulate: bool,
    threads: usize,
) {
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !accumulate {
            c[..m * n].fill(F::zero());
        }
        return;
    }
    assert!(a.len() > (m - 1) * a_row + (k - 1) * a_col);
    assert!(b.len() > (k - 1) * b_row + (n - 1) * b_col);
    assert!(c.len() >= m * n);
    let parallelism = if threads > 1 && m * n * k >= THREADS_FROM {
        gemm::Parallelism::Rayon(threads)
    } else {
        gemm::Parallelism::None
    };
    // SAFETY: the asserts above bound every element that these strides reach; `c` is borrowed
    // mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
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
            parallelism,
        );
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

    #[test]
    fn results_do_not_depend_on_the_thread_count() {
        for (m, n, k) in [
            (700, 1000, 200),
            (257, 301, 1031),
            (200, 200, 2048),
            (20, 10000, 200),
        ] {
            let a: Vec<f32> = (0..m * k).map(|i| (i as f32 * 0.7).sin()).collect();
            let b: Vec<f32> = (0..k * n).map(|i| (i as f32 * 0.3).cos()).collect();
            let run = |threads| {
                let mut c = vec![0.0f32; m * n];
                let (am, bm) = (Matrix::new(m, k), Matrix::new(k, n));
                let cm = (c.as_mut_slice(), Matrix::new(m, n));
                matmul((&a, am), (&b, bm), None, cm, Write::Overwrite, threads).unwrap();
                c
            };
            let one = run(1);
            for threads in [2, 3, 4] {
                assert!(run(threads) == one, "{m}x{n}x{k} with {threads} threads");
            }
        }
    }
}
