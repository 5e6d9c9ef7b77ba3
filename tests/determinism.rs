//! The same seed, device and driver: the same bits. Three processes of each number of threads or lanes,
//! which share nothing but the text.

#[path = "common/command.rs"]
mod command;
#[path = "common/process.rs"]
mod process;
#[path = "common/say.rs"]
mod say;
#[path = "common/skip.rs"]
mod skip;
#[path = "common/skips.rs"]
mod skips;
#[path = "common/timeless.rs"]
mod timeless;

use process::{Driver, Environment, SMALL, Sizes, Trained, with};
use say::say;

/// Some 10 windows of 768 tokens. The products, the recurrence, the losses of 54 logits a token and
/// the norm of Wh's gradient are then work that the CPU path shares among threads: of less, one
/// thread does it all, and their number would not be tested.
const SHARED_AMONG_THREADS: Sizes = Sizes {
    arguments: "--emsize 64 --nhid 256 --batch-size 32 --bptt 24 --clip 1 --log-interval 1",
    characters: 9_000,
};

/// SHA-256 of what a process leaves: its weights, its log, what is written with them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hashes([String; 3]);

impl Hashes {
    fn of(sizes: &Sizes, device: &'static str, environment: &Environment, seed: u64) -> Self {
        let trained = Trained::new(sizes, device, environment, seed);
        let log: Vec<_> = trained.log().iter().map(ToString::to_string).collect();
        let parts = [
            trained.weights(),
            log.join("\n").into_bytes(),
            trained.samples(seed),
        ];
        Hashes(parts.map(|bytes| {
            assert!(!bytes.is_empty());
            let hash = hmac_sha256::Hash::hash(&bytes);
            hash[..6].iter().map(|byte| format!("{byte:02x}")).collect()
        }))
    }
}

/// Trains in each of the environments, and holds all hashes to the first; another seed gives others.
fn check(sizes: &Sizes, device: &'static str, name: &str, environments: &[(String, Environment)]) {
    let mut lines = vec![format!(
        "{name:<34} {:<12} {:<12} {:<12}",
        "weights", "log", "samples"
    )];
    let mut all = Vec::new();
    let mut hash = |setting: &str, environment: &Environment, seed: u64| {
        let hashes = Hashes::of(sizes, device, environment, seed);
        let words = hashes.0.join(" ");
        lines.push(format!("  {setting:<32} {words}"));
        all.push(hashes);
    };
    for (setting, environment) in environments {
        hash(setting, environment, 3);
    }
    hash("another seed", &environments[0].1, 4);
    say(&lines.join("\n"));
    let other = all.pop().expect("another seed");
    for hashes in &all {
        assert_eq!(hashes, &all[0], "{name}");
    }
    let differs = other.0.iter().zip(&all[0].0).all(|(a, b)| a != b);
    assert!(differs, "{name}: another seed gives the same");
}

/// Three processes of the same setting.
fn three(setting: &str, environment: &Environment) -> [(String, Environment); 3] {
    ["first", "second", "third"]
        .map(|process| (format!("{setting}, {process}"), environment.clone()))
}

#[test]
fn on_the_cpu_with_any_number_of_threads() {
    let threads = ["1", "2", "4"].map(|n| (n, vec![("RAYON_NUM_THREADS", n.to_owned())]));
    let settings = threads.map(|(n, environment)| three(&format!("{n} threads"), &environment));
    check(&SHARED_AMONG_THREADS, "cpu", "CPU", &settings.concat());
}

/// With any number of threads, and with vectors of either width: subgroups are of 4 or of 8.
#[test]
fn on_lavapipe_with_any_number_of_threads_and_lanes() {
    let Some(lavapipe) = Driver::Lavapipe.environment() else {
        return;
    };
    let settings = [("1", "256"), ("2", "256"), ("2", "128")].map(|(threads, bits)| {
        let environment = with(&lavapipe, "LP_NUM_THREADS", threads);
        let environment = with(&environment, "LP_NATIVE_VECTOR_WIDTH", bits);
        three(&format!("{threads} threads, {bits} bits"), &environment)
    });
    check(&SHARED_AMONG_THREADS, "gpu", "lavapipe", &settings.concat());
}

#[test]
fn on_swiftshader() {
    let Some(environment) = Driver::SwiftShader.environment() else {
        return;
    };
    check(
        &SMALL,
        "gpu",
        "SwiftShader",
        &three("any threads", &environment),
    );
}
