//! Every op at the sizes of the workloads: first held to the f64 reference, then timed. On the CPU
//! path and, with an adapter, on the GPU that `--device gpu` would take. One item is one
//! floating-point operation, or one element of the output for ops that only move data.
//!
//!     cargo bench --bench ops -- cpu::matmul
//!     cargo bench --bench ops -- gpu
//!     cargo bench --bench ops -- matmul_variants

use bptt::bench::{EVERYDAY, size_of_workload, tokens};
use bptt::device::{Cpu, Gpu, Purpose, adapter};
use bptt::model::ModelSize;
use bptt::ops::{
    Adam, Choice, Matrix, Momentum, Ops, Recurrence, RowChunk, Write, embedding_partials,
    norm_partials,
};
use bptt::parity::{Subject, check_op};
use divan::counter::ItemsCount;

fn main() {
    divan::main();
}

/// Largest tensor of logits that is timed: 64 MiB.
const MAX_LOGITS: usize = 16 << 20;

/// A device with the sizes of a workload, ready to time ops.
struct Bench<O: Ops> {
    ops: O,
    size: ModelSize,
}

impl<O: Subject> Bench<O> {
    /// Checks the op on `ops` before it may be timed there.
    fn new(mut ops: O, op: &str, workload: &str) -> Self {
        let checked = check_op(&mut ops, op).expect("the device works");
        let right = !checked.is_empty() && checked.iter().all(|report| report.passed());
        assert!(right, "{op} is wrong on {}", ops.describe());
        let size = size_of_workload(workload).expect("a workload");
        assert!(size.rows() * size.vocab <= MAX_LOGITS);
        Bench { ops, size }
    }

    /// A tensor of numbers between -0.5 and 0.5.
    fn tensor(&mut self, len: usize) -> O::Tensor {
        let values: Vec<f32> = (0..len)
            .map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5)
            .collect();
        let mut tensor = self.zeros(len);
        self.ops
            .write(&mut tensor, 0, &values)
            .expect("the values fit");
        tensor
    }

    fn zeros(&mut self, len: usize) -> O::Tensor {
        self.ops
            .alloc(Purpose::Scratch, "bench", len)
            .expect("the tensor fits")
    }

    fn ids(&mut self) -> O::Ids {
        let (rows, vocab) = (self.size.rows(), self.size.vocab);
        let ids = self.ops.alloc_ids("bench", rows, vocab, true);
        let mut ids = ids.expect("the ids fit");
        let tokens = tokens(self.size, 1);
        self.ops
            .write_ids(&mut ids, &tokens)
            .expect("ids of the vocabulary");
        ids
    }

    fn recurrence(&self) -> Recurrence {
        Recurrence {
            time_steps: self.size.time_steps,
            batch: self.size.batch,
            hidden: self.size.hidden,
        }
    }

    /// Times `run` and what it leaves to the device.
    fn time(
        &mut self,
        bencher: divan::Bencher,
        items: usize,
        mut run: impl FnMut(&mut O) -> bptt::Result<()>,
    ) {
        let ops = &mut self.ops;
        bencher.counter(ItemsCount::new(items)).bench_local(|| {
            run(ops).and_then(|()| ops.finish()).expect("the op runs");
        });
    }
}

/// The product of the output layer, h·Wa + ba.
fn matmul<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let (rows, h, v) = (bench.size.rows(), bench.size.hidden, bench.size.vocab);
    let (a, b, bias) = (bench.tensor(rows * h), bench.tensor(h * v), bench.tensor(v));
    let mut c = bench.zeros(rows * v);
    bench.time(bencher, 2 * rows * h * v, |ops| {
        let (a, b) = ((&a, Matrix::new(rows, h)), (&b, Matrix::new(h, v)));
        let c = (&mut c, Matrix::new(rows, v));
        ops.matmul(a, b, Some(&bias), c, Write::Overwrite)
    });
}

fn tanh<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let len = bench.size.rows() * bench.size.hidden;
    let (x, mut y) = (bench.tensor(len), bench.zeros(len));
    bench.time(bencher, len, |ops| ops.tanh(&x, &mut y));
}

fn tanh_backward<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let len = bench.size.rows() * bench.size.hidden;
    let (y, dy, mut dx) = (bench.tensor(len), bench.tensor(len), bench.zeros(len));
    bench.time(bencher, 3 * len, |ops| ops.tanh_backward(&y, &dy, &mut dx));
}

fn rnn<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let size = bench.recurrence();
    let (rows, h) = (bench.size.rows(), size.hidden);
    let (mut hidden, wh) = (bench.tensor((rows + size.batch) * h), bench.tensor(h * h));
    bench.time(bencher, 2 * rows * h * h, |ops| {
        ops.rnn(&mut hidden, &wh, size)
    });
}

/// With a state and weights of zero, so that gradients neither grow nor vanish from run to run.
fn rnn_backward<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let size = bench.recurrence();
    let (rows, h) = (bench.size.rows(), size.hidden);
    let (hidden, wh) = (bench.zeros((rows + size.batch) * h), bench.zeros(h * h));
    let mut grad = bench.tensor(rows * h);
    bench.time(bencher, 2 * rows * h * h, |ops| {
        ops.rnn_backward(&mut grad, &hidden, &wh, size)
    });
}

fn embedding<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let (rows, dim) = (bench.size.rows(), bench.size.embedding);
    let (table, ids) = (bench.tensor(bench.size.vocab * dim), bench.ids());
    let mut out = bench.zeros(rows * dim);
    bench.time(bencher, rows * dim, |ops| {
        ops.embedding(&table, &ids, (&mut out, Matrix::new(rows, dim)))
    });
}

fn embedding_backward<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let (vocab, dim) = (bench.size.vocab, bench.size.embedding);
    let (dout, ids) = (bench.tensor(bench.size.rows() * dim), bench.ids());
    let mut dtable = bench.zeros(vocab * dim);
    let mut partials = bench.zeros(embedding_partials(bench.size.rows(), vocab, dim));
    bench.time(bencher, vocab * dim, |ops| {
        ops.embedding_backward(&dout, &ids, &mut dtable, &mut partials, dim)
    });
}

fn softmax_cross_entropy<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let (rows, vocab) = (bench.size.rows(), bench.size.vocab);
    let (mut logits, targets) = (bench.tensor(rows * vocab), bench.ids());
    let mut losses = bench.zeros(rows);
    let chunk = RowChunk {
        first_row: 0,
        rows,
        total_rows: rows,
        vocab,
    };
    bench.time(bencher, rows * vocab, |ops| {
        ops.softmax_cross_entropy(&mut logits, &targets, &mut losses, chunk, true)
    });
}

fn mean_loss<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let rows = bench.size.rows();
    let (losses, mut loss) = (bench.tensor(rows), bench.zeros(2));
    bench.time(bencher, rows, |ops| ops.mean_loss(&losses, &mut loss));
}

fn softmax<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let (rows, vocab) = (bench.size.rows(), bench.size.vocab);
    let (logits, mut probs) = (bench.tensor(rows * vocab), bench.zeros(rows * vocab));
    bench.time(bencher, rows * vocab, |ops| {
        ops.softmax(&logits, &mut probs, vocab, 1.0)
    });
}

/// One time step of all streams, by every means of choosing.
fn sample<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let (rows, vocab) = (bench.size.batch, bench.size.vocab);
    let (logits, uniform) = (bench.tensor(rows * vocab), bench.zeros(rows));
    let mut tokens = bench.zeros(rows);
    let choice = Choice {
        temperature: 0.8,
        top_k: 40,
        top_p: 0.9,
    };
    bench.time(bencher, rows * vocab, |ops| {
        ops.sample(&logits, &uniform, &mut tokens, vocab, choice)
    });
}

fn softmax_backward<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let (len, vocab) = (bench.size.rows() * bench.size.vocab, bench.size.vocab);
    let (probs, dprobs, mut dlogits) = (bench.tensor(len), bench.tensor(len), bench.zeros(len));
    bench.time(bencher, 4 * len, |ops| {
        ops.softmax_backward(&probs, &dprobs, &mut dlogits, vocab)
    });
}

fn cross_entropy<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let (rows, vocab) = (bench.size.rows(), bench.size.vocab);
    let (probs, targets) = (bench.tensor(rows * vocab), bench.ids());
    let (mut losses, mut dprobs) = (bench.zeros(rows), bench.zeros(rows * vocab));
    bench.time(bencher, rows * vocab, |ops| {
        ops.cross_entropy(&probs, &targets, &mut losses, &mut dprobs, vocab)
    });
}

fn sum_rows<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let (rows, vocab) = (bench.size.rows(), bench.size.vocab);
    let (x, mut out) = (bench.tensor(rows * vocab), bench.zeros(vocab));
    bench.time(bencher, rows * vocab, |ops| {
        ops.sum_rows((&x, Matrix::new(rows, vocab)), &mut out, Write::Overwrite)
    });
}

fn accumulate<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let len = bench.size.parameters();
    let (mut sum, gradient) = (bench.zeros(len), bench.tensor(len));
    bench.time(bencher, 2 * len, |ops| {
        ops.accumulate(&mut [&mut sum], &[&gradient], 0.25, Write::Accumulate)
    });
}

fn global_norm<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let len = bench.size.parameters();
    let (gradient, mut norm) = (bench.tensor(len), bench.zeros(2));
    let mut partials = bench.zeros(norm_partials([len]));
    bench.time(bencher, 2 * len, |ops| {
        ops.global_norm(&[&gradient], Some(1.0), &mut partials, &mut norm)
    });
}

fn sgd<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let len = bench.size.parameters();
    let (mut weights, gradient) = (bench.tensor(len), bench.tensor(len));
    let (rate, norm) = (bench.zeros(1), bench.zeros(2));
    bench.time(bencher, 2 * len, |ops| {
        ops.sgd(&mut [&mut weights], &[&gradient], &rate, &norm)
    });
}

fn momentum<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let len = bench.size.parameters();
    let (mut weights, gradient) = (bench.tensor(len), bench.tensor(len));
    let (mut velocity, rate, norm) = (bench.zeros(len), bench.zeros(1), bench.zeros(2));
    let settings = Momentum {
        momentum: 0.9,
        weight_decay: 0.0,
        nesterov: false,
    };
    bench.time(bencher, 4 * len, |ops| {
        let (weights, velocities) = (&mut [&mut weights], &mut [&mut velocity]);
        ops.momentum(weights, velocities, &[&gradient], &rate, &norm, settings)
    });
}

fn adam<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let len = bench.size.parameters();
    let (mut weights, gradient) = (bench.tensor(len), bench.tensor(len));
    let (mut first, mut second) = (bench.zeros(len), bench.zeros(len));
    let (rate, norm) = (bench.zeros(3), bench.zeros(2));
    let settings = Adam {
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.01,
        decoupled: true,
    };
    bench.time(bencher, 14 * len, |ops| {
        let moments: [&mut [&mut O::Tensor]; 2] = [&mut [&mut first], &mut [&mut second]];
        let weights = &mut [&mut weights];
        ops.adam(weights, moments, &[&gradient], &rate, &norm, settings)
    });
}

fn copy_within<O: Subject>(mut bench: Bench<O>, bencher: divan::Bencher) {
    let step = bench.size.batch * bench.size.hidden;
    let mut tensor = bench.tensor(2 * step);
    bench.time(bencher, step, |ops| {
        ops.copy_within(&mut tensor, step, 0, step)
    });
}

/// Each op on each device.
macro_rules! on_both_devices {
    ($($op:ident)*) => {
        mod cpu {
            use super::{Bench, Cpu, EVERYDAY};
            $(#[divan::bench(args = EVERYDAY.map(|w| w.name))]
            fn $op(bencher: divan::Bencher, workload: &str) {
                super::$op(Bench::new(Cpu::<f32>::new(), stringify!($op), workload), bencher);
            })*
        }

        mod gpu {
            use super::{Bench, EVERYDAY, open_gpu};
            $(#[divan::bench(args = EVERYDAY.map(|w| w.name), sample_count = 20)]
            fn $op(bencher: divan::Bencher, workload: &str) {
                super::$op(Bench::new(open_gpu(), stringify!($op), workload), bencher);
            })*
        }
    };
}

on_both_devices! {
    matmul tanh tanh_backward rnn rnn_backward embedding embedding_backward softmax_cross_entropy
    mean_loss softmax sample softmax_backward cross_entropy sum_rows accumulate
    global_norm sgd momentum adam copy_within
}

/// M, K, N of products that variants are compared on: large, of few rows, and a weight gradient.
const SHAPES: [(usize, usize, usize); 3] = [(1024, 1024, 1024), (32, 256, 256), (256, 2048, 256)];

/// Every variant of the product that the device has, with every shape.
fn variants_and_shapes() -> impl Iterator<Item = (&'static str, (usize, usize, usize))> {
    let variants = open_gpu().variants_of("matmul");
    let of_shape = move |shape| variants.clone().into_iter().map(move |name| (name, shape));
    SHAPES.into_iter().flat_map(of_shape)
}

#[divan::bench(args = variants_and_shapes(), sample_count = 20)]
fn matmul_variants(
    bencher: divan::Bencher,
    (variant, (m, k, n)): (&'static str, (usize, usize, usize)),
) {
    let mut bench = Bench::new(open_gpu(), "matmul", "char");
    bench.ops.force_variant("matmul", Some(variant));
    let (a, b) = (bench.tensor(m * k), bench.tensor(k * n));
    let mut c = bench.zeros(m * n);
    bench.time(bencher, 2 * m * k * n, |ops| {
        let (a, b) = ((&a, Matrix::new(m, k)), (&b, Matrix::new(k, n)));
        ops.matmul(a, b, None, (&mut c, Matrix::new(m, n)), Write::Overwrite)
    });
}

fn open_gpu() -> Gpu {
    let adapters = adapter::adapters();
    let adapter = adapters
        .first()
        .expect("no adapter: apt-get install mesa-vulkan-drivers");
    Gpu::open(adapter).expect("the adapter opens")
}
