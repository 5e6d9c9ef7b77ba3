//! What is on the disk before what, so that a power failure at any moment leaves a run that can go on:
//! a checkpoint's files, their folder, its name, and only then the pointer that names it.
//!
//! The calls of a real process are read from strace. Where it is missing, the test says so and passes.
#![cfg(target_os = "linux")]

#[path = "common/say.rs"]
mod say;
#[path = "common/skip.rs"]
mod skip;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A call that changes what is, or is to be, on the disk.
#[derive(Debug, Clone, PartialEq)]
enum Call {
    /// A file or folder was made.
    Make(PathBuf),
    Write(PathBuf),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// The quoted strings of a line, or what stands in angle brackets.
fn between(line: &str, open: char, close: char) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some((_, after)) = rest.split_once(open) {
        let Some((inside, behind)) = after.split_once(close) else {
            break;
        };
        found.push(PathBuf::from(inside));
        rest = behind;
    }
    found
}

/// The call of a line of `strace -f -y`, if it succeeded and is one that counts.
fn parse(line: &str) -> Option<Call> {
    let (_, call) = line.split_once(' ')?;
    let (name, arguments) = call.trim_start().split_once('(')?;
    if arguments.contains(" = -1 ") {
        return None;
    }
    let quoted = || between(arguments, '"', '"').into_iter();
    let of_file = || between(arguments, '<', '>').into_iter().next();
    match name {
        "openat" if arguments.contains("O_CREAT") => Some(Call::Make(quoted().next()?)),
        "mkdir" | "mkdirat" => Some(Call::Make(quoted().next()?)),
        "write" => Some(Call::Write(of_file()?)),
        "fsync" | "fdatasync" => Some(Call::Sync(of_file()?)),
        "rename" | "renameat" | "renameat2" => {
            let mut paths = quoted();
            Some(Call::Rename(paths.next()?, paths.next()?))
        }
        "unlink" | "unlinkat" | "rmdir" => Some(Call::Remove(quoted().next()?)),
        _ => None,
    }
}

/// What is not yet on the disk.
#[derive(Debug, Default)]
struct Pending {
    /// Contents of files.
    contents: BTreeSet<PathBuf>,
    /// Names in folders.
    names: BTreeSet<PathBuf>,
}

impl Pending {
    /// What is pending of `path` and all below it.
    fn below(&self, path: &Path) -> Option<&PathBuf> {
        let mut all = self.contents.iter().chain(&self.names);
        all.find(|pending| pending.starts_with(path) && *pending != path)
    }

    fn forget(&mut self, path: &Path) {
        self.contents.retain(|pending| !pending.starts_with(path));
        self.names.retain(|pending| !pending.starts_with(path));
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        for set in [&mut self.contents, &mut self.names] {
            let moved = |path: &PathBuf| match path.strip_prefix(from) {
                Ok(rest) if rest == Path::new("") => to.to_owned(),
                Ok(rest) => to.join(rest),
                Err(_) => path.clone(),
            };
            *set = set.iter().map(moved).collect();
        }
        self.names.insert(to.to_owned());
    }
}

/// Is something pending of a run that was just made: what is in it, its own name, or that of a folder
/// above it? What has been opened in it since may have no name yet.
fn pending_of_new(pending: &Pending, run: &Path) -> Option<PathBuf> {
    let contents = pending.contents.iter().filter(|path| path.starts_with(run));
    let names = pending.names.iter().filter(|name| run.starts_with(name));
    contents.chain(names).next().cloned()
}

fn is_pointer(path: &Path) -> bool {
    path.ends_with("checkpoints/last") || path.ends_with("checkpoints/best")
}

fn is_checkpoint(path: &Path) -> bool {
    let named = |path: &Path, begin: &str| {
        (path.file_name()).is_some_and(|name| name.to_string_lossy().starts_with(begin))
    };
    named(path, "step-") && path.parent().is_some_and(|p| p.ends_with("checkpoints"))
}

/// Are the calls in an order that survives a power failure? The saves that were seen.
fn check(calls: &[Call], run: &Path) -> Result<usize, String> {
    let checkpoints = run.join("checkpoints");
    let mut pending = Pending::default();
    let mut saves = 0;
    // A run that has just got its name, until it is trained.
    let mut is_new = false;
    let pending_pointer = |pending: &Pending| pending.names.iter().find(|n| is_pointer(n)).cloned();
    for call in calls {
        match call {
            Call::Make(path) => {
                pending.names.insert(path.clone());
            }
            Call::Write(path) => {
                // Training goes on: the save before is done.
                if let Some(left) =
                    pending_pointer(&pending).filter(|_| path.ends_with("metrics.jsonl"))
                {
                    return Err(format!(
                        "{left:?} may not be on the disk when training goes on"
                    ));
                }
                if is_new && *path == run.join("metrics.jsonl") {
                    is_new = false;
                    if let Some(left) = pending_of_new(&pending, run) {
                        return Err(format!("training begins before {left:?} is on the disk"));
                    }
                }
                pending.contents.insert(path.clone());
            }
            Call::Sync(path) => {
                pending.contents.remove(path);
                pending
                    .names
                    .retain(|name| name.parent() != Some(path.as_path()));
            }
            Call::Remove(path) => pending.forget(path),
            Call::Rename(from, to) => {
                if pending.contents.contains(from) {
                    return Err(format!("{to:?} gets its name before its contents"));
                }
                let is_folder = is_checkpoint(to) || to.as_path() == run;
                if let Some(left) = pending.below(from).filter(|_| is_folder) {
                    return Err(format!("{to:?} gets its name before {left:?}"));
                }
                if is_pointer(to) {
                    let log = pending
                        .contents
                        .iter()
                        .find(|p| p.ends_with("metrics.jsonl"));
                    let name = pending.names.iter().find(|name| is_checkpoint(name));
                    // The last one must never be behind the best.
                    let last = pending_pointer(&pending);
                    if let Some(left) = log.or(name).or(last.as_ref()) {
                        return Err(format!("{to:?} gets its name before {left:?}"));
                    }
                    saves += usize::from(to.ends_with("last"));
                }
                // One that is to go: nothing may point at it any more.
                if let Some(left) = pending_pointer(&pending).filter(|_| is_checkpoint(from)) {
                    return Err(format!(
                        "{from:?} is removed before {left:?} is on the disk"
                    ));
                }
                is_new |= to.as_path() == run;
                pending.rename(from, to);
            }
        }
    }
    let left = pending.below(&checkpoints).or_else(|| {
        let names = ["summary.json", "loss.svg"].map(|name| run.join(name));
        let name = |path: &&PathBuf| names.contains(path);
        pending.contents.iter().chain(&pending.names).find(name)
    });
    match left {
        Some(left) => Err(format!("{left:?} is not on the disk at the end")),
        None => Ok(saves),
    }
}

/// Runs `bptt` in `folder`; the calls of it. None without strace.
fn traced(folder: &Path, arguments: &str, run: &Path) -> Option<Vec<Call>> {
    let works = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .status();
    if !works.is_ok_and(|status| status.success()) {
        skip::skip("what is on the disk before what: strace does not work here");
        return None;
    }
    let trace = folder.join("trace");
    let calls = "trace=openat,mkdir,mkdirat,write,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir";
    let traced = Command::new("strace")
        .args([
            "-f",
            "-y",
            "-qq",
            "-s",
            "4096",
            "-e",
            "signal=none",
            "-e",
            calls,
            "-o",
        ])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_bptt"))
        .args(arguments.split_whitespace())
        .arg(run)
        .current_dir(folder)
        .env_remove("XDG_RUNTIME_DIR")
        .output()
        .unwrap();
    assert!(traced.status.success(), "{traced:?}");
    let trace = fs::read_to_string(trace).unwrap();
    Some(trace.lines().filter_map(parse).collect())
}

#[test]
fn a_checkpoint_is_on_the_disk_before_the_pointer_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let text = "the quick brown foxes jump over the lazy dogs\n".repeat(10);
    fs::write(folder.join("text.txt"), text).unwrap();
    let run = folder.join("runs/run");
    // Six saves after the first.
    let new = "train --quiet --device cpu --data text.txt --valid-fraction 0.2 --nhid 16 \
        --batch-size 2 --bptt 5 --epochs 3 --log-interval 5 --save-interval 20 --keep 1 --out";
    let gone_on = "train --quiet --epochs 5 --resume";
    // The pointer is not in its folder yet, and the log is empty; the log has nothing new at the end,
    // and the picture's name is waited for with the summary's. What goes on may do so by the settings that
    // it had.
    let twice_in_new = ["checkpoints", "metrics.jsonl", "metrics.jsonl", "run"];
    let twice_in_gone_on = ["run", "metrics.jsonl", "run"];
    for (what, arguments, least, twice) in [
        ("a new run", new, 6, &twice_in_new[..]),
        ("one gone on with", gone_on, 2, &twice_in_gone_on),
    ] {
        let Some(calls) = traced(&folder, arguments, &run) else {
            return;
        };
        is_durable(what, &calls, &run, least, twice);
    }
}

/// There are at least so many saves, all in a durable order; and what is not is noticed. Some waits,
/// here of what is called so, are for nothing, or for what is waited for again.
fn is_durable(what: &str, calls: &[Call], run: &Path, least: usize, twice: &[&str]) {
    let saves = check(calls, run);
    assert!(
        saves.as_ref().is_ok_and(|saves| *saves >= least),
        "{saves:?}"
    );

    // Each wait is missed when it is left out.
    let mut not_missed = Vec::new();
    let mut syncs = 0;
    for (at, call) in calls.iter().enumerate() {
        let Call::Sync(path) = call else { continue };
        let mut without = calls.to_vec();
        without.remove(at);
        match check(&without, run) {
            Ok(_) => not_missed.push(path.file_name().unwrap()),
            Err(_) => syncs += 1,
        }
    }
    assert_eq!(not_missed, twice, "{what}");
    say::say(&format!(
        "{what}: {saves:?} saves in a durable order; each of {syncs} syncs is missed when it is left out"
    ));
    // So is the order of what gets its name when.
    for (at, call) in calls.iter().enumerate() {
        let Call::Rename(_, to) = call else { continue };
        let of_run = to.starts_with(run.join("checkpoints"));
        if of_run && (is_checkpoint(to) || is_pointer(to)) {
            let before = calls[..at]
                .iter()
                .rposition(|c| matches!(c, Call::Sync(_)))
                .unwrap();
            let mut early = calls.to_vec();
            let call = early.remove(at);
            early.insert(before, call);
            assert!(
                check(&early, run).is_err(),
                "{to:?} too early is not missed"
            );
        }
    }
}
