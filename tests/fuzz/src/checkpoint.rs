//! A checkpoint, one file of which is anything: read, described, and gone on from.
//! The first byte of the input says which file the rest is.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use super::{CORPUS, FILES, FOLDER, small_checkpoint, write_manifest};
use bptt::checkpoint::Checkpoint;
use bptt::device::Cpu;
use bptt::inspect::Report;
use bptt::train::{Advance, Trainer};

/// The folder, and the files as they should be.
static SMALL: LazyLock<(PathBuf, [Vec<u8>; 5])> = LazyLock::new(|| {
    let folder = FOLDER.join("checkpoint");
    small_checkpoint().write(&folder).expect("a checkpoint");
    let files = FILES.map(|file| fs::read(folder.join(file)).expect("a file"));
    (folder, files)
});

/// Panics at a finding.
pub fn run(input: &[u8]) {
    let Some((which, broken)) = input.split_first() else {
        return;
    };
    let which = usize::from(*which) % FILES.len();
    let (folder, files) = &*SMALL;
    fs::write(folder.join(FILES[which]), broken).expect("a file");
    write_manifest(folder, &FILES);
    Report::of(folder).expect("a folder with a manifest is described");
    if let Ok(checkpoint) = Checkpoint::read(folder) {
        go_on(&checkpoint);
    }
    fs::write(folder.join(FILES[which]), &files[which]).expect("a file");
}

/// A few steps from there, if it is of the small model.
fn go_on(checkpoint: &Checkpoint) {
    let config = &checkpoint.config;
    let small = (config.emsize, config.nhid, config.batch_size, config.bptt) == (2, 3, 2, 4);
    if !small || config.accumulate > 8 || checkpoint.vocabulary.len() != CORPUS.vocabulary.len() {
        return;
    }
    let mut cpu = Cpu::<f32>::with_threads(1);
    let mut trainer = Trainer::new(&mut cpu, config, &CORPUS).expect("a trainer");
    if trainer.restore(&mut cpu, checkpoint, &SMALL.0).is_err() {
        return;
    }
    let mut steps = 0;
    let mut stop = || {
        steps += 1;
        steps > 4
    };
    loop {
        match trainer.advance(&mut cpu, &mut stop) {
            Ok(Advance::Save) => _ = trainer.checkpoint(&mut cpu, &CORPUS.vocabulary),
            Ok(Advance::Event(_)) => {}
            Ok(Advance::Stopped | Advance::Finished) | Err(_) => return,
        }
    }
}
