//! Weights that come and go, and what is shown of runs: the commands import, export, inspect and
//! plot, and `train --init-from`, as processes. What other programs make of the files is tested in
//! python.rs.

#[path = "common/command.rs"]
mod command;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use bptt::checkpoint::{Checkpoint, Weights};
use bptt::run;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

/// Runs `bptt` in `folder`.
fn bptt(folder: &Path, arguments: &[&str]) -> Output {
    command::bptt(folder, arguments)
        .output()
        .expect("the binary starts")
}

/// What it prints on stdout and on stderr, if it succeeds.
#[track_caller]
fn succeeds(folder: &Path, arguments: &[&str]) -> (String, String) {
    let output = bptt(folder, arguments);
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    (stdout, stderr)
}

/// The code, and one line that begins with "error: " and holds `hint`; nothing is left in `folder`
/// that was not there.
#[track_caller]
fn fails(folder: &Path, arguments: &[&str], code: i32, hint: &str) {
    let names = || {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<_> = entries.map(|e| e.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let output = bptt(folder, arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    let errors: Vec<_> = text.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{arguments:?}: {text}");
    assert!(errors[0].contains(hint), "{arguments:?}: {text}");
    assert!(!text.contains("panicked"), "{arguments:?}: {text}");
    assert_eq!(names(), before, "{arguments:?} left something behind");
}

/// A text of ten lines, and a run of a small model on it.
fn trained() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let line = |i| format!("the {i} quick brown foxes jump over {} lazy dogs\n", 9 - i);
    let text: String = (0..10).map(line).collect();
    fs::write(folder.path().join("text.txt"), text).expect("a text");
    let sizes = ["--emsize", "6", "--nhid", "10", "--out", "run"];
    succeeds(folder.path(), &train(&sizes));
    let run = folder.path().join("run");
    (folder, run)
}

/// `bptt train` on the text, and validation on its end.
fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    train_on("text.txt", &[&["--valid-fraction", "0.2"], more].concat())
}

/// `bptt train` on `text`, on the CPU, for two epochs.
fn train_on<'a>(text: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let base = [
        "train",
        "--device",
        "cpu",
        "--data",
        text,
        "--batch-size",
        "4",
        "--bptt",
        "8",
        "--epochs",
        "2",
        "--log-interval",
        "2",
    ];
    [&base, more].concat()
}

fn weights(run: &Path) -> Weights {
    let checkpoint = run::last_of(run).expect("a checkpoint");
    Checkpoint::read(&checkpoint).expect("it is sound").weights
}

/// A tensor of a file: type, shape, bytes.
type Raw = (Dtype, Vec<usize>, Vec<u8>);

/// Rewrites a safetensors file.
fn change(from: &Path, to: &Path, change: impl FnOnce(&mut BTreeMap<String, Raw>)) {
    let bytes = fs::read(from).expect("a file");
    let file = SafeTensors::deserialize(&bytes).expect("tensors");
    let raw = |(name, view): (&str, TensorView<'_>)| {
        let raw = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        (name.to_owned(), raw)
    };
    let mut tensors: BTreeMap<String, Raw> = file.iter().map(raw).collect();
    change(&mut tensors);
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        let view = TensorView::new(*dtype, shape.clone(), data).expect("a tensor");
        (name, view)
    });
    let changed = safetensors::serialize(views, None).expect("a file");
    fs::write(to, changed).expect("it is written");
}

#[test]
fn exported_weights_come_back_as_they_were() {
    let (folder, run) = trained();
    let file = run::last_of(&run).unwrap().join("model.safetensors");
    let file = file.to_str().unwrap();
    let import = ["import", file, "--tokenizer", "run/tokenizer.json", "--out"];
    let (_, said) = succeeds(folder.path(), &[&import[..], &["back"]].concat());
    assert!(said.contains("V=38 D=6 H=10"), "{said}");
    assert_eq!(weights(&folder.path().join("back")), weights(&run));
    let generate = |run| {
        let flags = ["generate", run, "--device", "cpu", "--length", "30"];
        succeeds(folder.path(), &flags).0
    };
    let last = run::last_of(&run).unwrap();
    assert_eq!(generate("back"), generate(last.to_str().unwrap()));
    // Nor a text of its own, such as the embedded one.
    let eval = ["eval", "back", "--device", "cpu"];
    fails(folder.path(), &eval, 2, "the run has none of its own");
    // It has nothing to go on from, but weights to begin with.
    let text = fs::read_to_string(folder.path().join("text.txt")).unwrap();
    fs::write(folder.path().join("long.txt"), text.repeat(2)).unwrap();
    let resume = [
        "train", "--resume", "back", "--device", "cpu", "--data", "long.txt",
    ];
    let hint = "it has weights only; use it with --init-from";
    fails(folder.path(), &resume, 1, hint);
    succeeds(
        folder.path(),
        &train(&["--init-from", "back", "--out", "on"]),
    );
    let events = fs::read_dir(folder.path().join("back")).unwrap();
    let is_events = |name: String| name.starts_with("events.out");
    assert!(
        !events
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .any(is_events)
    );
}

/// The values of a parameter, by its name in the formulas.
#[track_caller]
fn values(run: &Path, name: &str) -> Vec<f32> {
    let weights = weights(run);
    let found = weights.iter().find(|(n, _)| *n == name);
    found.expect("a parameter").1.to_vec()
}

#[test]
fn both_biases_of_pytorch_are_kept_where_that_is_asked_for() {
    let (folder, run) = trained();
    let saved = run::last_of(&run).unwrap().join("model.safetensors");
    let second: Vec<f32> = (1u8..=10).map(|i| f32::from(i) / 16.0).collect();
    let file = folder.path().join("two.safetensors");
    change(&saved, &file, |tensors| {
        let bytes = second.iter().flat_map(|x| x.to_le_bytes()).collect();
        let raw = (Dtype::F32, vec![10], bytes);
        tensors.insert("rnn.bias_hh_l0".to_owned(), raw);
    });
    let import = |out, more: &[&'static str]| {
        let import = ["import", "two.safetensors", "--out", out];
        let tokenizer = ["--tokenizer", "run/tokenizer.json"];
        succeeds(folder.path(), &[&import[..], &tokenizer, more].concat()).1
    };
    let said = import("two", &["--biases", "keep"]);
    assert!(
        said.contains("H=10, two biases") && !said.contains("bias_hh"),
        "{said}"
    );
    let one = import("one", &[]);
    assert!(
        one.contains("rnn.bias_hh_l0 added") && !one.contains("two biases"),
        "{one}"
    );
    let (two, one) = (folder.path().join("two"), folder.path().join("one"));
    let first = values(&run, "b");
    assert_eq!(
        (values(&two, "b"), values(&two, "bh")),
        (first.clone(), second.clone())
    );
    let sum: Vec<f32> = first.iter().zip(&second).map(|(a, b)| a + b).collect();
    assert_eq!(values(&one, "b"), sum);
    assert!(weights(&one).iter().all(|(name, _)| name != "bh"));
    let exported = run::last_of(&two).unwrap().join("model.safetensors");
    assert_eq!(fs::read(&exported).unwrap(), fs::read(&file).unwrap());

    // The same function: it scores and writes alike, but for roundings.
    let loss = |run| -> f64 {
        let flags = [
            "eval", run, "--data", "text.txt", "--device", "cpu", "--json",
        ];
        let report: Value = serde_json::from_str(&succeeds(folder.path(), &flags).0).unwrap();
        report["loss"].as_f64().expect("a loss")
    };
    assert!((loss("two") - loss("one")).abs() < 1e-6);
    assert!((loss("two") - loss("run")).abs() > 1e-3);
    let generate = ["generate", "two", "--device", "cpu", "--length", "5"];
    succeeds(folder.path(), &generate);

    // A run that begins with them has both, unless it asks for another number.
    let on = train(&["--init-from", "two", "--out", "on"]);
    let (_, said) = succeeds(folder.path(), &on);
    assert!(said.contains("two biases"), "{said}");
    let on = folder.path().join("on");
    assert_ne!(values(&on, "b"), first);
    assert_ne!(values(&on, "bh"), second);
    for (from, biases, hint) in [
        ("two", "1", "its weights have 2"),
        ("run", "2", "its weights have 1"),
    ] {
        let flags = ["--init-from", from, "--rnn-biases", biases];
        let refused = format!("rnn-biases = {biases} cannot be used with --init-from {from}");
        fails(folder.path(), &train(&flags), 2, &refused);
        fails(folder.path(), &train(&flags), 2, hint);
    }
    // A file serves either.
    for (biases, out) in [("1", "a"), ("2", "b")] {
        let flags = [
            "--init-from",
            "two.safetensors",
            "--rnn-biases",
            biases,
            "--out",
            out,
        ];
        succeeds(
            folder.path(),
            &train(&[&["--lr", "1e-30"], &flags[..]].concat()),
        );
    }
    assert_eq!(weights(&folder.path().join("a")), weights(&one));
    assert_eq!(weights(&folder.path().join("b")), weights(&two));
    let resume = ["train", "--resume", "on", "--epochs", "3"];
    succeeds(folder.path(), &resume);
    let other = [&resume[..], &["--rnn-biases", "1"]].concat();
    fails(folder.path(), &other, 2, "rnn-biases = 1 cannot");
    let (text, _) = succeeds(folder.path(), &["inspect", "on"]);
    assert!(text.contains("H=10, two biases"), "{text}");
    // A dry run counts H parameters more.
    let parameters = |biases| {
        let sizes = ["--nhid", "10", "--emsize", "6", "--dry-run"];
        let flags = [&sizes[..], &["--rnn-biases", biases]].concat();
        let (_, said) = succeeds(folder.path(), &train(&flags));
        let (before, _) = said.split_once(" parameters").expect("their number");
        let number = before.rsplit(' ').next().unwrap_or_default();
        number.parse::<usize>().expect("a number")
    };
    assert_eq!(parameters("2"), parameters("1") + 10);
    fails(
        folder.path(),
        &train(&["--rnn-biases", "3"]),
        2,
        "3 is not in 1..=2",
    );
}

#[test]
fn what_cannot_be_imported_is_refused_by_name() {
    let (folder, run) = trained();
    let file = run::last_of(&run).unwrap().join("model.safetensors");
    let bad = folder.path().join("bad.safetensors");
    let import = [
        "import",
        "bad.safetensors",
        "--tokenizer",
        "run/tokenizer.json",
        "--out",
        "new",
    ];
    type Change = fn(&mut BTreeMap<String, Raw>);
    let cases: &[(Change, &str)] = &[
        (
            |t| _ = t.remove("encoder.weight"),
            "encoder.weight is missing",
        ),
        (
            |t| _ = t.insert("rnn.weight_ih_l1".to_owned(), t["rnn.weight_ih_l0"].clone()),
            "rnn.weight_ih_l1 is of layer 1",
        ),
        (
            |t| {
                let (_, shape, _) = t.get_mut("rnn.weight_ih_l0").unwrap();
                shape.reverse();
            },
            "rnn.weight_ih_l0 is F32 [6, 10], expected [10, 6]",
        ),
        (
            |t| _ = t.insert("rnn.bias_hh_l0".to_owned(), t["decoder.bias"].clone()),
            "rnn.bias_hh_l0 is F32 [38], expected [10]",
        ),
    ];
    for (defect, hint) in cases {
        change(&file, &bad, defect);
        fails(folder.path(), &import, 1, hint);
        let keep = [&import[..], &["--biases", "keep"]].concat();
        fails(folder.path(), &keep, 1, hint);
        fails(folder.path(), &import, 1, "bad.safetensors cannot be used");
        // As weights to begin with they are no better.
        fails(
            folder.path(),
            &train(&["--init-from", "bad.safetensors"]),
            1,
            hint,
        );
    }
    fs::write(&bad, "no tensors").unwrap();
    fails(folder.path(), &import, 1, "bad.safetensors cannot be used");
    change(&file, &bad, |_| {});
    let map = [&import[..], &["--map", "net.=x"]].concat();
    fails(folder.path(), &map, 1, "no tensor begins with net.");
    let map = [&import[..], &["--map", "net."]].concat();
    fails(folder.path(), &map, 2, "expected OLD=NEW");
    // A vocabulary of another size.
    fs::write(folder.path().join("other.txt"), "abc\n".repeat(60)).unwrap();
    succeeds(folder.path(), &train_on("other.txt", &["--out", "other"]));
    let mut swapped = import;
    swapped[3] = "other/tokenizer.json";
    fails(
        folder.path(),
        &swapped,
        1,
        "it has 4 tokens, encoder.weight has 38 rows",
    );
    succeeds(folder.path(), &import);
    fails(folder.path(), &import, 1, "new exists already");
}

#[test]
fn a_new_run_begins_with_old_weights() {
    let (folder, run) = trained();
    // They come with their vocabulary.
    for (flag, value) in [("--level", "word"), ("--vocab-size", "20")] {
        let other = train(&["--init-from", "run", flag, value, "--out", "other"]);
        fails(folder.path(), &other, 2, &flag[2..]);
    }
    // Its tokens are what counts, not what the run was called by that had it from another.
    let on_text = |more: &[&'static str]| train_on("text.txt", more);
    succeeds(folder.path(), &on_text(&["--level", "word", "--out", "w"]));
    let taken = on_text(&["--tokenizer", "w/tokenizer.json", "--out", "t"]);
    succeeds(folder.path(), &taken);
    let from = ["--init-from", "t", "--out", "u", "--level"];
    let characters = on_text(&[&from[..], &["char"]].concat());
    fails(folder.path(), &characters, 2, "level = characters");
    succeeds(folder.path(), &on_text(&[&from[..], &["word"]].concat()));
    let tiny = ["--lr", "1e-30", "--init-from"];
    let last = run::last_of(&run).unwrap();
    let file = last.join("model.safetensors");
    // A rate that changes no weight shows what it began with.
    for (name, source) in [("a", last.as_path()), ("b", &file), ("c", &run)] {
        let flags = [&tiny[..], &[source.to_str().unwrap(), "--out", name]].concat();
        let (_, said) = succeeds(folder.path(), &train(&flags));
        assert!(said.contains("weights: from "), "{said}");
        let expected = match name {
            "c" => {
                Checkpoint::read(&run::model_of(&run).unwrap())
                    .unwrap()
                    .weights
            }
            _ => weights(&run),
        };
        assert_eq!(weights(&folder.path().join(name)), expected, "{name}");
    }
    // The setting is kept: the run can be begun again from its settings.
    let config = fs::read_to_string(folder.path().join("a/config.toml")).unwrap();
    assert!(
        config.contains("init_from = ") && config.contains("nhid = 10"),
        "{config}"
    );
    succeeds(
        folder.path(),
        &["train", "--config", "a/config.toml", "--out", "again"],
    );
    let again = weights(&folder.path().join("again"));
    assert_eq!(again, weights(&folder.path().join("a")));
    succeeds(folder.path(), &["train", "--resume", "a", "--epochs", "3"]);
    let fixed = ["train", "--resume", "a", "--init-from", "run"];
    fails(folder.path(), &fixed, 2, "init-from = ");
}

#[test]
fn other_sizes_and_another_vocabulary_are_refused() {
    let (folder, run) = trained();
    let from = ["--init-from", "run"];
    for (flag, hint) in [
        ("--nhid", "nhid = 12 cannot be used with --init-from run"),
        (
            "--emsize",
            "emsize = 12 cannot be used with --init-from run",
        ),
    ] {
        let flags = [&from[..], &[flag, "12"]].concat();
        fails(folder.path(), &train(&flags), 2, hint);
    }
    let nhid = train(&["--init-from", "run", "--nhid", "12"]);
    fails(folder.path(), &nhid, 2, "its weights have 10");
    // A file says nothing of its tokens but their number.
    fs::write(folder.path().join("other.txt"), "abc\n".repeat(60)).unwrap();
    let file = run::last_of(&run).unwrap().join("model.safetensors");
    let flags = ["--init-from", file.to_str().unwrap()];
    let hint = "the weights are for 38 tokens, the text has 4";
    fails(folder.path(), &train_on("other.txt", &flags), 1, hint);
    // Another tokenizer is named with what differs.
    succeeds(folder.path(), &train_on("other.txt", &["--out", "o"]));
    let flags = [&from[..], &["--tokenizer", "o/tokenizer.json"]].concat();
    let hint = "the text's vocabulary is not that of run";
    fails(folder.path(), &train_on("other.txt", &flags), 1, hint);
    // Without one the old vocabulary is taken, and a text with other characters does not fit it.
    fs::write(
        folder.path().join("more.txt"),
        "the quick fox éé\n".repeat(60),
    )
    .unwrap();
    fails(folder.path(), &train_on("more.txt", &from), 1, "é");
    fails(
        folder.path(),
        &train(&["--init-from", "no"]),
        1,
        "not a run",
    );
}

#[test]
fn inspect_shows_numbers_and_names_damage() {
    let (folder, run) = trained();
    let (text, _) = succeeds(folder.path(), &["inspect", "run"]);
    for part in [
        "V=38 D=6 H=10",
        "memory: ",
        "epochs done",
        "best validation loss",
        "files:   all 10 are as they were written",
        "decoder.weight     F32   [38, 10]    380",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    let json = |path: &str| -> Value {
        let output = bptt(folder.path(), &["inspect", path, "--json"]);
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let report = json("run");
    let bytes = report["model"]["memory"]["weights"].as_u64();
    let parameters = report["model"]["parameters"].as_u64();
    assert_eq!(bytes, parameters.map(|n| 4 * n));
    // Adam keeps two numbers for each parameter.
    let adam = [
        "--emsize",
        "6",
        "--nhid",
        "10",
        "--optimizer",
        "adam",
        "--out",
        "adam",
    ];
    succeeds(folder.path(), &train(&adam));
    let memory = |report: &Value| -> u64 {
        let purposes = report["model"]["memory"].as_object().expect("purposes");
        purposes.values().filter_map(Value::as_u64).sum()
    };
    assert!(memory(&json("adam")) >= memory(&report) + 2 * bytes.unwrap());
    // In agreement with the tensor itself.
    let model = Checkpoint::read(&run::model_of(&run).unwrap()).unwrap();
    let (_, table) = model.weights.iter().find(|(name, _)| *name == "E").unwrap();
    let tensors = report["tensors"].as_array().unwrap();
    let encoder = tensors
        .iter()
        .find(|t| t["name"] == "encoder.weight")
        .unwrap();
    let squares: f64 = table.iter().map(|x| f64::from(*x).powi(2)).sum();
    assert_eq!(encoder["norm"].as_f64(), Some(squares.sqrt()));
    let largest = table.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    assert_eq!(encoder["max"].as_f64(), Some(f64::from(largest)));

    // What is not a number is shown, and no failure.
    let last = run::last_of(&run).unwrap();
    let file = last.join("model.safetensors");
    change(&file, &folder.path().join("nan.safetensors"), |tensors| {
        let (_, _, data) = tensors.get_mut("decoder.bias").unwrap();
        data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        data[4..8].copy_from_slice(&f32::INFINITY.to_le_bytes());
    });
    succeeds(folder.path(), &["inspect", "nan.safetensors"]);
    let report = json("nan.safetensors");
    let bias = &report["tensors"][0];
    assert_eq!(
        (&bias["nan"], &bias["inf"]),
        (&Value::from(1), &Value::from(1))
    );

    // A bit, a file that is gone, a manifest that is none: named, in whatever checkpoint.
    let oldest = run::checkpoints(&run).unwrap().swap_remove(0);
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    let damaged = |path: &str, hint: &str| {
        let output = bptt(folder.path(), &["inspect", path]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(hint), "{text}");
        // What can be shown is shown all the same.
        assert!(String::from_utf8_lossy(&output.stdout).contains("decoder.weight"));
    };
    damaged(
        "run",
        "model.safetensors: damaged: its contents are not what was written",
    );
    damaged(last.to_str().unwrap(), "model.safetensors: damaged");
    succeeds(folder.path(), &["inspect", oldest.to_str().unwrap()]);
    let report = json("run");
    let files = report["files"].as_array().unwrap();
    assert_eq!(
        files.iter().filter(|f| f.get("problem").is_some()).count(),
        1
    );
    fs::remove_file(last.join("config.toml")).unwrap();
    damaged(last.to_str().unwrap(), "config.toml: ");
    fs::write(oldest.join("manifest.json"), "{}").unwrap();
    damaged("run", "manifest.json: missing field");
    fails(folder.path(), &["inspect", "no"], 1, "not a run");
    fails(folder.path(), &["inspect", "text.txt"], 1, "text.txt: ");
}

#[test]
fn plot_draws_runs_by_their_names() {
    let (folder, _) = trained();
    succeeds(
        folder.path(),
        &train(&["--emsize", "6", "--nhid", "10", "--out", "other/run"]),
    );
    succeeds(
        folder.path(),
        &train(&["--emsize", "6", "--nhid", "10", "--out", "third"]),
    );
    let svg = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap();
    succeeds(folder.path(), &["plot", "run", "third", "--out", "two.svg"]);
    let picture = svg("two.svg");
    for part in [
        "run",
        "third",
        "learning rate",
        "gradient norm",
        "tokens per second",
        "</svg>",
    ] {
        assert!(picture.contains(part), "{part}");
    }
    // Two runs of the same name are told apart by their folders.
    succeeds(folder.path(), &["plot", "run", "other/run"]);
    assert!(svg("plot.svg").contains("other/run"));
    let (text, _) = succeeds(folder.path(), &["plot", "run", "third", "--terminal"]);
    assert!(text.contains("a run: training, A validation"), "{text}");
    assert!(text.contains("b third: training, B validation"), "{text}");
    fails(
        folder.path(),
        &["plot", "no"],
        1,
        "cannot read no/metrics.jsonl",
    );
    let nowhere = ["plot", "run", "--out", "no/plot.svg"];
    fails(folder.path(), &nowhere, 1, "cannot write no/plot.svg");
    fails(
        folder.path(),
        &["plot"],
        2,
        "required arguments were not provided",
    );
}

#[test]
fn export_says_what_it_wrote_and_where_it_cannot() {
    let (folder, _) = trained();
    let (_, said) = succeeds(folder.path(), &["export", "run", "--onnx", "model.onnx"]);
    assert!(said.contains("written to model.onnx"), "{said}");
    let first = fs::read(folder.path().join("model.onnx")).unwrap();
    // The same bytes again, in the place of the first.
    succeeds(folder.path(), &["export", "run", "--onnx", "model.onnx"]);
    assert_eq!(fs::read(folder.path().join("model.onnx")).unwrap(), first);
    let nowhere = ["export", "run", "--onnx", "no/model.onnx"];
    fails(folder.path(), &nowhere, 1, "cannot write no/model.onnx");
    fails(
        folder.path(),
        &["export", "no", "--onnx", "x.onnx"],
        1,
        "not a run",
    );
}
