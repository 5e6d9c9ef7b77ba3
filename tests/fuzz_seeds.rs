//! The fuzz targets of tests/fuzz without libFuzzer: their seeds as they are, cut off, and with bytes changed
//! at random. It looks no further than that, but keeps the targets compiling and true to what they check.

#[path = "fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Broken inputs made from each seed.
const BROKEN: usize = 1_000;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 8] = [
    ("checkpoint", fuzz::checkpoint::run),
    ("config", fuzz::config::run),
    ("import", fuzz::import::run),
    ("log", fuzz::log::run),
    ("manifest", fuzz::manifest::run),
    ("text", fuzz::text::run),
    ("token_cache", fuzz::token_cache::run),
    ("tokenizer", fuzz::tokenizer::run),
];

/// Says which input it was, should the target panic.
struct Running<'a>(&'a str, &'a [u8]);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "{}: a finding: {:?}",
                self.0,
                self.1.escape_ascii().to_string()
            );
        }
    }
}

fn run((name, target): Target, input: &[u8]) {
    let _running = Running(name, input);
    target(input);
}

/// The seed cut off, or with one to four bytes changed.
fn broken(seed: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    if rng.random_bool(0.25) {
        return seed[..rng.random_range(0..seed.len())].to_vec();
    }
    let mut input = seed.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        let place = rng.random_range(0..input.len());
        input[place] = rng.random();
    }
    input
}

#[test]
fn every_target_ends_without_a_finding_on_its_seeds_and_near_them() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds");
    let folders = fs::read_dir(&seeds).expect("a folder of folders");
    assert_eq!(folders.count(), TARGETS.len(), "a target that is not run");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for target in TARGETS {
        let mut files: Vec<_> = fs::read_dir(seeds.join(target.0))
            .expect("a folder of seeds")
            .map(|entry| entry.expect("a file").path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "{}: no seeds", target.0);
        for file in files {
            let seed = fs::read(file).expect("a seed");
            run(target, &seed);
            for _ in 0..BROKEN {
                run(target, &broken(&seed, &mut rng));
            }
        }
    }
    fs::remove_dir_all(&*fuzz::FOLDER).expect("the folder in memory");
}
