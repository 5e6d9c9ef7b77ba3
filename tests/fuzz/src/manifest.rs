//! The list of a checkpoint's files, and the files that name a run's checkpoints.
//! The first byte of the input says which of them the rest is.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use super::{FOLDER, small_checkpoint};
use bptt::checkpoint::Checkpoint;
use bptt::inspect::Report;
use bptt::run;

const NAME: &str = "step-000000002-epoch-00000";
const POINTERS: [&str; 2] = ["last", "best"];

static RUN: LazyLock<PathBuf> = LazyLock::new(|| {
    let run = FOLDER.join("run");
    let checkpoints = run.join("checkpoints");
    fs::create_dir_all(&checkpoints).expect("a folder");
    small_checkpoint()
        .write(&checkpoints.join(NAME))
        .expect("a checkpoint");
    run
});

/// The manifest as it should be.
static MANIFEST: LazyLock<Vec<u8>> = LazyLock::new(|| {
    fs::read(RUN.join("checkpoints").join(NAME).join("manifest.json")).expect("a file")
});

/// Panics at a finding.
pub fn run(input: &[u8]) {
    let Some((which, broken)) = input.split_first() else {
        return;
    };
    let checkpoints = RUN.join("checkpoints");
    let manifest = checkpoints.join(NAME).join("manifest.json");
    fs::write(&manifest, &*MANIFEST).expect("a file");
    for pointer in POINTERS {
        fs::write(checkpoints.join(pointer), NAME).expect("a file");
    }
    let file = match which % 3 {
        0 => manifest,
        1 => checkpoints.join("last"),
        _ => checkpoints.join("best"),
    };
    fs::write(file, broken).expect("a file");
    if let Ok(report) = Report::of(&RUN) {
        // Nothing is looked at but what is in the checkpoint.
        let inside = |path: &PathBuf| path.parent() == Some(&checkpoints.join(NAME));
        assert!(report.files.iter().all(|file| inside(&file.path)));
    }
    for found in [run::model_of(&RUN), run::last_of(&RUN)]
        .into_iter()
        .flatten()
    {
        assert_eq!(found, checkpoints.join(NAME));
        let _ = Checkpoint::read(&found);
    }
}
