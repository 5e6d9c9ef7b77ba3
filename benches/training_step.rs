//! The whole training step: forward, backward, SGD. On the CPU path and, with an adapter, on the
//! GPU that `--device gpu` would take. One item is one token.
//!
//!     cargo bench --bench training_step -- cpu
//!     cargo bench --bench training_step -- gpu

mod workloads;

use bptt::device::{Cpu, Gpu, adapter};
use bptt::model::{ModelSize, RnnLm};
use bptt::ops::Ops;
use bptt::optimizer::Sgd;
use divan::counter::ItemsCount;
use workloads::{WORKLOADS, tokens};

fn main() {
    divan::main();
}

#[divan::bench(args = WORKLOADS.map(|w| w.0))]
fn cpu(bencher: divan::Bencher, workload: &str) {
    bench(bencher, Cpu::<f32>::new(), workload);
}

#[divan::bench(args = WORKLOADS.map(|w| w.0), sample_count = 10)]
fn gpu(bencher: divan::Bencher, workload: &str) {
    let adapters = adapter::adapters();
    let adapter = adapters
        .first()
        .expect("no adapter: apt-get install mesa-vulkan-drivers");
    bench(
        bencher,
        Gpu::open(adapter).expect("the adapter opens"),
        workload,
    );
}

fn bench<O: Ops>(bencher: divan::Bencher, ops: O, workload: &str) {
    let (_, size) = WORKLOADS
        .into_iter()
        .find(|w| w.0 == workload)
        .expect("a workload");
    let mut training = Training::new(ops, size).expect("the model fits");
    training.step().expect("a first step");
    bencher
        .counter(ItemsCount::new(size.rows()))
        .bench_local(|| training.step().expect("a step"));
}

/// A model under training, eight windows in turn.
struct Training<O: Ops> {
    ops: O,
    model: RnnLm<O>,
    sgd: Sgd<O>,
    windows: Vec<Vec<u32>>,
    steps: usize,
}

impl<O: Ops> Training<O> {
    fn new(mut ops: O, size: ModelSize) -> bptt::Result<Self> {
        let mut model = RnnLm::new(&mut ops, size, true)?;
        model.init(&mut ops, 1)?;
        let mut sgd = Sgd::new(&mut ops, &model, None)?;
        sgd.set_rate(&mut ops, 0.1)?;
        let windows = (0..9).map(|salt| tokens(size, salt)).collect();
        Ok(Training {
            ops,
            model,
            sgd,
            windows,
            steps: 0,
        })
    }

    /// One step, waited for.
    fn step(&mut self) -> bptt::Result<()> {
        let window = self.steps % 8;
        self.steps += 1;
        let (inputs, targets) = (&self.windows[window], &self.windows[window + 1]);
        self.model.forward(&mut self.ops, inputs, targets)?;
        self.model.backward(&mut self.ops)?;
        self.sgd.step(&mut self.ops, &mut self.model)?;
        self.ops.finish()
    }
}
