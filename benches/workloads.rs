//! The sizes that benchmarks and comparisons are made at.

use bptt::model::ModelSize;

/// Name and sizes of a workload.
pub type Workload = (&'static str, ModelSize);

/// V, D, H, N, T.
const fn size(
    vocab: usize,
    embedding: usize,
    hidden: usize,
    batch: usize,
    time_steps: usize,
) -> ModelSize {
    ModelSize {
        vocab,
        embedding,
        hidden,
        batch,
        time_steps,
    }
}

/// A textbook's first model, a character model, and two Penn Treebank word models.
pub const WORKLOADS: [Workload; 4] = [
    ("book", size(418, 100, 100, 10, 5)),
    ("char", size(65, 64, 256, 32, 64)),
    ("ptb", size(10_000, 200, 200, 20, 35)),
    ("ptb-medium", size(10_000, 650, 650, 20, 35)),
];
