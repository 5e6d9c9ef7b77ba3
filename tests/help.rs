//! The examples that each verb's help gives are commands that work.
//!
//! (That they parse is checked in src/cli/examples.rs, without running them.)
#![cfg(unix)]

#[path = "common/command.rs"]
mod command;

use std::fs;
use std::path::Path;
use std::process::Command;

/// The verbs, each after those whose results its examples use.
const VERBS: [&str; 12] = [
    "train",
    "generate",
    "eval",
    "export",
    "import",
    "inspect",
    "plot",
    "devices",
    "completions",
    "man",
    "bench",
    "parity",
];

/// The examples in a verb's help, without their comments.
fn examples(folder: &Path, verb: &str) -> Vec<String> {
    let output = command::bptt(folder, &[verb, "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let lines = help.lines().skip_while(|line| *line != "Examples:");
    let lines = lines.skip(1).take_while(|line| line.starts_with("  "));
    let command = |line: &str| line.split(" # ").next().unwrap_or(line).trim().to_owned();
    let found: Vec<String> = lines.map(command).collect();
    assert!(found.len() >= 2, "{verb}: {help}");
    found
}

/// What the examples take to be there: two texts.
fn prepare(folder: &Path) {
    let line = "the quick brown fox jumps over the lazy dog, again and again\n";
    fs::write(folder.join("book.txt"), line.repeat(200)).unwrap();
    fs::write(
        folder.join("other.txt"),
        "the lazy dog sleeps; It was LATE\n",
    )
    .unwrap();
}

/// Weights and a vocabulary to import, and the same weights under another name.
const WEIGHTS: &str = "cp runs/book/tokenizer.json .
    cp \"runs/book/checkpoints/$(cat runs/book/checkpoints/last)/model.safetensors\" .
    sed s/encoder.weight/vectors.weight/ model.safetensors > lm.safetensors";

/// Runs an example by the shell; whether it succeeds.
fn run(folder: &Path, example: &str) -> bool {
    let bptt = Path::new(env!("CARGO_BIN_EXE_bptt")).parent().unwrap();
    let path = format!("{}:{}", bptt.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-c", example])
        .current_dir(folder)
        .env("PATH", path)
        .env_remove("XDG_RUNTIME_DIR")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    eprintln!("{example}: {}", output.status);
    if !output.status.success() {
        eprintln!("{text}");
    }
    output.status.success()
}

#[test]
#[ignore = "some minutes: it measures and checks a device, too"]
fn every_example_works() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepare(folder);
    assert!(
        !run(folder, "bptt generate runs/book"),
        "there is no run yet"
    );
    let mut failed = Vec::new();
    for verb in VERBS {
        for example in examples(folder, verb) {
            if !run(folder, &example) {
                failed.push(example);
            }
        }
        if verb == "train" {
            assert!(run(folder, WEIGHTS));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
