//! What fuzz targets share: a folder in memory, and a small run in it to break.
//!
//! A target, for ten minutes (`cargo fuzz list --fuzz-dir tests/fuzz` names all):
//!
//! ```sh
//! cargo install cargo-fuzz --locked
//! mkdir -p tests/fuzz/corpus/import
//! cargo +nightly fuzz run --fuzz-dir tests/fuzz import tests/fuzz/corpus/import \
//!     tests/fuzz/seeds/import -- -max_total_time=600 -rss_limit_mb=1024 -timeout=10
//! ```
//!
//! What is found becomes a case of tests/broken. tests/fuzz_seeds.rs runs the targets without libFuzzer.

pub mod checkpoint;
pub mod config;
pub mod import;
pub mod log;
pub mod manifest;
pub mod text;
pub mod token_cache;
pub mod tokenizer;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bptt::checkpoint::Checkpoint;
use bptt::config::Config;
use bptt::data::Corpus;
use bptt::device::Cpu;
use bptt::train::{Advance, Trainer};
use hmac_sha256::Hash;
use serde_json::json;

/// The files of a checkpoint, but for its manifest.
pub const FILES: [&str; 5] = [
    "model.safetensors",
    "tokenizer.json",
    "config.toml",
    "state.safetensors",
    "progress.json",
];

/// A folder of this process, in memory where the system has such a place.
pub static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    let folder = tempfile::Builder::new()
        .prefix("bptt-fuzz-")
        .tempdir_in(parent);
    // A process that is killed by a finding leaves it behind.
    folder.expect("a temporary folder").keep()
});

/// A text to train on.
static TEXT: LazyLock<PathBuf> = LazyLock::new(|| {
    let text = FOLDER.join("text.txt");
    fs::write(&text, "the lamp is lit\n".repeat(8)).expect("a text");
    text
});

/// It, and its vocabulary.
pub static CORPUS: LazyLock<Corpus> =
    LazyLock::new(|| Corpus::load(&config().source()).expect("a text"));

/// The settings of the small run.
pub fn config() -> Config {
    Config {
        data: vec![TEXT.clone()],
        valid_fraction: Some(0.25),
        emsize: 2,
        nhid: 3,
        batch_size: 2,
        bptt: 4,
        epochs: 2,
        log_interval: 3,
        ..Config::default()
    }
}

/// A checkpoint in the middle of an epoch.
pub fn small_checkpoint() -> Checkpoint {
    let mut cpu = Cpu::<f32>::with_threads(1);
    let mut trainer = Trainer::new(&mut cpu, &config(), &CORPUS).expect("a trainer");
    let mut steps = 0;
    let mut stop = || {
        steps += 1;
        steps > 2
    };
    while trainer.advance(&mut cpu, &mut stop).expect("a step") != Advance::Stopped {}
    trainer
        .checkpoint(&mut cpu, &CORPUS.vocabulary)
        .expect("a checkpoint")
}

/// Writes a manifest that lists these files of a folder as they are.
pub fn write_manifest(folder: &Path, files: &[&str]) {
    let entry = |name: &&str| {
        let bytes = fs::read(folder.join(name)).expect("a file");
        let hash: String = Hash::hash(&bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        (
            (*name).to_owned(),
            json!({"bytes": bytes.len(), "sha256": hash}),
        )
    };
    let files: serde_json::Map<_, _> = files.iter().map(entry).collect();
    let manifest = json!({"format": 1, "bptt": "0.1.0", "files": files});
    fs::write(folder.join("manifest.json"), manifest.to_string()).expect("a manifest");
}
