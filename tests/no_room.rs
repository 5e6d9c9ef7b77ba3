//! Every verb that prints, into a device that is always full: a typed error that says what to do.
#![cfg(target_os = "linux")]

#[path = "common/command.rs"]
mod command;

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};

fn bptt(folder: &Path, arguments: &str) -> Command {
    let words: Vec<_> = arguments.split_whitespace().collect();
    command::bptt(folder, &words)
}

fn full() -> File {
    let device = File::options().write(true).open("/dev/full");
    device.expect("a device that is full")
}

#[track_caller]
fn succeeds(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn every_verb_says_that_its_output_has_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let train = "train --device cpu --emsize 4 --nhid 8 --epochs 1 --out";
    succeeds(&bptt(folder, &format!("{train} run")).output().unwrap());
    for arguments in [
        &format!("{train} other"),
        "generate run --device cpu --length 5",
        "generate run --device cpu --length 5 --json",
        "eval run --device cpu",
        "eval run --device cpu --json",
        "eval run --device cpu --surprisal -",
        "inspect run",
        "inspect run --json",
        "plot run --terminal",
        "devices",
        "completions bash",
        "parity --device cpu --json",
    ] {
        let output = bptt(folder, arguments).stdout(full()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments}: {said}");
        let error = "error: cannot write to standard output: No space left on device (os error 28); \
            make room there, or send it to another place";
        let errors = said.lines().filter(|line| line.starts_with("error: "));
        assert_eq!(errors.collect::<Vec<_>>(), [error], "{arguments}");
        assert!(!said.contains("panicked"), "{arguments}: {said}");
    }
    // All of the run is there; only its sample is not.
    assert!(folder.join("other/summary.json").is_file());
    succeeds(&bptt(folder, "inspect other").output().unwrap());
}

/// A full disk behind stderr is no reason not to train.
#[test]
fn what_nobody_can_read_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let train = "train --device cpu --emsize 4 --nhid 8 --epochs 1 --verbose --out run";
    let output = bptt(folder.path(), train).stderr(full()).output().unwrap();
    succeeds(&output);
    assert!(folder.path().join("run/summary.json").is_file());
}
