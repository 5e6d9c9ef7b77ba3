//! Logs of runs, and what is drawn of them.

use std::fs;
use std::path::Path;

use bptt::Result;
use bptt::interchange::tensorboard::EventFile;
use bptt::plot::{self, Curves};
use bptt::run;
use bptt::train::Event;

use crate::{mutations, small};

/// Reads these bytes as a log.
fn read(folder: &Path, bytes: &[u8]) -> Result<Vec<Event>> {
    fs::write(folder.join("metrics.jsonl"), bytes).unwrap();
    run::read_log(folder)
}

/// A digit may be another one. A last line that was cut off is left out.
#[test]
fn a_broken_log_is_refused_or_a_log() {
    let folder = crate::folder();
    let sound = fs::read(small().run.join("metrics.jsonl")).unwrap();
    let events = read(folder.path(), &sound).unwrap();
    let few = &sound[..sound.iter().position(|&b| b == b'\n').unwrap() * 3];
    for (what, broken) in mutations(few) {
        match read(folder.path(), &broken) {
            Ok(found) => assert!(found.len() < events.len(), "{what}"),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("metrics.jsonl: "), "{what}: {error}");
                assert!(error.contains(" in line "), "{what}: {error}");
            }
        }
    }
    for len in 0..few.len() {
        let cut = read(folder.path(), &few[..len]).unwrap();
        assert_eq!(cut, events[..cut.len()]);
    }
}

#[test]
fn lies_in_a_log_are_named() {
    let folder = crate::folder();
    let sound = r#"{"event":"rollback","step":1,"to_step":0,"lr_scale":1}"#;
    assert_eq!(
        read(folder.path(), format!("{sound}\n").as_bytes())
            .unwrap()
            .len(),
        1
    );
    for (line, hint) in [
        (
            sound.replace("rollback", "other"),
            "unknown variant `other`",
        ),
        (sound.replace(":1,", ":-1,"), "in line 2, at `{\"event\""),
        (sound.replace("\"step\":1,", ""), "missing field `step`"),
        (
            sound.replace("\"step\":1,", "\"step\":1,\"step\":1,"),
            "duplicate field `step`",
        ),
        (sound.replace(":1}", ":1e999}"), "number out of range"),
        (sound.replace(":1}", ":NaN}"), "in line 2"),
        (format!("{{\"event\":{}", "[".repeat(100_000)), "in line 2"),
        (format!("{{\"x\":{}", "[".repeat(100_000)), "in line 2"),
        (String::new(), "EOF while parsing a value in line 2"),
    ] {
        let text = format!("{sound}\n{line}\n");
        let error = read(folder.path(), text.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains(hint), "{hint}: {error}");
        assert!(
            error.contains("metrics.jsonl: ") && error.len() < 600,
            "{error}"
        );
    }
    let error = read(folder.path(), b"\xff\n").unwrap_err().to_string();
    assert!(error.contains("metrics.jsonl: "), "{error}");
}

/// Numbers that are numbers, but that no picture can be made for.
#[test]
fn any_numbers_are_drawn() {
    let folder = crate::folder();
    let epoch = |step, loss, valid_loss| Event::Epoch {
        step,
        epoch: 1,
        loss,
        valid_loss: Some(valid_loss),
        seconds: 1.0,
    };
    let tiny = f64::from_bits(1);
    let beside = f64::from_bits(1f64.to_bits() + 1);
    let numbers = [
        f64::MAX,
        -f64::MAX,
        f64::MIN_POSITIVE,
        tiny,
        -tiny,
        0.0,
        -0.0,
        1.0,
        beside,
        1e16,
    ];
    for a in numbers {
        for b in numbers {
            for [first, second] in [[0, 1], [0, 0], [u64::MAX, 0], [0, u64::MAX], [5, 3]] {
                let events = [epoch(first, a, a), epoch(second, b, b), epoch(second, a, b)];
                let runs = [("run".to_owned(), Curves::of(&events))];
                plot::in_characters(&runs);
                if [first, second] == [0, 1] || a == b {
                    plot::loss_curve(&folder.path().join("a.svg"), "a", &events).unwrap();
                    plot::panels(&folder.path().join("b.svg"), &runs).unwrap();
                }
            }
        }
    }
}

/// Of the logs for TensorBoard only the names are looked at.
#[test]
fn names_of_event_files_may_be_any() {
    let folder = crate::folder();
    for name in [
        "18446744073709551615.x",
        "18446744073709551616",
        "-1",
        "",
        "99999999999",
        "..",
        "7.7.7",
    ] {
        fs::write(
            folder.path().join(format!("events.out.tfevents.{name}")),
            "broken",
        )
        .unwrap();
    }
    for _ in 0..3 {
        EventFile::create(folder.path()).unwrap();
    }
}
