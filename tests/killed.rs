//! A run that is killed at any moment, again and again, can always go on, and ends as one that never
//! was.
//!
//! `BPTT_KILLS=200 cargo test --test killed -- --nocapture` kills so often, half of them on a GPU.
#![cfg(unix)]

#[path = "common/command.rs"]
mod command;
#[path = "common/runs.rs"]
mod runs;
#[path = "common/say.rs"]
mod say;
#[path = "common/skips.rs"]
mod skips;
#[path = "common/timeless.rs"]
mod timeless;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bptt::checkpoint::Checkpoint;
use bptt::run;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use runs::{EPOCHS, Lab, succeeds};

/// Kills on the CPU and on the GPU, which takes longer to start, unless BPTT_KILLS says how many in
/// all.
const KILLS: (usize, usize) = (14, 8);
const SIGKILL: i32 = 9;
/// Longest wait between the beginning of a save and the kill: about the length of a save.
const SAVE: Duration = Duration::from_micros(3_000);

/// When to kill.
#[derive(Debug, Clone, Copy)]
enum Moment {
    Never,
    /// So long after the process began.
    After(Duration),
    /// So long after so many saves have been seen to begin.
    InSave(usize, Duration),
}

/// What the kills did.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    /// Kills inside a save, by what they left unfinished.
    unfinished: BTreeMap<&'static str, usize>,
    /// Runs that went on to their end.
    ended: usize,
}

fn random_duration(random: &mut ChaCha8Rng, most: Duration) -> Duration {
    most.mul_f64((random.next_u32() as f64) / 2f64.powi(32))
}

/// Half of the moments are inside a save; the others are anywhere in a process that takes `whole`.
fn random_moment(random: &mut ChaCha8Rng, whole: Duration) -> Moment {
    match random.next_u32() % 2 {
        0 => Moment::After(random_duration(random, whole)),
        _ => {
            let saves = 1 + random.next_u32() as usize % 6;
            Moment::InSave(saves, random_duration(random, SAVE))
        }
    }
}

/// The names in a folder, if it is there, that are not complete yet.
fn unfinished(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".bptt-")).collect()
}

/// Waits until the moment has come, or the process has ended.
fn wait(child: &mut Child, checkpoints: &Path, moment: Moment) {
    let begun = Instant::now();
    let mut ended = || child.try_wait().unwrap().is_some();
    match moment {
        Moment::Never => {}
        Moment::After(time) => {
            while begun.elapsed() < time && !ended() {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        Moment::InSave(saves, time) => {
            let mut seen = std::collections::BTreeSet::new();
            while seen.len() < saves && !ended() {
                seen.extend(unfinished(checkpoints));
            }
            let begun = Instant::now();
            while begun.elapsed() < time {
                std::hint::spin_loop();
            }
        }
    }
}

/// Runs until the moment, and kills then. The output, if the process ended before.
fn kill_at(command: &mut Command, run: &Path, moment: Moment) -> Option<Output> {
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    wait(&mut child, &run.join("checkpoints"), moment);
    if !matches!(moment, Moment::Never) {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    if output.status.signal() == Some(SIGKILL) {
        return None;
    }
    succeeds(&output);
    Some(output)
}

/// What a kill left of a save that was not done; none if it fell outside of one.
fn left_of_save(run: &Path) -> Option<&'static str> {
    let checkpoints = run.join("checkpoints");
    if let Some(name) = unfinished(&checkpoints).first() {
        return Some(match checkpoints.join(name).is_dir() {
            true if name.contains("step-") => "a checkpoint being removed",
            true => "a checkpoint half written",
            false => "a pointer half written",
        });
    }
    let last = run::last_of(run).unwrap();
    if run::checkpoints(run).unwrap().last() != Some(&last) {
        return Some("a checkpoint not yet the last");
    }
    let progress = Checkpoint::read(&last).unwrap().state.unwrap().progress;
    let is_best = progress.best.is_some_and(|best| best.step == progress.step);
    (is_best && run::model_of(run).unwrap() != last).then_some("a checkpoint not yet the best")
}

/// Trains run after run, each killed and resumed again and again, until there were so many kills; the
/// last one is left to end, too.
fn kill(device: &'static str, kills: usize, seed: u64) -> Tally {
    let begun = Instant::now();
    // At some steps a checkpoint is due before and after a validation.
    let lab = Lab::new(device, "20", "4");
    let whole = begun.elapsed();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut tally = Tally::default();
    let mut number = 0;
    while tally.kills < kills {
        number += 1;
        let run = lab.folder().join(format!("run-{number}"));
        let printed = loop {
            let moment = match tally.kills < kills {
                true => random_moment(&mut random, whole),
                false => Moment::Never,
            };
            let is_begun = run.join("checkpoints").exists();
            let mut command = match is_begun {
                true => lab.bptt(["train", "--resume", run.to_str().unwrap()]),
                // The name may be taken by an empty folder.
                false => {
                    let _ = fs::remove_dir(&run);
                    lab.train(&run, EPOCHS)
                }
            };
            if let Some(output) = kill_at(&mut command, &run, moment) {
                break output.stdout;
            }
            tally.kills += 1;
            if is_begun || run.join("checkpoints").exists() {
                let checked = lab.check(&run);
                assert_eq!(
                    checked,
                    Ok(()),
                    "{device}, {moment:?}, kill {}",
                    tally.kills
                );
                if let Some(left) = left_of_save(&run) {
                    *tally.unfinished.entry(left).or_default() += 1;
                }
            }
        };
        tally.ended += 1;
        assert_eq!(
            lab.check_end(&run, &printed),
            Ok(()),
            "{device}, run {number}"
        );
    }
    tally
}

fn kill_and_tell(device: &'static str, kills: usize) {
    let asked = std::env::var("BPTT_KILLS").ok();
    let asked = asked.map(|kills| kills.parse::<usize>().expect("a number in BPTT_KILLS"));
    let kills = asked.map_or(kills, |kills| kills.div_ceil(2));
    let begun = Instant::now();
    let tally = kill(device, kills, 1);
    let inside: usize = tally.unfinished.values().sum();
    say::say(&format!(
        "{device}: {} kills, {inside} inside a save {:?}; {} runs ended with the same bits, {:.0?}",
        tally.kills,
        tally.unfinished,
        tally.ended,
        begun.elapsed()
    ));
    assert!(4 * inside >= kills, "too few kills fell inside a save");
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_as_one_that_never_was_on_the_cpu() {
    kill_and_tell("cpu", KILLS.0);
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_as_one_that_never_was_on_the_gpu() {
    if !skips::gpu_is_skipped() {
        kill_and_tell("gpu", KILLS.1);
    }
}

/// Breaks something of a run.
type Break = fn(&Path);

fn last(run: &Path) -> std::path::PathBuf {
    run::last_of(run).unwrap()
}

fn flip_a_bit(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path, bytes: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - bytes).unwrap();
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// What a save would leave that is not done in its order, or not whole, is found.
#[test]
fn a_broken_save_is_noticed() {
    let lab = Lab::new("cpu", "20", "4");
    let breaks: [(&str, &str, Break); 8] = [
        (
            "a tensor file cut short",
            "model.safetensors: damaged",
            |run| {
                cut(&last(run).join("model.safetensors"), 1);
            },
        ),
        ("a doctored weight", "SHA-256 differs", |run| {
            flip_a_bit(&last(run).join("model.safetensors"));
        }),
        ("a doctored state", "SHA-256 differs", |run| {
            flip_a_bit(&last(run).join("state.safetensors"));
        }),
        (
            "the pointer at a half-written folder",
            "manifest.json",
            |run| {
                let half = run.join("checkpoints/step-000000999-epoch-00009");
                fs::create_dir(&half).unwrap();
                fs::copy(
                    last(run).join("model.safetensors"),
                    half.join("model.safetensors"),
                )
                .unwrap();
                fs::write(run.join("checkpoints/last"), "step-000000999-epoch-00009").unwrap();
            },
        ),
        ("the pointer at nothing", "there is no checkpoint", |run| {
            fs::write(run.join("checkpoints/last"), "step-000000999-epoch-00009").unwrap();
        }),
        (
            "the pointer half written",
            "there is no checkpoint",
            |run| {
                cut(&run.join("checkpoints/last"), 1);
            },
        ),
        // Whole, but not what was trained.
        (
            "weights of another step",
            "model.safetensors differs",
            |run| {
                let checkpoints = run::checkpoints(run).unwrap();
                copy(&checkpoints[0], &last(run));
            },
        ),
        ("a log that lacks a line", "the log is too short", |run| {
            cut(&run.join("metrics.jsonl"), 2);
        }),
    ];
    for (number, (what, hint, break_it)) in breaks.into_iter().enumerate() {
        let run = lab.folder().join(format!("run-{number}"));
        succeeds(&lab.train(&run, EPOCHS).output().unwrap());
        assert_eq!(lab.check(&run), Ok(()));
        break_it(&run);
        let found = lab.check(&run).expect_err(what);
        assert!(found.contains(hint), "{what}: {found}");
    }
}
