//! A run that is killed at any moment, again and again, can always go on, and ends as one that never
//! was.
//!
//! `BPTT_KILLS=200 cargo test --test killed -- --nocapture` kills so often, half of them on a GPU. At
//! least half of the kills fall inside a save of the process that is killed.
#![cfg(unix)]

#[path = "common/command.rs"]
mod command;
#[path = "common/runs.rs"]
mod runs;
#[path = "common/say.rs"]
mod say;
#[path = "common/skip.rs"]
mod skip;
#[path = "common/skips.rs"]
mod skips;
#[path = "common/timeless.rs"]
mod timeless;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
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
/// all: at least.
const KILLS: (usize, usize) = (14, 8);
/// There are more kills until half of them were inside a save, but at most so many times as many.
const MOST: usize = 3;
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
    /// Kills that there are to be.
    wanted: usize,
    kills: usize,
    /// Kills inside a save, by what they left unfinished.
    unfinished: BTreeMap<&'static str, usize>,
    /// Runs that went on to their end.
    ended: usize,
}

impl Tally {
    fn inside(&self) -> usize {
        self.unfinished.values().sum()
    }

    /// Are fewer than half of the kills inside a save?
    fn lacks_saves(&self) -> bool {
        2 * self.inside() < self.kills
    }

    fn goes_on(&self) -> bool {
        let most = MOST * self.wanted;
        self.kills < self.wanted || self.lacks_saves() && self.kills < most
    }
}

fn random_duration(random: &mut ChaCha8Rng, most: Duration) -> Duration {
    most.mul_f64((random.next_u32() as f64) / 2f64.powi(32))
}

/// A moment inside a save, or anywhere in a process that takes `whole`.
fn random_moment(random: &mut ChaCha8Rng, in_save: bool, whole: Duration) -> Moment {
    match in_save {
        false => Moment::After(random_duration(random, whole)),
        true => {
            let saves = 1 + random.next_u32() as usize % 4;
            Moment::InSave(saves, random_duration(random, SAVE))
        }
    }
}

/// What is in a run's folder of checkpoints, at one time.
#[derive(Debug, Default)]
struct Snapshot {
    /// Folders, but those that are being removed, and files that do not have their name yet.
    half_written: BTreeSet<(String, bool)>,
    /// Checkpoints that are being removed.
    being_removed: BTreeSet<String>,
    checkpoints: BTreeSet<String>,
}

impl Snapshot {
    /// Of `checkpoints`, if it is there.
    fn of(checkpoints: &Path) -> Self {
        let mut snapshot = Snapshot::default();
        for entry in fs::read_dir(checkpoints).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(".bptt-step-") {
                snapshot.being_removed.insert(name);
            } else if name.starts_with(".bptt-") {
                // One that is renamed or removed meanwhile is known by its new name, or not at all.
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                snapshot.half_written.insert((name, is_folder));
            } else if name.starts_with("step-") {
                snapshot.checkpoints.insert(name);
            }
        }
        snapshot
    }

    /// The names of folders that are being written, each by a save of its own.
    fn saves(self) -> impl Iterator<Item = String> {
        let folders = self.half_written.into_iter();
        folders.filter_map(|(name, is_folder)| is_folder.then_some(name))
    }
}

/// Waits until the moment has come, or the process has ended.
fn wait(child: &mut Child, checkpoints: &Path, before: &Snapshot, moment: Moment) {
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
            let is_new = |name: &String| !before.half_written.contains(&(name.clone(), true));
            let mut seen = BTreeSet::new();
            while seen.len() < saves && !ended() {
                seen.extend(Snapshot::of(checkpoints).saves().filter(is_new));
            }
            let begun = Instant::now();
            while begun.elapsed() < time {
                std::hint::spin_loop();
            }
        }
    }
}

/// Runs until the moment, and kills then. The output, if the process ended before.
fn kill_at(command: &mut Command, run: &Path, before: &Snapshot, moment: Moment) -> Option<Output> {
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    wait(&mut child, &run.join("checkpoints"), before, moment);
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

/// What a kill left of a save that was not done; none if it fell outside of one. What was there
/// `before` the process began, or may be of its going back to the last checkpoint, is not counted.
fn left_of_save(run: &Path, before: &Snapshot) -> Option<&'static str> {
    let after = Snapshot::of(&run.join("checkpoints"));
    let half_written: Vec<_> = (after.half_written.difference(&before.half_written)).collect();
    if half_written.iter().any(|(_, is_folder)| *is_folder) {
        return Some("a checkpoint half written");
    }
    // The process has written one, and so has gone back before.
    let newest = after.checkpoints.last();
    newest.filter(|newest| !before.checkpoints.contains(*newest))?;
    if !half_written.is_empty() {
        return Some("a pointer half written");
    }
    if (after.being_removed.difference(&before.being_removed)).count() > 0 {
        return Some("a checkpoint being removed");
    }
    let last = run::last_of(run).unwrap();
    if run::checkpoints(run).unwrap().last() != Some(&last) {
        return Some("a checkpoint not yet the last");
    }
    let progress = Checkpoint::read(&last).unwrap().state.unwrap().progress;
    let is_best = progress.best.is_some_and(|best| best.step == progress.step);
    (is_best && run::model_of(run).unwrap() != last).then_some("a checkpoint not yet the best")
}

/// Trains run after run, each killed and resumed again and again, until there were so many kills, half
/// of them inside a save; the last one is left to end, too.
fn kill(device: &'static str, wanted: usize, seed: u64) -> Tally {
    let begun = Instant::now();
    // At some steps a checkpoint is due before and after a validation.
    let lab = Lab::new(device, "20", "4");
    let whole = begun.elapsed();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut tally = Tally {
        wanted,
        ..Tally::default()
    };
    let mut number = 0;
    while tally.goes_on() {
        number += 1;
        let run = lab.folder().join(format!("run-{number}"));
        let printed = loop {
            let in_save = 2 * tally.inside() <= tally.kills;
            let moment = match tally.goes_on() {
                true => random_moment(&mut random, in_save, whole),
                false => Moment::Never,
            };
            let before = Snapshot::of(&run.join("checkpoints"));
            let is_begun = run.join("checkpoints").exists();
            let mut command = match is_begun {
                true => lab.bptt(["train", "--resume", run.to_str().unwrap()]),
                false => lab.train(&run, EPOCHS),
            };
            if let Some(output) = kill_at(&mut command, &run, &before, moment) {
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
                if let Some(left) = left_of_save(&run, &before) {
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
    say::say(&format!(
        "{device}: {} kills, {} inside a save {:?}; {} runs ended with the same bits, {:.0?}",
        tally.kills,
        tally.inside(),
        tally.unfinished,
        tally.ended,
        begun.elapsed()
    ));
    assert!(tally.kills >= kills);
    assert!(!tally.lacks_saves(), "too few kills fell inside a save");
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

/// Its name may be taken then, by an empty folder, and its files are beside it.
#[test]
fn a_run_that_is_killed_before_its_first_checkpoint_begins_again() {
    let lab = Lab::new("cpu", "20", "4");
    let run = lab.folder().join("run");
    let unfinished = || -> BTreeSet<_> {
        let entries = fs::read_dir(lab.folder()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        let is_unfinished = |name: &OsString| name.to_string_lossy().starts_with(".bptt-");
        names.filter(is_unfinished).collect()
    };
    let mut taken = 0;
    for kill in 0..100 {
        let before = unfinished();
        let mut train = lab.train(&run, EPOCHS);
        let mut child = train.stderr(Stdio::null()).spawn().unwrap();
        while unfinished().is_subset(&before) && child.try_wait().unwrap().is_none() {}
        std::thread::sleep(Duration::from_micros(kill % 10 * 50));
        child.kill().unwrap();
        child.wait().unwrap();
        if run.join("checkpoints").exists() {
            // Too late.
            fs::remove_dir_all(&run).unwrap();
        } else if run.exists() {
            assert!(!unfinished().is_empty());
            taken += 1;
        }
        if taken == 10 {
            break;
        }
    }
    assert_eq!(taken, 10);
    let output = lab.train(&run, EPOCHS).output().unwrap();
    assert_eq!(lab.check_end(&run, succeeds(&output)), Ok(()));
    assert_eq!(unfinished(), BTreeSet::new());
}

/// Leaves something behind, or clears it.
type Deed<'a> = &'a dyn Fn();

/// A kill is counted for what it left itself, once.
#[test]
fn what_was_left_before_is_not_counted_again() {
    let lab = Lab::new("cpu", "20", "4");
    let run = lab.folder().join("run");
    succeeds(&lab.train(&run, EPOCHS).output().unwrap());
    let checkpoints = run.join("checkpoints");
    let [last, best] = ["last", "best"].map(|pointer| checkpoints.join(pointer));
    let name = |checkpoint: &Path| checkpoint.file_name().unwrap().to_str().unwrap().to_owned();
    let newest = name(&run::last_of(&run).unwrap());
    let older = name(&run::checkpoints(&run).unwrap()[0]);
    let before_newest = || {
        let mut snapshot = Snapshot::of(&checkpoints);
        snapshot.checkpoints.remove(&newest);
        snapshot
    };
    assert_eq!(left_of_save(&run, &before_newest()), None);

    let left: [(&str, Deed, Deed); 4] = [
        (
            "a checkpoint half written",
            &|| fs::create_dir(checkpoints.join(".bptt-half")).unwrap(),
            &|| fs::remove_dir(checkpoints.join(".bptt-half")).unwrap(),
        ),
        (
            "a pointer half written",
            &|| fs::write(checkpoints.join(".bptt-pointer"), "step").unwrap(),
            &|| fs::remove_file(checkpoints.join(".bptt-pointer")).unwrap(),
        ),
        (
            "a checkpoint being removed",
            &|| fs::create_dir(checkpoints.join(".bptt-step-1")).unwrap(),
            &|| fs::remove_dir(checkpoints.join(".bptt-step-1")).unwrap(),
        ),
        (
            "a checkpoint not yet the last",
            &|| fs::write(&last, &older).unwrap(),
            &|| fs::write(&last, &newest).unwrap(),
        ),
    ];
    for (what, leave, clear) in left {
        let before = before_newest();
        leave();
        assert_eq!(left_of_save(&run, &before), Some(what));
        assert_eq!(
            left_of_save(&run, &Snapshot::of(&checkpoints)),
            None,
            "{what}"
        );
        clear();
    }
    // Of a save only where the process has written a checkpoint: else it may be of going back.
    let before = Snapshot::of(&checkpoints);
    fs::remove_file(best).unwrap();
    fs::write(checkpoints.join(".bptt-pointer"), "step").unwrap();
    assert_eq!(left_of_save(&run, &before), None);
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
