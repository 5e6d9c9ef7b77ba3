//! Full, failing and vanishing disks: a typed error that names the file and what to do, the last good
//! checkpoint as it was, and training that stops or goes on as configured.
//!
//! `cargo test --test disks -- --ignored --nocapture` fails every call of the saves, one by one.
#![cfg(target_os = "linux")]

#[path = "common/command.rs"]
mod command;
#[path = "common/runs.rs"]
mod runs;
#[path = "common/say.rs"]
mod say;
#[path = "common/skip.rs"]
mod skip;
#[path = "common/timeless.rs"]
mod timeless;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bptt::checkpoint::Checkpoint;
use bptt::run;
use runs::{EPOCHS, Lab, succeeds};
use say::say;
use skip::skip;

/// The calls by which a run is written, besides those of openat that make a file.
const WRITING: [&str; 5] = ["write", "fsync", "rename", "mkdir", "ftruncate"];

/// A lab with a run of one epoch, to be gone on with for one more.
struct Disks {
    lab: Lab,
    base: PathBuf,
}

impl Disks {
    fn new() -> Self {
        // Never both at a step: what one writes does not depend on whether the other failed.
        let lab = Lab::new("cpu", "31", "9");
        let base = lab.folder().join("base");
        succeeds(&lab.train(&base, "1").output().unwrap());
        Disks { lab, base }
    }

    /// The run of one epoch, again.
    fn copy(&self, name: &str) -> PathBuf {
        let run = self.lab.folder().join(name);
        copy_folder(&self.base, &run);
        run
    }

    /// Four saves: two of them due, one after a validation, and one at the epoch's end.
    fn second_epoch(&self, run: &Path, more: &[&str]) -> Vec<String> {
        let run = run.display().to_string();
        let flags = [
            "train",
            "--resume",
            &run,
            "--epochs",
            "2",
            "--save-interval",
            "18",
        ];
        [&flags, more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    /// What strace saw.
    fn trace(&self) -> PathBuf {
        self.lab.folder().join("trace")
    }

    /// `bptt` with these arguments, run by a program that does something to it.
    fn by(&self, program: &[&str], arguments: &[String]) -> Output {
        let bptt = self.lab.bptt(arguments.iter().map(String::as_str));
        by(program, &bptt).output().unwrap()
    }

    /// Goes on with the run where nothing is in the way any more: it ends its second epoch as if
    /// nothing had been.
    #[track_caller]
    fn goes_on(&self, run: &Path) {
        let output = self.by(&[], &self.second_epoch(run, &[]));
        succeeds(&output);
        self.has_ended(run);
    }

    /// Has the run the end of the second epoch?
    #[track_caller]
    fn has_ended(&self, run: &Path) {
        assert_eq!(self.lab.check(run), Ok(()));
        let last = run::last_of(run).unwrap().display().to_string();
        assert!(last.ends_with("-epoch-00002"), "{last}");
        assert!(run.join("summary.json").is_file() && run.join("loss.svg").is_file());
    }
}

/// `command` as the arguments of a program.
fn by(program: &[&str], command: &Command) -> Command {
    let mut words = program.iter().map(|word| (*word).into());
    let mut all: Vec<std::ffi::OsString> = words.by_ref().collect();
    all.push(command.get_program().to_owned());
    all.extend(command.get_args().map(ToOwned::to_owned));
    let mut outer = Command::new(&all[0]);
    outer.args(&all[1..]).env_remove("XDG_RUNTIME_DIR");
    if let Some(folder) = command.get_current_dir() {
        outer.current_dir(folder);
    }
    outer
}

fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").args([from, to]).status();
    assert!(copied.unwrap().success());
}

/// Why a test cannot run without this program: it does not do its work here.
fn obstacle(test: &str, command: &[&str]) -> Option<String> {
    let output = Command::new(command[0]).args(&command[1..]).output();
    let works = output.is_ok_and(|output| output.status.success());
    let why = || format!("{test}: `{}` does not work here", command.join(" "));
    (!works).then(why)
}

/// Does this program, which can be installed, do its work here? Else the test is skipped.
fn works(test: &str, command: &[&str]) -> bool {
    let obstacle = obstacle(test, command);
    if let Some(why) = &obstacle {
        skip(why);
    }
    obstacle.is_none()
}

/// Is this permitted here? A container may forbid it, whatever is installed: that is only said.
fn is_permitted(test: &str, command: &[&str]) -> bool {
    let obstacle = obstacle(test, command);
    if let Some(why) = &obstacle {
        say(&format!("SKIPPED: {why}"));
    }
    obstacle.is_none()
}

/// One error that names a file of `folder` and what to do; no panic. The whole of what was said.
#[track_caller]
fn fails(output: &Output, folder: &Path, hint: &str) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{}: {text}", output.status);
    let errors: Vec<_> = text.lines().filter(|l| l.starts_with("error: ")).collect();
    assert!(errors.len() == 1 && !text.contains("panicked"), "{text}");
    assert!(errors[0].contains(&folder.display().to_string()), "{text}");
    assert!(errors[0].contains(hint), "{text}");
    text
}

/// The names that are not complete below a folder.
fn unfinished(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if name.starts_with(".bptt-") {
            found.push(path.clone());
        }
        if path.is_dir() {
            found.extend(unfinished(&path));
        }
    }
    found
}

/// A command under a bound on the size of files; what is written beyond fails.
fn limited(bytes: u64) -> Vec<String> {
    let bound = format!("--fsize={bytes}");
    ["prlimit", &bound].map(str::to_owned).to_vec()
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

#[test]
fn files_that_may_not_grow_stop_a_run_and_lose_nothing() {
    if !works(
        "bounds on the size of files",
        &["prlimit", "--fsize=1000", "true"],
    ) {
        return;
    }
    let disks = Disks::new();
    let mut sizes: Vec<u64> = vec![0, 1];
    for folder in [disks.base.clone(), run::last_of(&disks.base).unwrap()] {
        let files = fs::read_dir(folder)
            .unwrap()
            .map(|f| f.unwrap().metadata().unwrap());
        // Each file in turn is the first that does not fit.
        sizes.extend(
            files
                .filter(|f| f.is_file() && f.len() > 0)
                .map(|f| f.len() - 1),
        );
    }
    sizes.sort();
    sizes.dedup();
    let hint = "allow larger files (ulimit -f";
    let mut failed = 0;
    for size in sizes {
        let run = disks.copy(&format!("run-{size}"));
        let program = limited(size);
        let output = disks.by(&words(&program), &disks.second_epoch(&run, &[]));
        if !output.status.success() {
            fails(&output, &run, hint);
            assert_eq!(disks.lab.check(&run), Ok(()));
            assert_eq!(unfinished(&run), [] as [PathBuf; 0]);
            failed += 1;
        }
        disks.goes_on(&run);
        // A new run is there with its first checkpoint, or not at all.
        let new = disks.lab.folder().join(format!("new-{size}"));
        let output = by(&words(&program), &disks.lab.train(&new, "1"))
            .output()
            .unwrap();
        if !output.status.success() && new.exists() {
            fails(&output, &new, hint);
            assert_eq!(disks.lab.check(&new), Ok(()));
        } else if !output.status.success() {
            fails(&output, disks.lab.folder(), hint);
        }
    }
    assert!(failed > 5, "{failed}");
    assert_eq!(unfinished(disks.lab.folder()), [] as [PathBuf; 0]);
}

/// Calls that failed, and what became of the runs.
#[derive(Debug, Default)]
struct Failures {
    /// Calls that write, up to the last that was failed of each kind.
    calls: usize,
    /// Those that failed and stopped a run.
    stopped: usize,
    /// Those that failed and were made good at once: the beginning of TensorBoard's log waits for its
    /// first line.
    made_good: usize,
    /// Rows of failing calls that a run went on after.
    survived: usize,
}

/// Fails calls of the training of an epoch: of each kind every `step`-th from the `first`-th on.
fn fail_calls(first: usize, step: usize) -> Option<Failures> {
    if !works(
        "calls that fail",
        &["strace", "-qq", "-o", "/dev/null", "true"],
    ) {
        return None;
    }
    let disks = Disks::new();
    let mut failures = Failures::default();
    for call in WRITING {
        let mut number = first;
        while fail_one(&disks, call, number, &mut failures) {
            fail_row(&disks, call, number, &mut failures);
            number += step;
        }
        failures.calls += number.saturating_sub(step);
    }
    let creating = creating(&disks);
    failures.calls += creating.len();
    for number in creating.into_iter().skip(first - 1).step_by(step) {
        assert!(fail_one(&disks, "openat", number, &mut failures));
    }
    say(&format!(
        "{failures:?}, every {step} of each kind; no checkpoint was lost"
    ));
    Some(failures)
}

/// Which of a thread's calls of openat make a file, in the training of an epoch: the others read, and
/// find no disk full.
fn creating(disks: &Disks) -> Vec<usize> {
    let run = disks.copy("creates");
    let file = disks.trace().display().to_string();
    let strace = ["strace", "-f", "-qq", "-o", &file, "-e", "trace=openat"];
    succeeds(&disks.by(&strace, &disks.second_epoch(&run, &["--quiet"])));
    fs::remove_dir_all(run).unwrap();
    let trace = fs::read_to_string(disks.trace()).unwrap();
    let mut calls = BTreeMap::new();
    let mut creating = Vec::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').unwrap();
        // Not the end of a call that another thread's came into.
        if call.trim_start().starts_with("openat(") {
            let number = calls.entry(thread).or_insert(0);
            *number += 1;
            if call.contains("O_CREAT") {
                creating.push(*number);
            }
        }
    }
    creating
}

/// A call fails and stops the run, which goes on then; false if there is no such call.
fn fail_one(disks: &Disks, call: &str, number: usize, failures: &mut Failures) -> bool {
    let run = disks.copy("stops");
    let output = fail(disks, &run, call, &number.to_string(), &[]);
    let trace = fs::read_to_string(disks.trace()).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // The sample is printed at the end.
    let has_failed = trace.contains("INJECTED") && !said.contains("standard output");
    if has_failed && output.status.success() {
        failures.made_good += 1;
        disks.has_ended(&run);
    } else if has_failed {
        failures.stopped += 1;
        fails(&output, &run, "make room there");
        assert_eq!(disks.lab.check(&run), Ok(()), "{call} {number}");
        assert_eq!(unfinished(&run), [] as [PathBuf; 0], "{call} {number}");
        disks.goes_on(&run);
    }
    fs::remove_dir_all(run).unwrap();
    has_failed
}

/// Some calls in a row fail, as on a disk that is full for a while; the run is to go on.
fn fail_row(disks: &Disks, call: &str, number: usize, failures: &mut Failures) {
    let run = disks.copy("goes-on");
    let row = format!("{number}..{}", number + number * 7 % 10);
    let output = fail(disks, &run, call, &row, &["--on-save-error", "continue"]);
    match output.status.code() {
        Some(0) => {
            failures.survived += 1;
            disks.has_ended(&run);
        }
        // Before training, or at its end.
        Some(1) => {
            assert_eq!(disks.lab.check(&run), Ok(()), "{call} {row}");
            disks.goes_on(&run);
        }
        _ => panic!("{call} {row}: {output:?}"),
    }
    fs::remove_dir_all(run).unwrap();
}

/// Goes on for the second epoch, where some calls of a kind fail as on a full disk.
fn fail(disks: &Disks, run: &Path, call: &str, when: &str, more: &[&str]) -> Output {
    let trace = format!("trace={call}");
    let inject = format!("inject={call}:error=ENOSPC:when={when}");
    let file = disks.trace().display().to_string();
    let strace = ["strace", "-f", "-qq", "-o", &file, "-e"];
    let strace = [&strace[..], &[&trace, "-e", &inject]].concat();
    // Messages are written by the same call, and are not what is to fail.
    disks.by(
        &strace,
        &disks.second_epoch(run, &[more, &["--quiet"]].concat()),
    )
}

#[test]
fn calls_that_fail_lose_nothing() {
    if let Some(failures) = fail_calls(2, 9) {
        assert!(failures.stopped >= 8 && failures.survived >= 3);
    }
}

#[test]
#[ignore = "takes minutes"]
fn every_call_that_fails_loses_nothing() {
    if let Some(failures) = fail_calls(1, 1) {
        assert_eq!(failures.stopped + failures.made_good, failures.calls);
        assert!(failures.made_good <= 1 && 4 * failures.survived > failures.calls);
    }
}

/// A file system of its own, for as long as this lives.
struct Mount(PathBuf);

impl Mount {
    /// Memory of so many KiB; none where mounting is not permitted, which is said.
    fn of_kib(kib: usize, path: PathBuf) -> Option<Self> {
        fs::create_dir(&path).unwrap();
        let size = format!("size={kib}k");
        let at = path.display().to_string();
        let mount = ["mount", "-t", "tmpfs", "-o", &size, "none", &at];
        is_permitted("a full file system", &mount).then_some(Mount(path))
    }

    /// The same folder again, but read-only.
    fn read_only(of: &Path, path: PathBuf) -> Option<Self> {
        fs::create_dir(&path).unwrap();
        let [from, at] = [of, &path].map(|path| path.display().to_string());
        let mount = ["mount", "--bind", "-o", "ro", &from, &at];
        is_permitted("a read-only file system", &mount).then_some(Mount(path))
    }

    /// Fills all but so many KiB.
    fn fill(&self, free: usize) {
        use std::io::Write as _;
        let mut ballast = fs::File::create(self.0.join("ballast")).unwrap();
        while ballast.write_all(&[1; 1024]).is_ok() {}
        let length = ballast.metadata().unwrap().len();
        ballast.set_len(length - 1024 * free as u64).unwrap();
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_file_system_stops_a_run_and_loses_nothing() {
    let disks = Disks::new();
    let Some(mount) = Mount::of_kib(1024, disks.lab.folder().join("disk")) else {
        return;
    };
    let mut failed = 0;
    for free in (0..100).step_by(12) {
        for on_error in ["stop", "continue"] {
            let run = mount.0.join(format!("run-{free}-{on_error}"));
            copy_folder(&disks.base, &run);
            mount.fill(free);
            let flags = disks.second_epoch(&run, &["--on-save-error", on_error]);
            let output = disks.by(&[], &flags);
            if !output.status.success() {
                let text = fails(&output, &run, "make room there");
                let resume = format!("bptt train --resume {}", run.display());
                assert!(free == 0 || text.contains(&resume), "{text}");
                assert_eq!(disks.lab.check(&run), Ok(()), "{free} KiB");
                assert_eq!(unfinished(&run), [] as [PathBuf; 0]);
                failed += 1;
            }
            mount.make_room();
            let resume = [
                "train",
                "--resume",
                run.to_str().unwrap(),
                "--epochs",
                EPOCHS,
            ];
            let output = disks.lab.bptt(resume).output().unwrap();
            assert_eq!(disks.lab.check_end(&run, succeeds(&output)), Ok(()));
            fs::remove_dir_all(run).unwrap();
        }
    }
    assert!(failed > 5, "{failed}");
}

#[test]
fn a_read_only_file_system_is_named() {
    let disks = Disks::new();
    let run = disks.copy("run");
    let Some(mount) = Mount::read_only(disks.lab.folder(), disks.lab.folder().join("disk")) else {
        return;
    };
    let hint = "make it writable";
    let there = disks.second_epoch(&mount.0.join("run"), &[]);
    fails(&disks.by(&[], &there), &mount.0, hint);
    let new = disks.lab.train(&mount.0.join("new"), "1").output();
    fails(&new.unwrap(), &mount.0, hint);
    assert_eq!(disks.lab.check(&mount.0.join("run")), Ok(()));
    drop(mount);
    disks.goes_on(&run);
}

/// Trains a run that would take long, and does something to it after the first line of the log.
fn disturbed(mut command: Command, disturb: impl FnOnce()) -> Output {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains("\nstep ") {
        assert!(stderr.read_line(&mut text).unwrap() > 0, "{text}");
    }
    disturb();
    std::io::Read::read_to_string(&mut stderr, &mut text).unwrap();
    let mut output = child.wait_with_output().unwrap();
    output.stderr = text.into_bytes();
    output
}

/// What a run has for its last checkpoint can be read.
#[track_caller]
fn is_whole(run: &Path) {
    Checkpoint::read(&run::last_of(run).unwrap()).unwrap();
}

#[test]
fn a_folder_that_goes_or_becomes_a_file_stops_a_run() {
    let disks = Disks::new();
    let moved = disks.lab.folder().join("moved");

    let run = disks.lab.folder().join("gone");
    let output = disturbed(disks.lab.train(&run, "100000"), || {
        fs::rename(&run, &moved).unwrap();
    });
    let text = fails(&output, &run, "No such file");
    assert!(!text.contains("--resume"), "{text}");
    is_whole(&moved);

    let run = disks.lab.folder().join("a-file");
    let (checkpoints, aside) = (run.join("checkpoints"), run.join("aside"));
    let output = disturbed(disks.lab.train(&run, "100000"), || {
        fs::rename(&checkpoints, &aside).unwrap();
        fs::write(&checkpoints, "").unwrap();
    });
    // In between there was neither.
    fails(&output, &run, "directory");
    fs::remove_file(&checkpoints).unwrap();
    fs::rename(&aside, &checkpoints).unwrap();
    is_whole(&run);

    // It is what is configured, also if it never gets better.
    let run = disks.lab.folder().join("goes-on");
    let mut command = disks.lab.train(&run, "60");
    command.args(["--on-save-error", "continue"]);
    let output = disturbed(command, || fs::rename(&run, moved.join("again")).unwrap());
    let text = fails(&output, &run, "No such file");
    assert!(text.contains("warning: cannot write "), "{text}");
    assert!(text.contains("epoch 60/60"), "{text}");
    is_whole(&moved.join("again"));
}

#[test]
fn a_folder_that_may_not_be_written_stops_a_run() {
    let mut user = vec![
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let root = fs::metadata("/proc/self").unwrap();
    if std::os::unix::fs::MetadataExt::uid(&root) != 0 {
        user.clear();
    }
    let probe = [&user[..], &[env!("CARGO_BIN_EXE_bptt"), "--version"]].concat();
    // Only for another user is it denied to root's process.
    if !is_permitted("denied permissions", &probe) {
        return;
    }
    let disks = Disks::new();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(disks.lab.folder(), 0o777);
    let run = disks.lab.folder().join("run");
    let checkpoints = run.join("checkpoints");
    let train = by(&user, &disks.lab.train(&run, "100000"));
    let output = disturbed(train, || mode(&checkpoints, 0o555));
    fails(&output, &run, "make it writable");
    is_whole(&run);

    let run = run.display().to_string();
    let resume = disks
        .lab
        .bptt(["train", "--resume", &run, "--epochs", "100001"]);
    let output = by(&user, &resume).output().unwrap();
    fails(&output, Path::new(&run), "make it writable");
    mode(&checkpoints, 0o755);
    mode(disks.lab.folder(), 0o555);
    let new = disks.lab.folder().join("new");
    let output = by(&user, &disks.lab.train(&new, "1")).output().unwrap();
    fails(&output, &new, "make it writable");
    assert!(!new.exists());
    mode(disks.lab.folder(), 0o755);
}

#[test]
fn a_folder_in_the_place_of_a_file_is_named_and_the_run_ends_without_it() {
    let disks = Disks::new();
    for file in ["loss.svg", "summary.json"] {
        let run = disks.copy(&format!("run-{file}"));
        let path = run.join(file);
        fs::remove_file(&path).unwrap();
        fs::create_dir_all(path.join("folder")).unwrap();
        let output = disks.by(&[], &disks.second_epoch(&run, &[]));
        fails(&output, &path, "choose another folder");
        assert_eq!(disks.lab.check(&run), Ok(()));
        assert_eq!(unfinished(&run), [] as [PathBuf; 0]);
        fs::remove_dir_all(&path).unwrap();
        disks.goes_on(&run);
    }
}

/// Files that are no part of a run: named, and not left there half.
#[test]
fn other_files_that_do_not_fit_are_named() {
    if !works(
        "bounds on the size of files",
        &["prlimit", "--fsize=1000", "true"],
    ) {
        return;
    }
    let disks = Disks::new();
    let folder = disks.lab.folder();
    let long = folder.join("long.txt");
    // More than is encoded in memory.
    fs::write(
        &long,
        "all work and no play makes jack a dull boy\n".repeat(1_600_000),
    )
    .unwrap();
    let base = disks.base.display().to_string();
    let [cache, onnx, surprisals] = ["cache", "onnx", "surprisals"].map(|name| {
        let path = folder.join(name);
        path.display().to_string()
    });
    let train = ["train", "--device", "cpu", "--data"];
    let cases = [
        (
            [&train[..], &["text.txt", "--token-cache", &cache]].concat(),
            "make room for it",
        ),
        (
            vec!["export", &base, "--onnx", &onnx],
            "choose another place",
        ),
        (
            vec![
                "eval",
                &base,
                "--device",
                "cpu",
                "--data",
                "text.txt",
                "--surprisal",
                &surprisals,
            ],
            "File too large",
        ),
    ];
    // Temporary files are in the folder, too.
    let (program, tmpdir) = (limited(300), format!("TMPDIR={}", folder.display()));
    let program = [&["env", &tmpdir][..], &words(&program)].concat();
    for (arguments, hint) in cases {
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        fails(&disks.by(&program, &arguments), folder, hint);
    }
    let arguments = [&train[..], &["long.txt"]].concat();
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    fails(&disks.by(&program, &arguments), folder, "set TMPDIR");
    for file in [&cache, &onnx] {
        assert!(!Path::new(file).exists(), "{file}");
    }
    assert_eq!(unfinished(folder), [] as [PathBuf; 0]);
}

/// Files of a run are as any others: what the umask leaves of 666 and 777.
#[test]
fn modes_follow_the_umask() {
    let disks = Disks::new();
    let folder = disks.lab.folder();
    for (umask, file, dir) in [("077", 0o600, 0o700), ("022", 0o644, 0o755)] {
        let made = folder.join(umask);
        fs::create_dir(&made).unwrap();
        let (run, cache) = (made.join("a/run"), made.join("cache").display().to_string());
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let program = ["sh", "-c", &script];
        let mut train = disks.lab.train(&run, "1");
        train.args(["--token-cache", &cache]);
        succeeds(&by(&program, &train).output().unwrap());
        let onnx = made.join("model.onnx").display().to_string();
        let export = ["export", run.to_str().unwrap(), "--onnx", &onnx];
        succeeds(&by(&program, &disks.lab.bptt(export)).output().unwrap());
        let mut paths = vec![made.join("a"), cache.into(), onnx.into()];
        let mut seen = 0;
        while let Some(path) = paths.pop() {
            let metadata = fs::metadata(&path).unwrap();
            let expected = if metadata.is_dir() { dir } else { file };
            let mode = metadata.permissions().mode() & 0o777;
            assert_eq!(mode, expected, "{umask}: {mode:o} {}", path.display());
            if metadata.is_dir() {
                paths.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            }
            seen += 1;
        }
        assert!(seen > 20, "{seen}");
    }
}
