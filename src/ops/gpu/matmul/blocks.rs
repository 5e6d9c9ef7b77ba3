//! A product in blocks, each of which can be bound. C's rows follow M; the rows of A as stored follow
//! M or K, those of B K or N. A cut along M or N changes no bits; one along K does: partial sums are
//! added in ascending k.

use super::{Bound, Product, Shape};
use crate::device::gpu::GpuTensor;
use crate::error::Result;
use crate::ops::{Matrix, Write};

/// Most k's of a dispatch: lavapipe ends an invocation's loops after 65,535 iterations in all, without
/// a word, and kernels take 4 to 16 at a time.
const MAX_DEPTH: usize = 1 << 17;

/// The ranges of M, N and K.
#[derive(Debug, PartialEq, Eq)]
pub struct Blocks {
    pub m: Vec<(usize, usize)>,
    pub n: Vec<(usize, usize)>,
    pub k: Vec<(usize, usize)>,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    m: (usize, usize),
    n: (usize, usize),
    k: (usize, usize),
}

impl Blocks {
    /// As few blocks as can be bound.
    pub fn of(product: &Product) -> Result<Self> {
        let Shape { m, n, k, batch } = product.shape;
        let (a, b, c) = (product.a, product.b, product.c);
        if batch > 1 {
            // Matrices side by side are bound as one.
            for (operand, (tensor, _)) in [("A", a), ("B", b), ("C", c)] {
                tensor.whole("matmul", operand)?;
            }
            return Ok(Blocks {
                m: vec![(0, m)],
                n: vec![(0, n)],
                k: vec![(0, k)],
            });
        }
        let (mut along_m, mut along_n) = (vec![("C", c.0, c.1)], vec![]);
        let mut along_k = vec![];
        match a.1.transposed {
            true => along_k.push(("A", a.0, a.1)),
            false => along_m.push(("A", a.0, a.1)),
        }
        match b.1.transposed {
            true => along_n.push(("B", b.0, b.1)),
            false => along_k.push(("B", b.0, b.1)),
        }
        Ok(Blocks {
            m: ranges(m, usize::MAX, &along_m)?,
            n: ranges(n, usize::MAX, &along_n)?,
            k: ranges(k, MAX_DEPTH, &along_k)?,
        })
    }

    /// Every block; those of a sum follow each other, in ascending k.
    pub fn all(&self) -> impl Iterator<Item = Block> + '_ {
        let of_mn = |m, n| self.k.iter().map(move |&k| Block { m, n, k });
        let of_m = move |m| self.n.iter().flat_map(move |&n| of_mn(m, n));
        self.m.iter().flat_map(move |&m| of_m(m))
    }
}

/// Cuts `length` rows, at most `most` at once, to what can be bound of each operand: at least one
/// range.
fn ranges(
    length: usize,
    most: usize,
    operands: &[(&'static str, &GpuTensor, Matrix)],
) -> Result<Vec<(usize, usize)>> {
    let mut ranges = Vec::new();
    let mut first = 0;
    while first < length || ranges.is_empty() {
        let mut end = length.min(first.saturating_add(most));
        for (operand, tensor, layout) in operands.iter().filter(|o| o.2.cols > 0) {
            let at = layout.offset + first * layout.cols;
            let reach = tensor.reach(at).saturating_sub(at) / layout.cols;
            if reach == 0 && first < length {
                return Err(tensor.unbindable("matmul", operand, layout.cols));
            }
            end = end.min(first + reach);
        }
        ranges.push((first, end));
        first = end;
    }
    Ok(ranges)
}

impl Product<'_> {
    /// The operands of a block.
    pub fn bind(&self, block: &Block) -> Result<Bound> {
        let Block { m, n, k } = *block;
        let bind = |(tensor, layout): (&GpuTensor, Matrix), rows: (usize, usize), cols| {
            if layout.batch > 1 || self.shape.batch > 1 {
                return (tensor.window(0, tensor.len()).0, layout);
            }
            let (rows, cols) = match layout.transposed {
                true => (cols, rows),
                false => (rows, cols),
            };
            let at = |row: usize| layout.offset + row * layout.cols;
            let (buffer, place) = tensor.window(at(rows.0), at(rows.1));
            let bound = Matrix {
                rows: rows.1 - rows.0,
                ..layout
            };
            (buffer, bound.at(place + cols.0))
        };
        let bias = match self.bias.filter(|_| k.0 == 0) {
            Some(bias) => Some(bias.range(("matmul", "bias"), n.0, n.1)?),
            None => None,
        };
        Ok(Bound {
            shape: Shape {
                m: m.1 - m.0,
                n: n.1 - n.0,
                k: k.1 - k.0,
                batch: self.shape.batch,
            },
            a: bind(self.a, m, k),
            b: bind(self.b, k, n),
            bias,
            c: bind(self.c, m, n),
            c_row: self.c.1.cols,
            write: match k.0 {
                0 => self.write,
                _ => Write::Accumulate,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::gpu::without_memory;

    #[test]
    fn ranges_end_where_any_operand_s_binding_does() {
        // 100 rows of 10 elements, 128 of which a binding holds; of 8 elements, in pieces of 5 rows.
        let bound = without_memory(1000, 1000, 128);
        let pieces = without_memory(800, 40, 128);
        let along = [
            ("A", &bound, Matrix::new(100, 10)),
            ("B", &pieces, Matrix::new(100, 8)),
        ];
        let ranges = ranges(100, usize::MAX, &along).unwrap();
        assert!(
            ranges
                .iter()
                .all(|(first, end)| first < end && end - first <= 5)
        );
        assert!(ranges.windows(2).all(|pair| pair[0].1 == pair[1].0));
        assert_eq!((ranges[0].0, ranges[ranges.len() - 1].1), (0, 100));
        assert_eq!(super::ranges(0, 7, &along).unwrap(), [(0, 0)]);
        assert_eq!(super::ranges(9, 7, &[]).unwrap(), [(0, 7), (7, 9)]);
        let wide = [("A", &bound, Matrix::new(5, 200))];
        assert!(super::ranges(5, usize::MAX, &wide).is_err());
    }
}
