use super::bounds::{TINY, gamma};
use super::harness::{Harness, Result, magnitudes};
use super::subject::Subject;
use crate::model::ModelSize;
use crate::ops::{Matrix, Ops, Write};

/// M, N, K: one, none, the edges of tiles of 8, 32, 64 and 128 and of the 16 k's that are
/// staged at a time, and of the length from which a sum is cut.
const SIZES: &[(usize, usize, usize)] = &[
    (1, 1, 1),
    (1, 7, 3),
    (5, 1, 2),
    (2, 3, 1),
    (7, 8, 9),
    (9, 17, 16),
    (15, 65, 17),
    (63, 64, 65),
    (64, 64, 16),
    (65, 63, 15),
    (10, 418, 100),
    (257, 3, 1031),
    (3, 2, 0),
    (31, 33, 15),
    (32, 32, 32),
    (33, 31, 33),
    (127, 129, 17),
    (128, 128, 16),
    (129, 127, 31),
    (20, 36, 511),
    (12, 40, 512),
    // Last rows at each place of a tile of 8, and k's that are no multiple of 4.
    (3, 6, 5),
    (6, 11, 7),
    (8, 12, 6),
];

/// Primes: edges within tiles of every size, and along N more than one of each.
const PRIMES: (usize, usize, usize) = (97, 131, 101);

pub fn cases<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    if harness.ends_with_any_failure() {
        // First what notices most that can be wrong: every setting of the switches is compiled when it is first
        // met, for each wrong kernel anew.
        telling(harness)?;
    }
    for &size in SIZES {
        transposed(harness, size)?;
    }
    alignments(harness)?;
    telling(harness)
}

/// Every way that elements of C are found, and sums are cut.
fn telling<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    transposed(harness, PRIMES)?;
    batches(harness)?;
    // Long sums, also in the midst of their tensors.
    transposed(harness, (21, 35, 513))?;
    let (a, b) = (Matrix::new(523, 6).at(5).t(), Matrix::new(523, 9).at(2));
    let c = Matrix::new(6, 9).at(3);
    product(harness, a, b, c, true, Write::Accumulate)?;
    harness.cut(|harness| {
        transposed(harness, PRIMES)?;
        transposed(harness, (100, 132, 96))
    })
}

/// Packed, with gaps, with a shared operand, all with offsets; and of matrices that are as high as a tile.
fn batches<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    for (batch, b_stride) in [(3, 35), (2, 41), (5, 0)] {
        let a = Matrix::new(6, 5).at(2).batched(batch, 31);
        let b = Matrix::new(5, 7).at(3).batched(batch, b_stride);
        let c = Matrix::new(6, 7).at(0).batched(batch, 42);
        product(harness, a, b, c, true, Write::Overwrite)?;
        let c = c.at(4).batched(batch, 45);
        product(harness, a, b, c, false, Write::Accumulate)?;
    }
    let a = Matrix::new(32, 5).batched(2, 160);
    let (b, c) = (
        Matrix::new(5, 7).batched(2, 35),
        Matrix::new(32, 7).batched(2, 224),
    );
    product(harness, a, b, c, false, Write::Overwrite)
}

/// Rows that begin at a multiple of four elements in both operands, and in one of them.
fn alignments<O: Subject>(harness: &mut Harness<O>) -> Result<()> {
    for (a_offset, b_offset) in [(0, 0), (1, 0), (0, 2), (3, 3)] {
        let (a, b) = (Matrix::new(36, 24).at(a_offset), Matrix::new(24, 44));
        let c = Matrix::new(36, 44);
        product(harness, a, b.at(b_offset), c, true, Write::Overwrite)?;
        let (a, b) = (
            Matrix::new(24, 36).at(a_offset).t(),
            Matrix::new(44, 24).t(),
        );
        product(harness, a, b.at(b_offset), c, false, Write::Accumulate)?;
    }
    Ok(())
}

/// M, N, K with either operand transposed, or both.
fn transposed<O: Subject>(
    harness: &mut Harness<O>,
    (m, n, k): (usize, usize, usize),
) -> Result<()> {
    for (a_transposed, b_transposed) in [(false, false), (false, true), (true, false), (true, true)]
    {
        let write = if a_transposed {
            Write::Accumulate
        } else {
            Write::Overwrite
        };
        let with_bias = b_transposed;
        let stored = |rows, cols, transposed| match transposed {
            true => Matrix::new(cols, rows).t(),
            false => Matrix::new(rows, cols),
        };
        let a = stored(m, k, a_transposed);
        let b = stored(k, n, b_transposed);
        product(harness, a, b, Matrix::new(m, n), with_bias, write)?;
    }
    Ok(())
}

/// A case of the sizes of a model.
pub fn at<O: Subject>(harness: &mut Harness<O>, size: ModelSize) -> Result<()> {
    let (rows, at) = (size.rows(), size.vocab % 5);
    let (embedding, hidden, vocab) = (size.embedding, size.hidden, size.vocab);
    let e = Matrix::new(rows, embedding).at(at);
    let h = Matrix::new(rows, hidden);
    let (wx, wa) = (Matrix::new(embedding, hidden), Matrix::new(hidden, vocab));
    let da = Matrix::new(rows, vocab);
    product(harness, e, wx, h, true, Write::Overwrite)?;
    product(harness, h, wa.at(at), da, true, Write::Overwrite)?;
    product(harness, da, wa.t(), h, false, Write::Overwrite)?;
    product(harness, h.t(), da, wa, false, Write::Accumulate)
}

fn product<O: Subject>(
    harness: &mut Harness<O>,
    a: Matrix,
    b: Matrix,
    c: Matrix,
    with_bias: bool,
    write: Write,
) -> Result<()> {
    let len = |x: Matrix| x.offset + c.batch.saturating_sub(1) * x.batch_stride + x.rows * x.cols;
    // Behind an operand: what is read there, beyond the last k's, counts as 0, and a NaN does not.
    let mut operand = |x: Matrix| {
        let mut values = harness.normal(len(x), 1.0);
        values.extend(vec![f32::NAN; 4 * (x.cols + 1)]);
        values
    };
    let (a_values, b_values) = (operand(a), operand(b));
    let bias_values = harness.normal(c.cols, 1.0);
    let c_values = harness.normal(len(c), 1.0);
    let (at, bt) = (harness.input(&a_values)?, harness.input(&b_values)?);
    let bias = harness.input(&bias_values)?;
    let mut ct = match write {
        Write::Overwrite => harness.output(len(c))?,
        Write::Accumulate => harness.in_out(&c_values)?,
    };

    let mut bound = magnitudes(&ct.exact);
    let bias_bound = magnitudes(&bias.exact);
    let gpu_bias = with_bias.then_some(&bias.device);
    harness.device.matmul(
        (&at.device, a),
        (&bt.device, b),
        gpu_bias,
        (&mut ct.device, c),
        write,
    )?;
    let cpu = &mut harness.exact;
    let cpu_bias = with_bias.then_some(&bias.exact);
    cpu.matmul(
        (&at.exact, a),
        (&bt.exact, b),
        cpu_bias,
        (&mut ct.exact, c),
        write,
    )?;
    // |A|·|B| + |bias| + |C|: what the error of k products, k sums and two more is a share of.
    let (a_bound, b_bound) = (magnitudes(&at.exact), magnitudes(&bt.exact));
    let bias_bound = with_bias.then_some(&bias_bound);
    cpu.matmul(
        (&a_bound, a),
        (&b_bound, b),
        bias_bound,
        (&mut bound, c),
        write,
    )?;

    let k = a.shape().1;
    let (m, n) = (c.rows, c.cols);
    let case = format!("{m}x{n}x{k}, batch {}", c.batch);
    harness.compare(&case, &ct, |i| gamma(k + 2) * bound.0[i] + k as f64 * TINY)
}
