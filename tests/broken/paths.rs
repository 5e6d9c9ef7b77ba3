//! Ways out of a run's folder: in manifests, in files that name checkpoints, as symbolic links, in
//! settings; and files that are none.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use bptt::checkpoint::Checkpoint;
use bptt::inspect::Report;
use bptt::run;
use serde_json::{Value, json};

use crate::{FILES, MANIFEST, bptt, copy_of_checkpoint, copy_of_run, message, sign, small};

const NAME: &str = "step-000000005-epoch-00000";

/// Replaces a file by a link to it, which lies outside.
fn link(path: &Path, outside: &Path) {
    fs::rename(path, outside).unwrap();
    symlink(outside, path).unwrap();
}

#[test]
fn a_manifest_lists_nothing_outside_of_its_folder() {
    let (folder, checkpoint) = copy_of_checkpoint();
    let path = checkpoint.join(MANIFEST);
    let sound: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    fs::write(folder.path().join("secret"), "secret").unwrap();
    for name in [
        "../secret",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a/b",
        "./config.toml",
        "config.toml/",
    ] {
        let mut broken = sound.clone();
        let entry = json!({"bytes": 6, "sha256": ""});
        broken["files"]
            .as_object_mut()
            .unwrap()
            .insert(name.to_owned(), entry);
        fs::write(&path, broken.to_string()).unwrap();
        let error = Checkpoint::read(&checkpoint).unwrap_err().to_string();
        assert!(error.contains("manifest.json: files has"), "{error}");
        assert!(error.contains(&format!("{name:?}")), "{error}");
        // And nothing of it is looked at.
        let report = Report::of(&checkpoint).unwrap();
        assert_eq!(report.files.len(), 1, "{:?}", report.files);
        assert_eq!(report.files[0].path, path);
    }
}

#[test]
fn the_last_and_the_best_checkpoint_are_in_their_run() {
    let (folder, run) = copy_of_run();
    fs::create_dir(folder.path().join("other")).unwrap();
    let checkpoints = run.join("checkpoints");
    for pointer in ["last", "best"] {
        let path = checkpoints.join(pointer);
        let sound = fs::read(&path).unwrap();
        let refusal = || {
            let found = match pointer {
                "last" => run::last_of(&run),
                _ => run::model_of(&run),
            };
            found.unwrap_err().to_string()
        };
        for name in [
            "../../other",
            "/etc",
            "..",
            "",
            NAME.trim_end_matches('0'),
            "step-000000005-epoch-00000\n",
            "step-000000005-epoch-00000/../../..",
        ] {
            fs::write(&path, name).unwrap();
            let error = refusal();
            assert!(
                error.contains(pointer) && error.contains("there is no checkpoint"),
                "{error}"
            );
        }
        fs::write(&path, [0xff; 4]).unwrap();
        let error = Report::of(&run);
        if pointer == "best" {
            assert!(
                error
                    .unwrap_err()
                    .to_string()
                    .contains("best: invalid utf-8")
            );
        }
        fs::write(&path, "x".repeat(2 << 20)).unwrap();
        let error = refusal();
        assert!(
            error.contains("has 2097152 bytes") && error.len() < 300,
            "{error}"
        );
        fs::write(&path, sound).unwrap();
    }
}

#[test]
fn links_inside_of_a_run_are_refused() {
    let (folder, checkpoint) = copy_of_checkpoint();
    let outside = folder.path().join("outside");
    for file in FILES.into_iter().chain([MANIFEST]) {
        link(&checkpoint.join(file), &outside);
        let error = Checkpoint::read(&checkpoint).unwrap_err().to_string();
        assert!(
            error.contains(file) && error.contains("is a symbolic link"),
            "{error}"
        );
        fs::rename(&outside, checkpoint.join(file)).unwrap();
    }
    Checkpoint::read(&checkpoint).unwrap();
}

/// A run that goes on writes into its log, its lock and its checkpoints: not through links.
#[test]
fn nothing_is_written_through_links() {
    let (folder, run) = copy_of_run();
    let outside = folder.path().join("outside");
    for name in ["metrics.jsonl", "lock", "checkpoints", "checkpoints/last"] {
        let path = run.join(name);
        link(&path, &outside);
        let before = fs::metadata(&outside).unwrap().modified().unwrap();
        let failed = bptt(folder.path(), "train --resume run --epochs 3");
        let error = message(&failed);
        assert_eq!(failed.status.code(), Some(1), "{name}: {error}");
        assert!(
            error.contains(name) && error.contains("is a symbolic link"),
            "{error}"
        );
        assert_eq!(fs::metadata(&outside).unwrap().modified().unwrap(), before);
        fs::remove_file(&path).unwrap();
        fs::rename(&outside, path).unwrap();
    }
    let linked = run.join("checkpoints").join(NAME);
    link(&linked, &outside);
    fs::write(run.join("checkpoints/last"), NAME).unwrap();
    let error = run::last_of(&run).unwrap_err().to_string();
    assert!(error.contains("there is no checkpoint"), "{error}");
}

/// A finished run reads how it ended: from no other file than its own.
#[test]
fn the_summary_of_a_finished_run_is_in_its_folder() {
    let (folder, run) = copy_of_run();
    let resume = || bptt(folder.path(), "train --resume run");
    let path = run.join("summary.json");
    let outside = folder.path().join("outside");
    let refused = |why: &str| {
        let failed = resume();
        let error = message(&failed);
        assert_eq!(failed.status.code(), Some(1), "{error}");
        assert!(
            error.contains("summary.json") && error.contains(why),
            "{error}"
        );
        fs::remove_file(&path).unwrap();
    };
    link(&path, &outside);
    refused("is a symbolic link");
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    refused("is not a file");
    fs::write(&path, " ".repeat(2 << 20)).unwrap();
    refused("has 2097152 bytes");
    // One that is gone or damaged is written again.
    fs::write(&path, "{").unwrap();
    assert!(resume().status.success());
    assert!(fs::read_to_string(&path).unwrap().contains("finished"));
}

/// A pipe would be waited for, a folder is none, and a device never ends.
#[test]
fn what_is_no_file_is_not_read() {
    let (_folder, checkpoint) = copy_of_checkpoint();
    let (_other, run) = copy_of_run();
    let pipe = |path: &Path| {
        fs::remove_file(path).unwrap();
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    for file in FILES.into_iter().chain([MANIFEST]) {
        let path = checkpoint.join(file);
        let sound = fs::read(&path).unwrap();
        pipe(&path);
        let error = Checkpoint::read(&checkpoint).unwrap_err().to_string();
        assert!(
            error.contains(file) && error.contains("is not a file"),
            "{error}"
        );
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let error = Checkpoint::read(&checkpoint).unwrap_err().to_string();
        assert!(
            error.contains(file) && error.contains("is not a file"),
            "{error}"
        );
        fs::remove_dir(&path).unwrap();
        fs::write(&path, sound).unwrap();
    }
    pipe(&run.join("metrics.jsonl"));
    assert!(
        run::read_log(&run)
            .unwrap_err()
            .to_string()
            .contains("is not a file")
    );
    pipe(&run.join("checkpoints/best"));
    assert!(
        run::model_of(&run)
            .unwrap_err()
            .to_string()
            .contains("is not a file")
    );
}

/// Settings of a run that goes on name its texts, which are read, and a cache of their tokens: one that
/// is there is read, but none is made where somebody else's settings say.
#[test]
fn a_run_that_goes_on_makes_no_file_that_its_settings_name() {
    let (folder, run) = copy_of_run();
    let cache = folder.path().join("not-made");
    let checkpoints = run.join("checkpoints");
    let last = checkpoints.join(fs::read_to_string(checkpoints.join("last")).unwrap());
    let path = last.join("config.toml");
    let sound = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("token_cache = {cache:?}\n{sound}")).unwrap();
    sign(&last);
    let resumed = bptt(folder.path(), "train --resume run --epochs 3");
    assert!(resumed.status.success(), "{}", message(&resumed));
    assert!(
        message(&resumed).contains("not-made is gone"),
        "{}",
        message(&resumed)
    );
    assert!(!cache.exists());
    // Asked for by name, it is made.
    let resumed = bptt(
        folder.path(),
        "train --resume run --epochs 4 --token-cache not-made",
    );
    assert!(resumed.status.success(), "{}", message(&resumed));
    assert!(cache.exists());
}

/// The small run is as it was: no test here breaks another's.
#[test]
fn copies_are_broken_and_not_the_run() {
    assert_eq!(Report::of(&small().run).unwrap().damaged().count(), 0);
}
