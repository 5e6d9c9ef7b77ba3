//! The whole training step: forward, backward, SGD. On the CPU path and, with an adapter, on the
//! GPU that `--device gpu` would take. One item is one token.
//!
//!     cargo bench --bench training_step -- cpu
//!     cargo bench --bench training_step -- gpu

use bptt::bench::{EVERYDAY, Training, size_of_workload};
use bptt::device::{Cpu, Gpu, adapter};
use bptt::ops::Ops;
use divan::counter::ItemsCount;

fn main() {
    divan::main();
}

#[divan::bench(args = EVERYDAY.map(|w| w.name))]
fn cpu(bencher: divan::Bencher, workload: &str) {
    bench(bencher, Cpu::<f32>::new(), workload);
}

#[divan::bench(args = EVERYDAY.map(|w| w.name), sample_count = 10)]
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

fn bench<O: Ops>(bencher: divan::Bencher, mut ops: O, workload: &str) {
    let size = size_of_workload(workload).expect("a workload");
    let mut training = Training::new(&mut ops, size).expect("the model fits");
    training.step(&mut ops).expect("a first step");
    bencher
        .counter(ItemsCount::new(size.rows()))
        .bench_local(|| {
            training.step(&mut ops).expect("a step");
            ops.finish().expect("the device works");
        });
}
