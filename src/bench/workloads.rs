//! The sizes that benchmarks and comparisons are made at.

use crate::model::ModelSize;

/// A model and the windows it is trained on, by name.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Workload {
    /// What `bptt bench --workload` calls it.
    pub name: &'static str,
    /// Its sizes.
    pub size: ModelSize,
}

/// V, D, H, N, T.
const fn workload(name: &'static str, [v, d, h, n, t]: [usize; 5]) -> Workload {
    let size = ModelSize {
        vocab: v,
        embedding: d,
        hidden: h,
        batch: n,
        time_steps: t,
        biases: 1,
    };
    Workload { name, size }
}

/// A textbook's first model, a character model, and two Penn Treebank word models.
pub const EVERYDAY: [Workload; 4] = [
    workload("book", [418, 100, 100, 10, 5]),
    workload("char", [65, 64, 256, 32, 64]),
    workload("ptb", [10_000, 200, 200, 20, 35]),
    workload("ptb-medium", [10_000, 650, 650, 20, 35]),
];

/// Two for a large GPU.
pub const FOR_LARGE_GPUS: [Workload; 2] = [
    workload("large", [32_768, 1024, 1024, 64, 128]),
    workload("huge", [50_304, 2048, 2048, 128, 128]),
];

/// Every workload.
pub fn workloads() -> impl Iterator<Item = Workload> {
    EVERYDAY.into_iter().chain(FOR_LARGE_GPUS)
}

/// The sizes of the workload of this name.
pub fn size_of_workload(name: &str) -> Option<ModelSize> {
    workloads().find(|w| w.name == name).map(|w| w.size)
}
