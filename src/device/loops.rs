//! How the CPU path runs its loops: on several threads, with the widest vectors, in fixed orders.

use rayon::prelude::*;

use super::Element;

/// Elements that are read or written from which on a second thread pays.
const THREADS_FROM: usize = 1 << 16;
/// Elements of a chunk that are enough to hide the cost of handing it out.
pub const CHUNK: usize = 1 << 14;

/// Calls `run` for chunks of `chunk_len` elements of `out`, with the index of the chunk's first
/// element, on up to `threads` threads. `work` is the number of elements read or written in all.
///
/// Each element is computed by one thread in an order of its own, so results do not depend on the
/// number of threads.
pub fn for_each_chunk<F: Element>(
    out: &mut [F],
    chunk_len: usize,
    work: usize,
    threads: usize,
    run: impl Fn(usize, &mut [F]) + Sync,
) {
    let run = |(i, chunk): (usize, &mut [F])| run(i * chunk_len, chunk);
    if threads > 1 && work >= THREADS_FROM {
        out.par_chunks_mut(chunk_len).enumerate().for_each(run);
    } else {
        out.chunks_mut(chunk_len).enumerate().for_each(run);
    }
}

/// [`for_each_chunk`] for arrays of equal length that are written together: `run` gets a chunk of
/// each.
pub fn for_each_chunks<F: Element, const N: usize>(
    out: [&mut [F]; N],
    chunk_len: usize,
    work: usize,
    threads: usize,
    run: impl Fn(usize, [&mut [F]; N]) + Sync,
) {
    let chunks = out[0].len().div_ceil(chunk_len);
    let mut rest = out.map(|out| out.chunks_mut(chunk_len));
    let next = |_| rest.each_mut().map(|out| out.next().unwrap_or_default());
    let chunks: Vec<[&mut [F]; N]> = (0..chunks).map(next).collect();
    let run = |(i, chunks): (usize, [&mut [F]; N])| run(i * chunk_len, chunks);
    if threads > 1 && work >= THREADS_FROM {
        chunks.into_par_iter().enumerate().for_each(run);
    } else {
        chunks.into_iter().enumerate().for_each(run);
    }
}

/// Runs `work` compiled for the widest vectors that this processor has. Results are the same at
/// every width: no operation is fused or reordered by it.
///
/// `work` must be an `#[inline(always)]` closure, or it is compiled for the narrowest.
#[inline(always)]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    struct Work<F>(F);

    impl<R, F: FnOnce() -> R> pulp::WithSimd for Work<F> {
        type Output = R;

        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _: S) -> R {
            (self.0)()
        }
    }

    pulp::Arch::new().dispatch(Work(work))
}

/// Lanes of a reduction: one vector of the widest kind.
const LANES: usize = 16;

/// The sum of `term(x)` over `x`, in interleaved lanes: that vectorises and keeps rounding errors
/// small.
#[inline(always)]
pub fn sum<F: Element>(x: &[F], term: impl Fn(F) -> F) -> F {
    reduce(x, F::zero(), |sum, x| sum + term(x), |a, b| a + b)
}

/// The largest element; NaN is passed over.
#[inline(always)]
pub fn maximum<F: Element>(x: &[F]) -> F {
    let larger = |a: F, b: F| if b > a { b } else { a };
    reduce(x, F::neg_infinity(), larger, larger)
}

#[inline(always)]
fn reduce<F: Element>(
    x: &[F],
    start: F,
    fold: impl Fn(F, F) -> F,
    combine: impl Fn(F, F) -> F,
) -> F {
    let mut lanes = [start; LANES];
    let chunks = x.chunks_exact(LANES);
    for (lane, &x) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane = fold(*lane, x);
    }
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = fold(*lane, x);
        }
    }
    lanes.into_iter().fold(start, combine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reductions_take_every_element() {
        for len in [0, 1, 15, 16, 17, 40] {
            let x: Vec<f64> = (0..len).map(f64::from).collect();
            assert_eq!(sum(&x, |x| 2.0 * x), f64::from(len * (len - 1)));
            assert_eq!(
                maximum(&x),
                if len == 0 {
                    f64::NEG_INFINITY
                } else {
                    f64::from(len - 1)
                }
            );
        }
        assert_eq!(maximum(&[1.0, f64::NAN, 3.0]), 3.0);
    }

    #[test]
    fn chunks_cover_an_array_on_any_number_of_threads() {
        for threads in [1, 2] {
            let mut out = vec![0.0f32; 100_003];
            for_each_chunk(&mut out, 1000, 100_003, threads, |first, chunk| {
                for (i, x) in chunk.iter_mut().enumerate() {
                    *x = (first + i) as f32;
                }
            });
            assert!(out.iter().enumerate().all(|(i, &x)| x == i as f32));
            let mut twice = vec![0.0f32; 100_003];
            for_each_chunks(
                [&mut out, &mut twice],
                1000,
                100_003,
                threads,
                |_, [a, b]| {
                    assert_eq!(a.len(), b.len());
                    a.iter().zip(b).for_each(|(a, b)| *b += 2.0 * a);
                },
            );
            let twice = twice.iter().enumerate();
            assert!(twice.into_iter().all(|(i, &x)| x == 2.0 * i as f32));
        }
    }
}
