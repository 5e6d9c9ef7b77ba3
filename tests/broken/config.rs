//! Settings that are none.

use std::fs;

use bptt::config::Config;

use crate::{bptt, message, mostly_refused, small};

#[test]
fn broken_settings_are_refused_or_settings() {
    let sound = fs::read(small().run.join("config.toml")).unwrap();
    mostly_refused(&sound, "config.toml", |what, broken| {
        match Config::from_toml(broken) {
            Ok(config) => {
                // What can be used can be written, and is the same again.
                if config.check().is_ok() {
                    let toml = config.to_toml().unwrap();
                    assert_eq!(Config::from_toml(toml.as_bytes()), Ok(config), "{what}");
                }
                false
            }
            Err(error) => {
                let is_short = !error.contains('\n') && error.len() < 600;
                assert!(is_short, "{what}: {error}");
                true
            }
        }
    });
}

/// As `--config` reads them: one line that names file, line and field, and exit code 1.
#[test]
fn lies_in_settings_are_named() {
    let folder = crate::folder();
    let path = folder.path().join("broken.toml");
    let sound = fs::read_to_string(small().run.join("config.toml")).unwrap();
    let deep = format!("data = {}", "[".repeat(100_000));
    let inline = format!("data = {}", "{a=".repeat(100_000));
    let dotted = format!("data.{} = 1", "a.".repeat(100_000) + "a");
    for (broken, code, hint) in [
        (
            format!("{sound}\nnhid = 4"),
            1,
            "broken.toml: duplicate key",
        ),
        (format!("{sound}\nmhid = 4"), 1, "at `mhid = 4`"),
        (format!("{sound}\nout = \"/etc\""), 1, "unknown field `out`"),
        (sound.replace("lr = 0.05", "lr = nan"), 2, "lr = NaN"),
        (sound.replace("lr = 0.05", "lr = inf"), 2, "lr = inf"),
        (sound.replace("lr = 0.05", "lr = -1"), 2, "lr = -1"),
        (
            sound.replace("lr = 0.05", "lr = [0.05]"),
            1,
            "at `lr = [0.05]`",
        ),
        (sound.replace("seed = 1", "seed = -1"), 1, "at `seed = -1`"),
        (
            sound.replace("seed = 1", "seed = 99999999999999999999"),
            1,
            "at `seed = 9999",
        ),
        (
            sound.replace("bptt = 4", "bptt = 9223372036854775807"),
            2,
            "bptt = 9223372036854775807",
        ),
        (
            sound.replace("batch_size = 2", "batch_size = 0"),
            2,
            "batch-size = 0",
        ),
        (
            sound.replace("epochs = 2", "epochs = 9223372036854775807"),
            2,
            "epochs = 92233",
        ),
        (
            sound.replace("keep = 9", "keep = \"\u{1b}[2J\""),
            1,
            "broken.toml: ",
        ),
        (deep, 1, "broken.toml: "),
        (inline, 1, "broken.toml: "),
        (dotted, 1, "broken.toml: "),
        (String::new(), 1, "missing field"),
        ("\u{0}".to_owned(), 1, "broken.toml: "),
    ] {
        fs::write(&path, &broken).unwrap();
        let failed = bptt(
            folder.path(),
            "train --device cpu --config broken.toml --out run",
        );
        let error = message(&failed);
        assert_eq!(failed.status.code(), Some(code), "{hint}: {error}");
        assert!(error.contains(hint), "{hint}: {error}");
        assert!(error.lines().count() == 1 && error.len() < 1000, "{error}");
        assert!(!error.contains('\u{1b}'), "{error:?}");
    }
    fs::write(&path, b"lr = 1 # \xff").unwrap();
    let error = message(&bptt(folder.path(), "train --config broken.toml --out run"));
    assert!(error.contains("broken.toml: invalid utf-8"), "{error}");
    assert!(!folder.path().join("run").exists());
}
