//! Broken files: whatever is in them, reading ends with an error that names the file, or with what
//! was meant; never with a panic, and with memory in proportion to the file.
//!
//! Everything is made here from a small run: cut off at every length, with every bit flipped, and by
//! hand where a lie must be consistent to get far.

mod checkpoint;
mod config;
#[path = "../common/held_bytes.rs"]
mod held_bytes;
mod log;
mod memory;
#[cfg(unix)]
mod paths;
mod text;
mod token_cache;
mod tokenizer;
mod weights;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use hmac_sha256::Hash;
use serde_json::json;

/// The files of a checkpoint that its manifest lists.
pub const FILES: [&str; 5] = [
    "config.toml",
    "model.safetensors",
    "progress.json",
    "state.safetensors",
    "tokenizer.json",
];
pub const MANIFEST: &str = "manifest.json";

/// A run of a small model with momentum, and its text.
pub struct Small {
    _folder: tempfile::TempDir,
    pub text: PathBuf,
    pub run: PathBuf,
    /// A checkpoint of it, in the middle of an epoch.
    pub checkpoint: PathBuf,
}

/// Made once.
pub fn small() -> &'static Small {
    static SMALL: OnceLock<Small> = OnceLock::new();
    SMALL.get_or_init(|| {
        let folder = folder();
        let text = folder.path().join("text.txt");
        fs::write(&text, "the lamp is lit\n".repeat(8)).unwrap();
        let data = text.to_str().unwrap();
        let sizes = "--emsize 2 --nhid 3 --batch-size 2 --bptt 4 --epochs 2 --valid-fraction 0.25";
        let saves = "--optimizer momentum --log-interval 3 --save-interval 5 --keep 9";
        let flags = format!("train --device cpu --data {data} --out run {sizes} {saves}");
        let trained = bptt(folder.path(), &flags);
        assert!(trained.status.success(), "{}", message(&trained));
        let run = folder.path().join("run");
        let checkpoint = run.join("checkpoints/step-000000005-epoch-00000");
        assert!(checkpoint.join("state.safetensors").is_file());
        Small {
            _folder: folder,
            text,
            run,
            checkpoint,
        }
    })
}

/// Runs `bptt` with flags that hold no spaces.
pub fn bptt(folder: &Path, flags: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bptt"))
        .args(flags.split_whitespace())
        .current_dir(folder)
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("the binary starts")
}

/// What a process wrote to stderr.
pub fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A copy of the small run, to be broken.
pub fn copy_of_run() -> (tempfile::TempDir, PathBuf) {
    let folder = folder();
    let run = folder.path().join("run");
    copy(&small().run, &run);
    (folder, run)
}

/// A copy of the small checkpoint, to be broken.
pub fn copy_of_checkpoint() -> (tempfile::TempDir, PathBuf) {
    let folder = folder();
    let checkpoint = folder.path().join("checkpoint");
    copy(&small().checkpoint, &checkpoint);
    (folder, checkpoint)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// Makes the manifest of a checkpoint one of its files as they are.
pub fn sign(checkpoint: &Path) {
    let entry = |name: &str| {
        let bytes = fs::read(checkpoint.join(name)).unwrap();
        let hash = Hash::hash(&bytes);
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let entry = json!({"bytes": bytes.len(), "sha256": hash});
        (name.to_owned(), entry)
    };
    let files: serde_json::Map<_, _> = FILES.map(entry).into_iter().collect();
    let manifest = json!({"format": 1, "bptt": "0.1.0", "files": files});
    fs::write(checkpoint.join(MANIFEST), manifest.to_string()).unwrap();
}

/// The file cut off at every length; and every byte with all its bits turned over, and with one of
/// them: with each of them if `BPTT_EVERY_BIT=1`. With what was done to it.
pub fn mutations(bytes: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    let every = std::env::var_os("BPTT_EVERY_BIT").is_some_and(|value| value == "1");
    let cut = (0..bytes.len()).map(|len| (format!("the first {len} bytes"), bytes[..len].to_vec()));
    let masks = move |at: usize| {
        let bits = (0..8).filter(move |bit| every || at % 8 == *bit);
        bits.map(|bit| 1 << bit).chain([0xff])
    };
    let places = (0..bytes.len()).flat_map(move |at| masks(at).map(move |mask| (at, mask)));
    let flipped = places.map(|(at, mask): (usize, u8)| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= mask;
        (format!("byte {at} ^ {mask:#04x}"), bytes)
    });
    cut.chain(flipped)
}

/// A temporary folder, in memory where the system has such a place: thousands of files are written.
pub fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let folder = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    folder.expect("a temporary folder")
}

/// Are most mutations of `bytes` refused? `is_refused` tells it of one, and checks what was read or said
/// of it; it gets what was done, too.
#[track_caller]
pub fn mostly_refused(bytes: &[u8], name: &str, is_refused: impl Fn(&str, &[u8]) -> bool) {
    let verdicts = mutations(bytes).map(|(what, broken)| is_refused(&what, &broken));
    let (refused, other): (Vec<bool>, Vec<bool>) = verdicts.partition(|refused| *refused);
    let (refused, other) = (refused.len(), other.len());
    eprintln!(
        "{name}: {} bytes, {refused} refused, {other} others",
        bytes.len()
    );
    assert!(refused > other);
}

/// How many of the mutations of a file were refused, and how many made no difference.
#[derive(Debug, Default, PartialEq)]
pub struct Tally {
    pub refused: usize,
    pub harmless: usize,
}

impl Tally {
    /// Reads every mutation of `bytes` with `read`, which says whether what it read is what was
    /// meant, or else gives the error. That must hold `name`, on one line.
    #[track_caller]
    pub fn of(bytes: &[u8], name: &str, read: impl Fn(&[u8]) -> bptt::Result<bool>) -> Self {
        assert!(read(bytes).unwrap(), "{name} is sound before");
        let mut tally = Tally::default();
        for (what, broken) in mutations(bytes) {
            match read(&broken) {
                Ok(true) => tally.harmless += 1,
                Ok(false) => panic!("{name}, {what}: read as something else"),
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains(name), "{name}, {what}: {error}");
                    assert!(!error.contains('\n'), "{name}, {what}: {error}");
                    tally.refused += 1;
                }
            }
        }
        eprintln!("{name}: {} bytes, {tally:?}", bytes.len());
        tally
    }

    pub fn total(&self) -> usize {
        self.refused + self.harmless
    }
}
