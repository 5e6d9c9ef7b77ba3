//! What `bptt` does to the rest of the system, as the kernel sees it: no network, no other program, and
//! no file written but those of its run. Linux only, by strace; skipped where there is none.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::skip::skip;

/// System calls that change what is on the disk, beside those that open files.
const CHANGES: [&str; 21] = [
    "chmod",
    "chown",
    "fchmodat",
    "fchownat",
    "lchown",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "mount",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "symlink",
    "symlinkat",
    "truncate",
    "unlink",
    "unlinkat",
];
const OPENS: [&str; 4] = ["creat", "open", "openat", "openat2"];
const WRITES: [&str; 5] = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"];

/// What a process did beyond what it should, by the lines of strace; and the programs that it started.
#[derive(Debug, Default)]
struct Deeds {
    wrong: Vec<String>,
    programs: Vec<String>,
    /// Calls that were looked at and found right: there must be some.
    right: usize,
}

impl Deeds {
    /// Takes in the trace of a thread.
    fn add(&mut self, trace: &str, folder: &Path, may_write: &dyn Fn(&Path) -> bool) {
        for line in trace.lines() {
            let (name, rest) = line.split_once('(').unwrap_or_default();
            let (arguments, result) = rest.rsplit_once(" = ").unwrap_or_default();
            let failed = result.starts_with('-');
            if name.starts_with("execve") && !failed {
                self.programs.push(line.to_owned());
            }
            if ["AF_INET", "AF_PACKET"]
                .iter()
                .any(|family| arguments.contains(family))
            {
                self.wrong.push(line.to_owned());
            }
            if failed {
                continue;
            }
            let paths = if CHANGES.contains(&name) {
                paths(arguments, folder)
            } else if OPENS.contains(&name) && WRITES.iter().any(|flag| arguments.contains(flag)) {
                // The descriptor, with its path.
                descriptor(result).into_iter().collect()
            } else {
                continue;
            };
            // A way up would be one out.
            let is_right =
                |path: &PathBuf| !path.iter().any(|part| part == "..") && may_write(path);
            if !paths.is_empty() && paths.iter().all(is_right) {
                self.right += 1;
            } else {
                self.wrong.push(line.to_owned());
            }
        }
    }
}

/// The path of `3</path>`.
fn descriptor(text: &str) -> Option<PathBuf> {
    let (_, path) = text.split_once('<')?;
    Some(PathBuf::from(path.rsplit_once('>')?.0))
}

/// Every path among the arguments, from the folder that stands before it or else from `folder`.
fn paths(arguments: &str, folder: &Path) -> Vec<PathBuf> {
    let parts: Vec<&str> = arguments.split('"').collect();
    let pairs = parts.chunks_exact(2);
    let path = |pair: &[&str]| {
        let base = descriptor(pair[0]).unwrap_or(folder.to_owned());
        // Without the "." in it.
        base.join(pair[1]).components().collect()
    };
    pairs.map(path).collect()
}

/// Can processes be traced here? If not, says so.
fn strace_works() -> bool {
    let traced = Command::new("strace")
        .args(["-qq", "-e", "trace=none", "true"])
        .output();
    let works = traced.is_ok_and(|output| output.status.success());
    if !works {
        skip("what bptt writes: strace is not there, or may not trace");
    }
    works
}

/// Runs `bptt` in `folder` and looks at what it does. It may write into the run, into the folder that
/// the run is made in, and what `driver` may write besides.
fn run(folder: &Path, flags: &str, driver: Option<&dyn Fn(&Path) -> bool>) {
    let traces = folder.join("traces");
    fs::create_dir(&traces).unwrap();
    let output = Command::new("strace")
        .args([
            "-ff",
            "--seccomp-bpf",
            "-qq",
            "-y",
            "-s",
            "4096",
            "-e",
            "trace=%file,%network,%process",
            "-o",
        ])
        .arg(traces.join("trace"))
        .arg(env!("CARGO_BIN_EXE_bptt"))
        .args(flags.split_whitespace())
        .current_dir(folder)
        .env("HOME", folder.join("home"))
        .env("XDG_CACHE_HOME", folder.join("home/.cache"))
        .env_remove("TMPDIR")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{flags}: {error}");
    let mut deeds = Deeds::default();
    let unfinished = folder.join(".bptt-");
    let allowed = |path: &Path| {
        path.starts_with(folder.join("run"))
            || path
                .to_string_lossy()
                .starts_with(&*unfinished.to_string_lossy())
            || path == Path::new("/dev/null")
            || driver.is_some_and(|may_write| may_write(path))
    };
    for trace in fs::read_dir(&traces).unwrap() {
        let trace = fs::read(trace.unwrap().path()).unwrap();
        deeds.add(&String::from_utf8_lossy(&trace), folder, &allowed);
    }
    fs::remove_dir_all(&traces).unwrap();
    let Deeds {
        wrong,
        programs,
        right,
    } = &deeds;
    assert!(wrong.is_empty(), "{flags}: {wrong:#?}");
    // Itself.
    assert_eq!(programs.len(), 1, "{flags}: {programs:#?}");
    // Only training writes, and a driver.
    let writes = flags.starts_with("train");
    assert!(!writes || *right > 0, "{flags}: no write seen");
    assert!(
        writes || driver.is_some() || *right == 0,
        "{flags}: {right} writes seen"
    );
    eprintln!("{flags}: {right} writes, all where they may be");
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("text.txt"),
        "the lamp is lit\n".repeat(20),
    )
    .unwrap();
    fs::create_dir(folder.path().join("home")).unwrap();
    folder
}

const TRAIN: &str = "train --data text.txt --valid-fraction 0.2 --emsize 4 --nhid 8 --batch-size 2 --bptt 4 --epochs 2 --save-interval 5 --out run --device";

#[test]
fn nothing_is_written_but_the_run_and_nothing_is_asked_of_the_network() {
    if !strace_works() {
        return;
    }
    let folder = folder();
    let folder = folder.path().canonicalize().unwrap();
    run(&folder, &format!("{TRAIN} cpu"), None);
    for flags in [
        "train --resume run --epochs 3",
        "generate run --prompt the --length 20 --device cpu",
        "eval run --device cpu",
        "inspect run",
    ] {
        run(&folder, flags, None);
    }
}

/// On a GPU the driver writes, too: it keeps the shaders that it has compiled, and opens the device.
#[test]
fn on_a_gpu_only_the_driver_writes_elsewhere() {
    if !strace_works() || common::gpu().is_none() {
        return;
    }
    let folder = folder();
    let folder = folder.path().canonicalize().unwrap();
    let home = folder.join("home");
    let driver = |path: &Path| {
        // Mesa's and NVIDIA's caches of shaders; the device; shared memory with the display.
        let cached = path.starts_with(home.join(".cache")) || path.starts_with(home.join(".nv"));
        let device =
            path.starts_with("/dev/dri") || path.to_string_lossy().starts_with("/dev/nvidia");
        cached || device || path.starts_with("/dev/shm") || path.starts_with("/memfd:")
    };
    run(&folder, &format!("{TRAIN} gpu"), Some(&driver));
    for flags in [
        "train --resume run --epochs 3",
        "generate run --prompt the --length 20 --device gpu",
        "eval run --device gpu",
    ] {
        run(&folder, flags, Some(&driver));
    }
    // No device is opened to describe what is on the disk.
    run(&folder, "inspect run", None);
}

#[test]
fn what_is_wrong_in_a_trace_is_seen() {
    let folder = Path::new("/home/me");
    let in_run = |path: &Path| path.starts_with("/home/me/run");
    for (line, wrong) in [
        (
            r#"openat(AT_FDCWD</home/me>, "run/a", O_WRONLY|O_CREAT, 0666) = 3</home/me/run/a>"#,
            false,
        ),
        (
            r#"openat(AT_FDCWD</home/me>, "run/../a", O_WRONLY|O_CREAT, 0666) = 3</home/me/a>"#,
            true,
        ),
        (
            r#"openat(AT_FDCWD</home/me>, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3</etc/passwd>"#,
            false,
        ),
        (
            r#"openat(AT_FDCWD</home/me>, "/etc/passwd", O_RDWR) = 3</etc/passwd>"#,
            true,
        ),
        (
            r#"openat(AT_FDCWD</home/me>, "/etc/passwd", O_RDWR) = -1 EACCES (Permission denied)"#,
            false,
        ),
        (r#"mkdir("run/b", 0777) = 0"#, false),
        (r#"mkdir("b", 0777) = 0"#, true),
        (r#"mkdir("run/../b", 0777) = 0"#, true),
        (r#"rename("run/b", "/tmp/b") = 0"#, true),
        (
            r#"renameat(AT_FDCWD</home/me>, "run/b", 4</home/me/run>, "c") = 0"#,
            false,
        ),
        (r#"unlinkat(4</home/me>, "c", 0) = 0"#, true),
        (r#"socket(AF_UNIX, SOCK_STREAM, 0) = 3<UNIX:[1]>"#, false),
        (r#"socket(AF_INET, SOCK_STREAM, 0) = 3<TCP:[1]>"#, true),
        (
            r#"connect(3<TCP:[1]>, {sa_family=AF_INET6, ...}, 28) = -1 ENETUNREACH (x)"#,
            true,
        ),
    ] {
        let mut deeds = Deeds::default();
        deeds.add(line, folder, &in_run);
        assert_eq!(deeds.wrong.len(), usize::from(wrong), "{line}");
    }
    let mut deeds = Deeds::default();
    deeds.add(
        "execve(\"/bin/sh\", [\"sh\"], 0x0 /* 1 var */) = 0",
        folder,
        &in_run,
    );
    assert_eq!(deeds.programs.len(), 1);
}
