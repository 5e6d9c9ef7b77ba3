//! The command line as people meet it: a process, its exit code, its output, its files.

#[path = "common/command.rs"]
mod command;
#[path = "common/say.rs"]
mod say;
#[path = "common/skip.rs"]
mod skip;
#[path = "common/skips.rs"]
mod skips;
#[path = "common/timeless.rs"]
mod timeless;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use timeless::timeless;

/// A model so small that it trains in a moment.
const SMALL: &[&str] = &[
    "--emsize",
    "8",
    "--nhid",
    "16",
    "--batch-size",
    "4",
    "--bptt",
    "8",
    "--epochs",
    "1",
];

/// Runs `bptt` in `folder`.
fn bptt(folder: &Path, arguments: &[&str]) -> Output {
    command::bptt(folder, arguments)
        .output()
        .expect("the binary starts")
}

/// Trains a small model on the CPU.
fn train(folder: &Path, arguments: &[&str]) -> Output {
    let base = ["train", "--device", "cpu"];
    bptt(folder, &[&base, SMALL, arguments].concat())
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8 on stdout")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8 on stderr")
}

#[track_caller]
fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
}

/// The code, and one line that begins with "error: " and holds `hint`; nothing that looks like a
/// panic; and nothing left in `folder` that was not there.
#[track_caller]
fn fails(folder: &Path, arguments: &[&str], code: i32, hint: &str) {
    let before = listing(folder);
    let output = bptt(folder, arguments);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    let errors: Vec<_> = text.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{arguments:?}: {text}");
    assert!(text.contains(hint), "{arguments:?}: {text}");
    assert!(!text.contains("panicked"), "{arguments:?}: {text}");
    assert_eq!(
        listing(folder),
        before,
        "{arguments:?} left something behind"
    );
}

/// Every path below `folder`.
fn listing(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries {
        let path = entry.expect("an entry").path();
        found.push(path.display().to_string());
        found.extend(listing(&path));
    }
    found.sort();
    found
}

/// The newest checkpoint of a run.
fn last(run: &Path) -> PathBuf {
    let checkpoints = run.join("checkpoints");
    let name = fs::read_to_string(checkpoints.join("last")).expect("a last checkpoint");
    checkpoints.join(name)
}

/// The names of a run's checkpoints, the oldest first.
fn checkpoints_in(run: &Path) -> Vec<String> {
    let found = bptt::run::checkpoints(run).expect("a run");
    let names = found.iter().filter_map(|path| path.file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// The weights of a run's newest checkpoint.
fn weights(run: &Path) -> Vec<u8> {
    fs::read(last(run).join("model.safetensors")).expect("weights")
}

/// The log of a run, without the fields that a clock gives.
fn log(run: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).expect("a log");
    let event = |line| timeless(line).expect("an event");
    text.lines().map(event).collect()
}

/// A text of ten lines.
fn text_in(folder: &Path) -> String {
    let lines =
        (0..10).map(|i| format!("the {i} quick brown foxes jump over {} lazy dogs\n", 9 - i));
    let path = folder.join("text.txt");
    fs::write(&path, lines.collect::<String>()).expect("a text");
    path.display().to_string()
}

#[test]
fn training_leaves_a_run_that_generates() {
    let folder = tempfile::tempdir().unwrap();
    // A line of the log falls on the end of the epoch, after 1369 steps.
    let output = train(folder.path(), &["--log-interval", "37"]);
    succeeds(&output);
    let log = stderr(&output);
    for word in [
        "device: CPU",
        "step 1369/1369",
        "bits/char",
        "tokens/s",
        "left",
        "epoch 1/1",
        "validation",
    ] {
        assert!(log.contains(word), "{word} is missing in {log}");
    }
    assert!(stdout(&output).chars().count() > 300, "a sample");
    let run = folder.path().join("runs/keeper");
    for file in [
        "config.toml",
        "tokenizer.json",
        "metrics.jsonl",
        "summary.json",
        "loss.svg",
        "checkpoints/last",
        "checkpoints/best",
    ] {
        assert!(run.join(file).is_file(), "{file} is missing");
    }
    assert!(last(&run).join("model.safetensors").is_file());
    assert!(
        fs::read_to_string(run.join("loss.svg"))
            .unwrap()
            .contains("</svg>")
    );

    let generate = |more: &[&str]| {
        let base = [
            "generate",
            "runs/keeper",
            "--device",
            "cpu",
            "--length",
            "40",
        ];
        let output = bptt(folder.path(), &[&base, more].concat());
        succeeds(&output);
        stdout(&output)
    };
    let text = generate(&["--prompt", "The lamp "]);
    assert!(
        text.starts_with("The lamp ") && text.chars().count() == 9 + 40 + 1,
        "{text}"
    );
    assert_eq!(text, generate(&["--prompt", "The lamp "]));
    assert_ne!(text, generate(&["--prompt", "The lamp ", "--seed", "2"]));
    // The likeliest token alone leaves nothing to chance.
    let greedy = ["--top-k", "1"];
    assert_eq!(
        generate(&greedy),
        generate(&[&greedy[..], &["--seed", "2"]].concat())
    );
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_folder() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    for seed in ["7", "7", "8"] {
        succeeds(&train(folder.path(), &["--data", &text, "--seed", seed]));
    }
    let weights = |run: &str| weights(&folder.path().join(run));
    assert_eq!(weights("runs/text"), weights("runs/text-2"));
    assert_ne!(weights("runs/text"), weights("runs/text-3"));
}

#[test]
fn runs_at_the_same_time_take_folders_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    let spawn = |_| {
        let base = ["train", "--device", "cpu", "--data", &text];
        Command::new(env!("CARGO_BIN_EXE_bptt"))
            .args([&base, SMALL].concat())
            .current_dir(folder.path())
            .output()
    };
    let outputs = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3).map(|i| scope.spawn(move || spawn(i))).collect();
        runs.into_iter()
            .map(|run| run.join().unwrap().unwrap())
            .collect::<Vec<_>>()
    });
    outputs.iter().for_each(succeeds);
    for run in ["runs/text", "runs/text-2", "runs/text-3"] {
        assert!(!weights(&folder.path().join(run)).is_empty(), "{run}");
    }
}

#[test]
fn the_loss_of_an_epoch_does_not_depend_on_the_lines_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let loss = |interval: &str| {
        let out = format!("every-{interval}");
        let sizes = ["--batch-size", "1", "--bptt", "3", "--lr", "0.01"];
        let log = ["--log-interval", interval, "--out", &out];
        let base = [
            "train", "--device", "cpu", "--emsize", "2", "--nhid", "2", "--epochs", "1",
        ];
        succeeds(&bptt(folder.path(), &[&base[..], &sizes, &log].concat()));
        let metrics = fs::read_to_string(folder.path().join(out).join("metrics.jsonl")).unwrap();
        let last: serde_json::Value =
            serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
        last["loss"].as_f64().unwrap()
    };
    // A sum of 256 losses at f32 has a relative error of at most 256·2⁻²⁴.
    let (often, never) = (loss("7"), loss("100000000"));
    assert!((often - never).abs() < 1.6e-5 * often, "{often} {never}");
}

#[cfg(unix)]
#[test]
fn output_that_nobody_reads_any_more_is_no_error() {
    let bptt = env!("CARGO_BIN_EXE_bptt");
    let script = format!("'{bptt}' parity --device cpu | head -c 1");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let text = stderr(&output);
    assert!(
        !text.contains("error") && !text.contains("panicked"),
        "{text}"
    );
}

#[test]
fn words_are_trained_and_sampled_too() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    let output = train(
        folder.path(),
        &["--data", &text, "--level", "word", "--vocab-size", "12"],
    );
    succeeds(&output);
    let log = stderr(&output);
    assert!(log.contains("perplexity") && log.contains("<unk>"), "{log}");
    let output = bptt(
        folder.path(),
        &[
            "generate",
            "runs/text",
            "--device",
            "cpu",
            "--prompt",
            "the zebra",
        ],
    );
    succeeds(&output);
    assert!(stdout(&output).starts_with("the zebra "));
    assert!(stderr(&output).contains("1 of the prompt's words"));
}

#[test]
fn several_files_are_one_text_and_a_folder_has_parts() {
    let folder = tempfile::tempdir().unwrap();
    let line = "all work and no play makes jack a dull boy\n";
    fs::create_dir(folder.path().join("corpus")).unwrap();
    for part in ["train", "valid", "test"] {
        let path = format!("corpus/jack.{part}.txt");
        fs::write(folder.path().join(path), line.repeat(10)).unwrap();
    }
    let plan = |arguments: &[&str]| {
        let output = train(folder.path(), &[arguments, &["--dry-run"]].concat());
        succeeds(&output);
        stderr(&output)
    };
    let files = ["corpus/jack.valid.txt", "corpus/jack.train.txt"];
    let log = plan(&["--data", files[0], files[1]]);
    let found = "text:   corpus/jack.valid.txt and corpus/jack.train.txt: 860 characters";
    assert!(log.contains(found), "{log}");
    let log = plan(&["--data", "corpus"]);
    let found =
        "corpus/jack.train.txt; validation: corpus/jack.valid.txt; test: corpus/jack.test.txt";
    assert!(log.contains(found), "{log}");
    assert!(
        log.contains("430 characters to train on, 430 to validate on"),
        "{log}"
    );
    // The run has the name of the folder, and its settings say what the text was.
    succeeds(&train(folder.path(), &["--data", "corpus"]));
    let config = fs::read_to_string(folder.path().join("runs/corpus/config.toml")).unwrap();
    assert!(config.contains("data = \"corpus\"\n"), "{config}");
    succeeds(&train(&folder.path().join("corpus"), &["--data", "."]));
    assert!(folder.path().join("corpus/runs/corpus").is_dir());
}

#[test]
fn tokens_are_kept_for_the_next_run_and_refused_for_another_text() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    let arguments = ["--data", &text, "--token-cache", "tokens"];
    for _ in 0..2 {
        let output = train(folder.path(), &arguments);
        succeeds(&output);
        assert!(stderr(&output).contains("tokens are in tokens"));
    }
    succeeds(&train(folder.path(), &["--data", &text]));
    let weights = |run: &str| weights(&folder.path().join(run));
    assert_eq!(weights("runs/text"), weights("runs/text-2"));
    assert_eq!(weights("runs/text"), weights("runs/text-3"));
    // Ids in a file and in memory are the same text to a run that goes on.
    for run in ["runs/text", "runs/text-3"] {
        let resume = ["train", "--resume", run, "--epochs", "2", "--device", "cpu"];
        succeeds(&bptt(folder.path(), &resume));
    }
    assert_eq!(weights("runs/text"), weights("runs/text-3"));
    let words = [&["train", "--level", "word"][..], &arguments].concat();
    fails(
        folder.path(),
        &words,
        1,
        "--token-cache tokens was made from",
    );
    // A text is not taken for a cache, nor overwritten.
    let text = ["train", "--data", &text, "--token-cache", &text];
    fails(folder.path(), &text, 1, "is no file of token ids");
}

#[test]
fn a_run_goes_on_with_the_vocabulary_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    succeeds(&train(folder.path(), &["--data", &text, "--level", "word"]));
    let vocabulary = "runs/text/tokenizer.json";
    fs::write(folder.path().join("other.txt"), "the zebra \n".repeat(50)).unwrap();
    let output = train(
        folder.path(),
        &["--data", "other.txt", "--tokenizer", vocabulary],
    );
    succeeds(&output);
    let log = stderr(&output);
    assert!(
        log.contains("150 words to train on") && log.contains("50 and 0 of them"),
        "{log}"
    );
    let json = |run: &str| fs::read(folder.path().join(run).join("tokenizer.json")).unwrap();
    assert_eq!(json("runs/text"), json("runs/other"));

    succeeds(&train(
        folder.path(),
        &["--data", &text, "--out", "characters"],
    ));
    fs::write(folder.path().join("other.txt"), "the Zebra").unwrap();
    let arguments = [
        "train",
        "--data",
        "other.txt",
        "--tokenizer",
        "characters/tokenizer.json",
    ];
    fails(
        folder.path(),
        &arguments,
        1,
        "other.txt holds \"Z\" (byte 4)",
    );
}

/// The number that follows `words` in a text.
fn number_after(text: &str, words: &str) -> u64 {
    let (_, rest) = text.split_once(words).expect(words);
    let end = rest.find(|c: char| !c.is_ascii_digit()).expect("more");
    rest[..end].parse().expect("a number")
}

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = train(folder.path(), &["--dry-run"]);
    succeeds(&output);
    let plan = stderr(&output);
    for word in [
        "memory:",
        "weights",
        "parameters",
        "steps:",
        "MFLOP a token",
        "device: CPU (f32",
        "(asked for)",
    ] {
        assert!(plan.contains(word), "{word} is missing in {plan}");
    }
    // A step is an update.
    let four = train(folder.path(), &["--dry-run", "--accumulate", "4"]);
    let windows = number_after(&stderr(&four), "1 epochs of ");
    let steps = number_after(&stderr(&four), "steps:  ");
    assert_eq!(steps, windows.div_ceil(4));
    assert!(listing(folder.path()).is_empty());
}

/// As the run itself would: Wh is larger than what every GPU can bind at once.
#[test]
fn a_dry_run_refuses_what_does_not_fit() {
    if skips::gpu_is_skipped() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let large = ["train", "--dry-run", "--nhid", "8000"];
    let place = ["--device", "gpu", "--limits", "default"];
    let arguments = [&large[..], &place].concat();
    fails(folder.path(), &arguments, 1, "--nhid");
}

#[test]
fn settings_that_cannot_be_used_are_usage_errors() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, hint) in [
        (["--batch-size", "0"], "batch-size = 0"),
        (["--bptt", "0"], "bptt = 0"),
        (["--nhid", "0"], "nhid = 0"),
        (["--emsize", "99999999"], "1 to 65536"),
        (["--nhid", "18446744073709551616"], "--nhid"),
        (["--lr", "-1"], "lr = -1"),
        (["--lr", "nan"], "lr = NaN"),
        (["--epochs", "0"], "epochs = 0"),
        (["--device", "tpu"], "cpu, gpu, gpu:N or gpu:NAME"),
        (["--level", "letter"], "char, word"),
        (["--valid-fraction", "1.5"], "valid-fraction = 1.5"),
        (["--no-such-flag", "1"], "--no-such-flag"),
    ] {
        fails(
            folder.path(),
            &[&["train"][..], &arguments].concat(),
            2,
            hint,
        );
    }
    fails(folder.path(), &["generate"], 2, "<RUN>");
}

#[test]
fn texts_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let empty = write("empty", b"");
    let blank = write("blank", b" \n\n");
    let short = write("short", b"too short");
    let latin1 = write("latin1", b"caf\xe9");
    let missing = folder.path().join("missing").display().to_string();
    let this = folder.path().display().to_string();
    for (data, hint) in [
        (missing.as_str(), "cannot read"),
        (&empty, "is empty"),
        (&blank, "is empty"),
        (&short, "has 9 tokens, fewer than the"),
        (&latin1, "not UTF-8 text (byte 3)"),
        (&this, "has no *.txt"),
    ] {
        fails(
            folder.path(),
            &["train", "--device", "cpu", "--data", data],
            1,
            hint,
        );
    }
    let valid = ["train", "--device", "cpu", "--valid", &this];
    fails(folder.path(), &valid, 1, "is a directory");
    let twice = ["train", "--device", "cpu", "--data", &short, &short];
    fails(folder.path(), &twice, 2, "give each file once");
    // A validation part of less than a window.
    let valid = ["train", "--device", "cpu", "--valid", &short];
    fails(folder.path(), &valid, 1, "the validation text has 9 tokens");
}

#[test]
fn a_model_that_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    // Three tensors of N·T·H elements: more than a tebibyte.
    let text = folder.path().join("long");
    fs::write(&text, "long text ".repeat(400_000)).unwrap();
    let text = text.display().to_string();
    let sizes = ["--nhid", "65536", "--batch-size", "1000", "--bptt", "3000"];
    let arguments = [&["train", "--device", "cpu", "--data", &text], &sizes[..]].concat();
    fails(folder.path(), &arguments, 1, "MiB");
}

#[test]
fn a_device_that_is_not_there_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    for device in ["gpu:99", "gpu:no-such-gpu"] {
        let hint = format!("no GPU matches --device {device}");
        fails(folder.path(), &["train", "--device", device], 1, &hint);
    }
}

#[test]
fn output_that_cannot_be_written_stops_before_training() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    fs::create_dir(folder.path().join("there")).unwrap();
    for (out, hint) in [
        ("file/run", "choose another folder with --out"),
        ("there", "exists already"),
        ("/proc/no/run", "choose another folder with --out"),
    ] {
        fails(
            folder.path(),
            &["train", "--device", "cpu", "--out", out],
            1,
            hint,
        );
    }
}

#[test]
fn a_run_that_is_not_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fails(
        folder.path(),
        &["generate", "nothing"],
        1,
        "nothing: not a run",
    );
    succeeds(&train(folder.path(), &["--out", "run"]));
    let unknown = ["generate", "run", "--device", "cpu", "--prompt", "漢"];
    fails(
        folder.path(),
        &unknown,
        1,
        "which is not in the model's vocabulary",
    );
    let cold = ["generate", "run", "--device", "cpu", "--temperature", "-1"];
    fails(folder.path(), &cold, 2, "temperature = -1");
    let coldest = [
        "generate",
        "run",
        "--device",
        "cpu",
        "--temperature",
        "1e-39",
    ];
    fails(folder.path(), &coldest, 2, "temperature = ");
    let weights = last(&folder.path().join("run")).join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() - 1]).unwrap();
    fails(
        folder.path(),
        &["generate", "run", "--device", "cpu"],
        1,
        "model.safetensors",
    );
}

#[test]
fn an_exploding_loss_is_reported_and_the_last_good_checkpoint_kept() {
    let folder = tempfile::tempdir().unwrap();
    let hot = ["--lr", "1e30", "--clip", "0", "--out", "run"];
    let output = train(folder.path(), &hot);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    for words in ["lower --lr or set --clip", "--resume run"] {
        assert!(text.contains(words), "{text}");
    }
    assert!(!text.contains("norm 0.000e0"), "{text}");
    let summary = fs::read_to_string(folder.path().join("run/summary.json")).unwrap();
    assert!(summary.contains("diverged"), "{summary}");
    let cold = ["train", "--device", "cpu", "--resume", "run", "--lr", "0.5"];
    succeeds(&bptt(
        folder.path(),
        &[&cold[..], &["--clip", "2"]].concat(),
    ));
}

/// What a run keeps is good, also where it is saved more often than the loss is looked at.
#[test]
fn an_exploded_model_is_not_kept_as_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    let base = ["train", "--device", "cpu", "--data", &text, "--lr", "1e6"];
    let sizes = ["--nhid", "16", "--batch-size", "2", "--bptt", "5"];
    let saves = ["--log-interval", "40", "--save-interval", "1", "--keep"];
    let stop = ["99", "--out", "stop"];
    let output = bptt(folder.path(), &[&base[..], &sizes, &saves, &stop].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let kept = checkpoints_in(&folder.path().join("stop"));
    assert!(!kept.is_empty() && kept.len() < 40, "{kept:?}");
    for checkpoint in kept {
        let checkpoint = format!("stop/checkpoints/{checkpoint}");
        let eval = ["eval", &checkpoint, "--data", &text, "--json"];
        let output = bptt(folder.path(), &[&eval[..], &["--device", "cpu"]].concat());
        succeeds(&output);
        let score: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        let loss = score["loss"].as_f64().unwrap();
        assert!(loss < 1e4, "{checkpoint}: {loss}");
    }
    let go_on = ["1", "--on-nan", "rollback", "--epochs", "2", "--out", "on"];
    succeeds(&bptt(
        folder.path(),
        &[&base[..], &sizes, &saves, &go_on].concat(),
    ));
}

#[test]
fn a_validation_loss_that_explodes_is_reported_and_not_logged() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    let data = ["--data", &text, "--valid-fraction", "0.3", "--out", "run"];
    let hot = ["--lr", "1e37", "--clip", "0", "--eval-interval", "1"];
    let output = train(folder.path(), &[&data[..], &hot].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("training diverged"));
    let run = folder.path().join("run");
    let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert!(!log.contains("null"), "{log}");
    assert!(run.join("summary.json").exists() && run.join("loss.svg").exists());
    let cold = ["train", "--device", "cpu", "--resume", "run", "--lr", "0.5"];
    succeeds(&bptt(
        folder.path(),
        &[&cold[..], &["--clip", "2"]].concat(),
    ));
}

#[test]
fn devices_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let output = bptt(folder.path(), &["devices"]);
    succeeds(&output);
    assert!(stdout(&output).starts_with("cpu    CPU"));
}

#[test]
fn parity_of_the_cpu_path_passes_and_reports_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let output = bptt(folder.path(), &["parity", "--device", "cpu", "--json"]);
    succeeds(&output);
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let ops = report["ops"].as_array().expect("a list of ops");
    assert!(ops.len() >= 16 && ops.iter().all(|op| op["failed"] == 0));
}

/// Sends a signal to a process, twice at once, as `timeout` does. A process that is gone takes none.
#[cfg(unix)]
fn send(signal: &str, process: u32) {
    let kill = format!("kill -{signal} {process} {process}");
    let sent = Command::new("sh").args(["-c", &kill]).output();
    sent.expect("a shell");
}

/// Trains, and sends each signal after a line that begins so, a second one again and again; the exit code
/// and what was said then.
#[cfg(unix)]
fn interrupted(
    folder: &Path,
    arguments: &[&str],
    signals: &[(&str, &str)],
) -> (Option<i32>, Vec<String>) {
    use std::io::{BufRead, BufReader};
    let mut child = Command::new(env!("CARGO_BIN_EXE_bptt"))
        .args(arguments)
        .current_dir(folder)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut log = BufReader::new(child.stderr.take().expect("stderr")).lines();
    for (begin, signal) in signals {
        let found = log.find(|line| line.as_ref().is_ok_and(|l| l.starts_with(begin)));
        assert!(found.is_some(), "no line begins with {begin}");
        send(signal, child.id());
    }
    // What comes right after the first is not the second.
    if let [_, .., (_, second)] = signals {
        while child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(50));
            send(second, child.id());
        }
    }
    let rest: Vec<String> = log.map_while(Result::ok).collect();
    (child.wait().unwrap().code(), rest)
}

#[cfg(unix)]
#[test]
fn interrupted_and_killed_runs_go_on_to_the_same_end_on_the_cpu() {
    go_on_to_the_same_end("cpu");
}

#[cfg(unix)]
#[test]
fn interrupted_and_killed_runs_go_on_to_the_same_end_on_the_gpu() {
    if !skips::gpu_is_skipped() {
        go_on_to_the_same_end("gpu");
    }
}

#[cfg(unix)]
fn go_on_to_the_same_end(device: &str) {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    let base = [
        "train",
        "--device",
        device,
        "--data",
        &text,
        "--valid-fraction",
        "0.2",
    ];
    let sizes = [
        "--nhid",
        "16",
        "--batch-size",
        "2",
        "--bptt",
        "5",
        "--epochs",
        "12",
    ];
    let logging = [
        "--log-interval",
        "7",
        "--save-interval",
        "25",
        "--eval-interval",
        "40",
    ];
    let flags = [&base[..], &sizes, &logging].concat();
    succeeds(&bptt(
        folder.path(),
        &[&flags[..], &["--out", "whole"]].concat(),
    ));
    let whole = folder.path().join("whole");

    for (signal, code) in [("INT", Some(130)), ("TERM", Some(143)), ("KILL", None)] {
        let out = ["--out", signal];
        let flags = [&flags[..], &out].concat();
        let (found, rest) = interrupted(folder.path(), &flags, &[("step ", signal)]);
        assert_eq!(found, code, "{rest:?}");
        if code.is_some() {
            let hint = format!("bptt train --resume {signal}");
            assert!(rest.iter().any(|line| line.contains(&hint)), "{rest:?}");
            let generate = ["generate", signal, "--device", device, "--length", "5"];
            succeeds(&bptt(folder.path(), &generate));
        }
        let run = folder.path().join(signal);
        fs::write(run.join("checkpoints/.bptt-half"), "").unwrap();
        succeeds(&bptt(folder.path(), &["train", "--resume", signal]));
        assert_eq!(weights(&run), weights(&whole), "{signal}");
        assert_eq!(log(&run), log(&whole), "{signal}");
        assert_eq!(names_in(&run), names_in(&whole), "{signal}");
    }

    // From a checkpoint in the middle, too.
    let middle = names_in(&whole.join("checkpoints"));
    let middle = middle
        .iter()
        .find(|name| name.starts_with("step-"))
        .unwrap();
    let (before, events) = (weights(&whole), log(&whole));
    let path = whole.join("checkpoints").join(middle).display().to_string();
    succeeds(&bptt(folder.path(), &["train", "--resume", &path]));
    assert_eq!((weights(&whole), log(&whole)), (before, events));
}

/// The first signal stops training, after which it is validated, here on a text that takes long; the
/// second ends the process at once, and nothing that was saved is lost.
#[cfg(unix)]
#[test]
fn a_second_signal_ends_the_process_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    let long = fs::read_to_string(&text).unwrap().repeat(10_000);
    fs::write(folder.path().join("long.txt"), long).unwrap();
    for device in ["cpu", "gpu"] {
        if device == "gpu" && skips::gpu_is_skipped() {
            continue;
        }
        let base = ["train", "--data", &text, "--valid", "long.txt"];
        let sizes = ["--nhid", "64", "--batch-size", "2", "--bptt", "5"];
        let rest = ["--log-interval", "7", "--device", device, "--out", device];
        let signals = [("step ", "INT"), ("interrupted after step ", "INT")];
        let flags = [&base[..], &sizes, &rest].concat();
        let (code, rest) = interrupted(folder.path(), &flags, &signals);
        assert_eq!((code, rest.len()), (Some(130), 0), "{device}: {rest:?}");
        let run = folder.path().join(device);
        assert!(!run.join("summary.json").exists(), "{device}");
        assert!(!last(&run).ends_with("step-000000000-epoch-00000"));
        let generate = ["generate", device, "--device", "cpu", "--length", "5"];
        succeeds(&bptt(folder.path(), &generate));
    }
}

#[test]
fn a_run_that_is_finished_says_so_and_how_to_train_longer() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    let flags = ["--data", &text, "--valid-fraction", "0.2", "--out", "run"];
    let whole = train(folder.path(), &flags);
    succeeds(&whole);
    let run = folder.path().join("run");
    let resume = |more: &[&str]| {
        bptt(
            folder.path(),
            &[&["train", "--resume", "run"], more].concat(),
        )
    };
    let before = (listing(&run), weights(&run), log(&run));
    for more in [&[][..], &["--epochs", "1"]] {
        let output = resume(more);
        succeeds(&output);
        let said = stderr(&output);
        let hint = "run: nothing is left to do, all 1 epochs are done; to train longer: \
            bptt train --resume run --epochs 2";
        assert!(said.contains(hint), "{said}");
        assert_eq!(stdout(&output), "");
        assert_eq!((listing(&run), weights(&run), log(&run)), before);
    }
    // Killed in its last moment, it has its summary and its sample still to write.
    let summary = || -> serde_json::Value {
        let json = fs::read(run.join("summary.json")).unwrap();
        let mut summary: serde_json::Value = serde_json::from_slice(&json).unwrap();
        summary["seconds"].take();
        summary
    };
    let said = summary();
    fs::remove_file(run.join("summary.json")).unwrap();
    let output = resume(&[]);
    succeeds(&output);
    assert_eq!(stdout(&output), stdout(&whole));
    assert_eq!(summary(), said);
    let output = resume(&["--epochs", "2"]);
    succeeds(&output);
    assert!(!stderr(&output).contains("nothing is left") && !stdout(&output).is_empty());

    // At a rate of next to nothing the first validation is the best.
    let early = [
        "--valid-fraction",
        "0.3",
        "--lr",
        "1e-30",
        "--early-stop",
        "1",
        "--out",
        "early",
    ];
    let base = ["train", "--device", "cpu", "--data", &text];
    let sizes = [&SMALL[..SMALL.len() - 2], &["--epochs", "9"]].concat();
    let stops = |arguments: &[&str]| {
        let output = bptt(folder.path(), arguments);
        succeeds(&output);
        stderr(&output)
    };
    assert!(stops(&[&base[..], &sizes, &early].concat()).contains("stopped early"));
    let said = stops(&["train", "--resume", "early"]);
    assert!(
        said.contains("it stopped early") && said.contains("--early-stop 2"),
        "{said}"
    );
}

/// The names of what is in a folder, and in its checkpoints, but for TensorBoard's files: a run that
/// goes on begins another.
fn names_in(folder: &Path) -> Vec<String> {
    let name = |path: String| {
        Some(
            Path::new(&path)
                .strip_prefix(folder)
                .ok()?
                .display()
                .to_string(),
        )
    };
    let names = listing(folder).into_iter().filter_map(name);
    names
        .filter(|name| !name.starts_with("events.out"))
        .collect()
}

#[test]
fn a_run_goes_on_only_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    succeeds(&train(folder.path(), &["--data", &text, "--out", "run"]));
    let resume = |more: &[&'static str]| [&["train", "--resume", "run"][..], more].concat();
    fails(folder.path(), &resume(&["--nhid", "17"]), 2, "nhid = 17");
    let windows = resume(&["--accumulate", "4"]);
    fails(folder.path(), &windows, 2, "accumulate = 4");
    fails(
        folder.path(),
        &resume(&["--out", "other"]),
        2,
        "in its own folder",
    );
    fails(
        folder.path(),
        &resume(&["--data", "README"]),
        1,
        "cannot read README",
    );
    fs::write(folder.path().join("other.txt"), "other text\n".repeat(40)).unwrap();
    let other = resume(&["--data", "other.txt"]);
    fails(folder.path(), &other, 1, "the text is not the one");
    fails(
        folder.path(),
        &["train", "--resume", "none"],
        1,
        "not a run",
    );
    // More epochs are what a run goes on for; its log goes on, too.
    let more = resume(&["--epochs", "2"]);
    succeeds(&bptt(folder.path(), &more));
    let twice = ["--data", &text, "--out", "twice", "--epochs", "2"];
    let base = ["train", "--device", "cpu"];
    let sizes = &SMALL[..SMALL.len() - 2];
    succeeds(&bptt(folder.path(), &[&base, sizes, &twice].concat()));
    let (run, twice) = (folder.path().join("run"), folder.path().join("twice"));
    assert_eq!((weights(&run), log(&run)), (weights(&twice), log(&twice)));
    // The settings are those that it goes on with.
    let settings = fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(settings.contains("epochs = 2\n"), "{settings}");
    // The settings of the one make the other.
    let config = ["train", "--config", "run/config.toml", "--epochs", "2"];
    let out = ["--device", "cpu", "--out", "again"];
    succeeds(&bptt(folder.path(), &[&config[..], &out].concat()));
    assert_eq!(weights(&folder.path().join("again")), weights(&run));
}

#[test]
fn every_number_that_a_setting_can_have_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    let most = u64::MAX.to_string();
    let mut flags = vec!["--data", &text, "--valid-fraction", "0.2", "--out", "run"];
    flags.extend(["--lr-schedule", "step"]);
    for flag in [
        "--seed",
        "--warmup",
        "--keep",
        "--log-interval",
        "--eval-interval",
        "--save-interval",
        "--early-stop",
        "--lr-decay-after",
    ] {
        flags.extend([flag, &most]);
    }
    succeeds(&train(folder.path(), &flags));
    let resume = ["train", "--resume", "run", "--epochs", "2"];
    succeeds(&bptt(folder.path(), &resume));
    let again = ["train", "--config", "run/config.toml", "--out", "again"];
    succeeds(&bptt(folder.path(), &again));
    let (run, again) = (folder.path().join("run"), folder.path().join("again"));
    assert_eq!(weights(&run), weights(&again));
}

#[test]
fn what_the_schedule_would_not_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    let flags = [
        "train",
        "--device",
        "cpu",
        "--data",
        &text,
        "--valid-fraction",
        "0.2",
    ];
    let whole = [&flags, SMALL].concat();
    let with = |more: &[&'static str]| [&whole[..], more].concat();
    let of_both = "lr-decay = 0.1 cannot be used: only with --lr-schedule step or plateau";
    let of_step = "lr-decay-after = 7 cannot be used: only with --lr-schedule step";
    let (decay, after) = (["--lr-decay", "0.1"], ["--lr-decay-after", "7"]);
    for (schedule, given, hint) in [
        ("constant", decay, of_both),
        ("cosine", decay, of_both),
        ("plateau", after, of_step),
    ] {
        let arguments = [&whole[..], &["--lr-schedule", schedule], &given].concat();
        fails(folder.path(), &arguments, 2, hint);
    }
    let plateau = with(&["--lr-schedule", "plateau", "--out", "plateau"]);
    succeeds(&bptt(folder.path(), &[&plateau[..], &decay].concat()));
    let step = with(&["--lr-schedule", "step", "--out", "step"]);
    succeeds(&bptt(folder.path(), &[&step[..], &decay, &after].concat()));
    // A file of settings has them whatever the schedule: that is no mistake of anyone's.
    let settings = fs::read_to_string(folder.path().join("step/config.toml")).unwrap();
    let settings = settings.replace("lr_schedule = \"step\"", "lr_schedule = \"constant\"");
    fs::write(folder.path().join("constant.toml"), settings).unwrap();
    let constant = ["train", "--config", "constant.toml", "--out", "constant"];
    fails(folder.path(), &[&constant[..], &decay].concat(), 2, of_both);
    succeeds(&bptt(folder.path(), &constant));
    let resume = ["train", "--resume", "constant", "--epochs", "2"];
    fails(folder.path(), &[&resume[..], &decay].concat(), 2, of_both);
    succeeds(&bptt(folder.path(), &resume));
}

#[test]
fn the_settings_of_a_run_are_whole_and_another_choice_brings_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    let settings = |run: &str| {
        let toml = fs::read_to_string(folder.path().join(run).join("config.toml")).unwrap();
        toml::from_str::<toml::Table>(&toml).unwrap()
    };
    let adamw = ["--data", &text, "--optimizer", "adamw", "--out", "adamw"];
    succeeds(&train(folder.path(), &adamw));
    let found = settings("adamw");
    for (name, value) in [
        ("lr", 0.002),
        ("beta1", 0.9),
        ("beta2", 0.999),
        ("eps", 1e-8),
        ("weight_decay", 0.01),
    ] {
        assert_eq!(found[name].as_float(), Some(value), "{name}");
    }
    let other = ["--config", "adamw/config.toml", "--optimizer", "momentum"];
    let base = [&["train", "--device", "cpu"][..], &other].concat();
    succeeds(&bptt(
        folder.path(),
        &[&base[..], &["--out", "momentum"]].concat(),
    ));
    let found = settings("momentum");
    assert_eq!(found["lr"].as_float(), Some(0.05));
    assert_eq!(found["momentum"].as_float(), Some(0.9));
    assert!(!found.contains_key("beta1"));
    // What is asked for is what is done.
    succeeds(&bptt(
        folder.path(),
        &[&base[..], &["--lr", "0.1", "--out", "asked"]].concat(),
    ));
    assert_eq!(settings("asked")["lr"].as_float(), Some(0.1));
}

/// A checkpoint that is not what it says does not make a run lose the others.
#[test]
fn a_run_with_a_renamed_checkpoint_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    let saves = ["--save-interval", "3", "--keep", "99", "--out", "run"];
    let data = ["--data", text.as_str()];
    succeeds(&train(folder.path(), &[&data[..], &saves].concat()));
    let checkpoints = folder.path().join("run/checkpoints");
    let first = &checkpoints_in(&folder.path().join("run"))[0];
    fs::rename(checkpoints.join(first), checkpoints.join("kept")).unwrap();
    let hint = "which is not there";
    let resume = ["train", "--resume", "run/checkpoints/kept"];
    fails(folder.path(), &resume, 1, hint);
    fs::rename(checkpoints.join("kept"), checkpoints.join(first)).unwrap();
    let earlier = format!("run/checkpoints/{first}");
    let output = bptt(folder.path(), &["train", "--resume", &earlier]);
    succeeds(&output);
    assert!(stderr(&output).contains("checkpoints of later steps, removed: "));
}

#[cfg(unix)]
#[test]
fn only_one_process_trains_a_run() {
    let folder = tempfile::tempdir().unwrap();
    succeeds(&train(folder.path(), &["--out", "run"]));
    let lock = fs::File::open(folder.path().join("run/lock")).unwrap();
    lock.lock().unwrap();
    let hint = "another process is training this run";
    fails(folder.path(), &["train", "--resume", "run"], 1, hint);
}

#[test]
fn stderr_is_as_quiet_or_as_machine_readable_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    let quiet = train(folder.path(), &["--data", &text, "--quiet"]);
    succeeds(&quiet);
    assert_eq!(stderr(&quiet), "");
    let verbose = train(folder.path(), &["--data", &text, "--verbose"]);
    succeeds(&verbose);
    assert!(stderr(&verbose).contains("saved runs/text-2/checkpoints/step-"));

    let json = [
        "--data",
        &text,
        "--log-format",
        "json",
        "--log-interval",
        "2",
    ];
    let json = train(folder.path(), &json);
    succeeds(&json);
    let lines = stderr(&json);
    let events: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    for kind in ["note", "steps", "epoch"] {
        assert!(events.iter().any(|event| event["event"] == kind), "{lines}");
    }
    // What is logged inside is JSON, too.
    let log = ["--data", &text, "--log-format", "json", "--verbose"];
    let log = train(folder.path(), &log);
    succeeds(&log);
    let lines = stderr(&log);
    let mut events = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect(line));
    let inside = |event: serde_json::Value| event["event"] == "log" && event["level"] == "DEBUG";
    assert!(events.any(inside), "{lines}");
    let wrong = ["generate", "none", "--log-format", "json"];
    let wrong = bptt(folder.path(), &wrong);
    let error: serde_json::Value = serde_json::from_str(&stderr(&wrong)).expect("JSON");
    assert_eq!(error["event"], "error");
}

#[test]
fn completions_and_manual_pages_are_made() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = bptt(folder.path(), &["completions", shell]);
        succeeds(&output);
        assert!(stdout(&output).contains("lr-schedule"), "{shell}");
    }
    succeeds(&bptt(folder.path(), &["man", "man1"]));
    let page = fs::read_to_string(folder.path().join("man1/bptt-train.1")).unwrap();
    assert!(page.contains("Learning rate"), "{page}");
}

#[test]
fn generation_streams_or_gathers_and_reads_prompts_from_files() {
    let folder = tempfile::tempdir().unwrap();
    succeeds(&train(folder.path(), &["--out", "run"]));
    let base = ["generate", "run", "--device", "cpu", "--length", "30"];
    let generate = |more: &[&str]| bptt(folder.path(), &[&base, more].concat());
    let text = |more: &[&str]| {
        let output = generate(more);
        succeeds(&output);
        stdout(&output)
    };
    let one = text(&["--prompt", "Lorem "]);
    fs::write(folder.path().join("prompt"), "Lorem ").unwrap();
    assert_eq!(text(&["--prompt-file", "prompt"]), one);
    let stdin = fs::File::open(folder.path().join("prompt")).unwrap();
    let read = Command::new(env!("CARGO_BIN_EXE_bptt"))
        .args([&base[..], &["--prompt-file", "-"]].concat())
        .current_dir(folder.path())
        .stdin(stdin)
        .output()
        .unwrap();
    assert_eq!(stdout(&read), one);

    // Several at once are told apart, begin alike, and are the same each time.
    let samples = ["--prompt", "Lorem ", "--samples", "3"];
    let three = text(&samples);
    let texts: Vec<&str> = three.split("\n---\n").collect();
    assert!(
        texts.len() == 3 && texts.iter().all(|t| t.starts_with("Lorem ")),
        "{three}"
    );
    assert!(texts[0] != texts[1] && texts[1] != texts[2], "{three}");
    assert_eq!(text(&samples), three);
    let lines = text(&[&samples[..], &["--json"]].concat());
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(
            (&line["sample"], &line["prompt"]),
            (&number.into(), &"Lorem ".into())
        );
        assert_eq!(line["text"].as_str().unwrap().chars().count(), 30);
    }

    // The likeliest token leaves nothing to chance, by whatever means.
    let likeliest = text(&["--temperature", "0"]);
    for same in [
        &["--temperature", "0", "--seed", "2"][..],
        &["--top-k", "1", "--seed", "3"],
        &["--top-p", "1e-6", "--seed", "4"],
    ] {
        assert_eq!(text(same), likeliest, "{same:?}");
    }
    let output = generate(&["--prompt", "Lo漢rem ", "--unknown", "skip"]);
    succeeds(&output);
    assert!(stderr(&output).contains("left out: 1 of the prompt's characters"));
    let fails = |more: &[&'static str], code, hint| {
        fails(folder.path(), &[&base, more].concat(), code, hint);
    };
    fails(&["--prompt", "Lo漢"], 1, "\"漢\" as character 3");
    for samples in ["0", "65537", "18446744073709551615"] {
        fails(&["--samples", samples], 2, "is not in 1..=65536");
    }
    fails(&["--top-p", "0"], 2, "top-p = 0");
    fails(&["--prompt-file", "missing"], 1, "cannot read missing");
    fails(&["--prompt-file", "prompt", "--prompt", "x"], 2, "--prompt");
}

#[test]
fn the_sample_at_the_end_of_training_is_what_generate_prints() {
    let folder = tempfile::tempdir().unwrap();
    // Without a validation part, the last checkpoint is the model.
    let text = text_in(folder.path());
    let output = train(
        folder.path(),
        &["--data", &text, "--seed", "9", "--out", "run"],
    );
    succeeds(&output);
    let again = [
        "generate", "run", "--device", "cpu", "--seed", "9", "--length", "400",
    ];
    assert_eq!(stdout(&bptt(folder.path(), &again)), stdout(&output));
}

#[test]
fn evaluation_prints_loss_and_surprisals() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    succeeds(&train(folder.path(), &["--out", "run"]));
    let base = ["eval", "run", "--device", "cpu"];
    let eval = |more: &[&str]| {
        let output = bptt(folder.path(), &[&base, more].concat());
        succeeds(&output);
        output
    };
    let json = |more: &[&str]| -> serde_json::Value {
        let text = stdout(&eval(&[more, &["--json"]].concat()));
        serde_json::from_str(&text).expect("JSON")
    };
    // The run's own validation text; all of it.
    let own = json(&[]);
    let named = stderr(&eval(&[]));
    assert!(named.contains("text:   the validation part of "), "{named}");
    let number = |value: &serde_json::Value| value.as_f64().expect("a number");
    let loss = number(&own["loss"]);
    assert_eq!(
        (&own["tokens"], &own["characters"]),
        (&4867.into(), &4867.into())
    );
    assert!((number(&own["perplexity"]) / loss.exp() - 1.0).abs() < 1e-9);
    assert!((number(&own["bits_per_character"]) * 2f64.ln() - loss).abs() < 1e-9);
    // Training measures whole windows of four streams only.
    let summary = fs::read_to_string(path("run/summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert!(
        (number(&summary["valid_loss"]) - loss).abs() < 0.02,
        "{summary} {loss}"
    );
    assert!(stdout(&eval(&[])).contains("4867 characters: loss "));

    fs::write(path("text"), "Lorem ipsum dolor").unwrap();
    let lines = |text: &str| -> Vec<serde_json::Value> {
        let line = |line| serde_json::from_str(line).expect("JSON");
        text.lines().map(line).collect()
    };
    let printed = eval(&["--data", "text", "--surprisal", "-"]);
    assert!(stderr(&printed).contains("17 characters: loss "));
    let tokens = lines(&stdout(&printed));
    assert_eq!((tokens.len(), &tokens[4]["token"]), (17, &"m".into()));
    assert_eq!(tokens[16]["position"], 16);
    let mean = tokens.iter().map(|t| number(&t["nats"])).sum::<f64>() / 17.0;
    let report = json(&["--data", "text", "--surprisal", "file"]);
    assert!((mean - number(&report["loss"])).abs() < 1e-6);
    assert_eq!(lines(&fs::read_to_string(path("file")).unwrap()), tokens);
    let dynamic = json(&["--dynamic", "--dynamic-lr", "0", "--data", "text"]);
    assert!((number(&dynamic["loss"]) - mean).abs() < 1e-5);

    fs::write(path("foreign"), "Lorem 漢 ipsum").unwrap();
    let foreign = ["--data", "foreign"];
    fails(
        folder.path(),
        &[&base[..], &foreign].concat(),
        1,
        "foreign holds \"漢\" (byte 6)",
    );
    let skipped = json(&[&foreign[..], &["--unknown", "skip"]].concat());
    assert_eq!(
        (&skipped["skipped"], &skipped["tokens"]),
        (&1.into(), &12.into())
    );
    fs::write(path("empty"), "").unwrap();
    for (more, code, hint) in [
        (&["--data", "empty"][..], 1, "is empty"),
        (&["--data", "missing"], 1, "cannot read missing"),
        (&["--batch-size", "0"], 2, "batch-size = 0"),
        (&["--bptt", "0"], 2, "bptt = 0"),
        (&["--dynamic", "--dynamic-lr", "-1"], 2, "dynamic-lr = -1"),
        (&["--dynamic", "--batch-size", "2"], 2, "1 with --dynamic"),
        (&["--dynamic-lr", "1"], 2, "--dynamic"),
        (&["--dynamic-decay", "0.1"], 2, "--dynamic"),
        (
            &["--dynamic", "--dynamic-decay", "2"],
            2,
            "dynamic-decay = 2",
        ),
        (&["--surprisal", "none/file"], 1, "cannot write none/file"),
    ] {
        fails(folder.path(), &[&base[..], more].concat(), code, hint);
    }
}

#[test]
fn a_text_that_has_changed_since_is_evaluated_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    let data = ["--data", &text, "--valid-fraction", "0.5", "--out", "run"];
    succeeds(&train(folder.path(), &data));
    let warned = || {
        let output = bptt(folder.path(), &["eval", "run", "--device", "cpu"]);
        succeeds(&output);
        stderr(&output).contains("warning: the text is another than")
    };
    assert!(!warned());
    let before = fs::read_to_string(&text).unwrap();
    let (begin, end) = before.split_at(before.len() - 10);
    fs::write(&text, [begin, &end.replace("lazy", "yzal")].concat()).unwrap();
    assert_ne!(fs::read_to_string(&text).unwrap(), before);
    assert!(warned());
}

#[test]
fn words_are_evaluated_with_and_without_unknown_ones() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    let words = [
        "--data",
        &text,
        "--level",
        "word",
        "--vocab-size",
        "12",
        "--out",
        "run",
    ];
    succeeds(&train(folder.path(), &words));
    let base = ["eval", "run", "--device", "cpu"];
    fails(folder.path(), &base, 2, "data = none");
    let output = bptt(
        folder.path(),
        &[&base[..], &["--data", &text, "--json"]].concat(),
    );
    succeeds(&output);
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let number = |field: &str| report[field].as_f64().expect("a number");
    // Ten lines of ten words and a line's end, of 11 kinds beside the digits.
    assert_eq!(number("tokens"), 110.0);
    assert!(number("unknown") > 0.0 && number("perplexity_without_unknown") > 1.0);
    let bits = number("loss") * 110.0 / 2f64.ln() / number("characters");
    assert!((number("bits_per_character") - bits).abs() < 1e-9);
    assert!(stderr(&output).contains("of the text's words"));
}

#[test]
fn training_goes_on_at_half_the_rate_when_the_loss_explodes() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    let hot = [
        "--data", &text, "--lr", "1e6", "--clip", "0", "--epochs", "1",
    ];
    let base = [
        "train",
        "--device",
        "cpu",
        "--nhid",
        "16",
        "--batch-size",
        "2",
    ];
    let rest = [
        "--bptt",
        "5",
        "--log-interval",
        "3",
        "--on-nan",
        "rollback",
        "--out",
    ];
    for out in ["run", "again"] {
        let output = bptt(folder.path(), &[&base[..], &hot, &rest, &[out]].concat());
        succeeds(&output);
        assert!(stderr(&output).contains("back to step 0, at 0.5 of"));
    }
    let (run, again) = (folder.path().join("run"), folder.path().join("again"));
    let rollbacks = log(&run).into_iter().filter(|e| e["event"] == "rollback");
    assert!(rollbacks.count() > 3);
    assert_eq!((weights(&run), log(&run)), (weights(&again), log(&again)));
}
