//! What other programs make of our files, and we of theirs: PyTorch, onnxruntime, TensorBoard.
//!
//! The interpreter is that of `BPTT_PYTHON`, or python3. Where it or a package is missing, the test
//! says so and passes.

#[path = "common/command.rs"]
mod command;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bptt::checkpoint::Checkpoint;
use bptt::device::{Cpu, Device as _};
use bptt::model::{ModelSize, RnnLm};
use bptt::run;
use bptt::train::Event;
use serde::Deserialize;

/// The exit code of a script that misses a package.
const MISSING: i32 = 77;

/// What a script of tests/python prints; none if it cannot be run here.
fn python(script: &str, arguments: &[&str], input: &str) -> Option<String> {
    let interpreter = std::env::var("BPTT_PYTHON").unwrap_or("python3".to_owned());
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let child = Command::new(&interpreter)
        .arg(scripts.join(script))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return skipped(script, &format!("{interpreter}: {error}")),
    };
    // A script that ends early does not read it.
    let _ = child
        .stdin
        .take()
        .expect("stdin")
        .write_all(input.as_bytes());
    let output = child.wait_with_output().expect("an end");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    if output.status.code() == Some(MISSING) {
        return skipped(script, text.trim());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {stderr}");
    Some(text)
}

/// Writes to the terminal itself: what `eprintln!` writes is not shown for tests that pass.
fn skipped(script: &str, why: &str) -> Option<String> {
    let line =
        format!("tests/python/{script} is skipped: {why} (BPTT_PYTHON names the interpreter)");
    let _ = writeln!(std::io::stderr(), "{line}");
    None
}

/// Runs `bptt` in `folder`; what it says on stderr.
#[track_caller]
fn bptt(folder: &Path, arguments: &[&str]) -> String {
    let output = command::bptt(folder, arguments)
        .output()
        .expect("the binary starts");
    let text = String::from_utf8(output.stderr).expect("UTF-8 on stderr");
    assert!(output.status.success(), "{text}");
    text
}

/// A text of 40 lines.
fn text_in(folder: &Path) -> PathBuf {
    let line = |i: usize| {
        format!(
            "the {} quick brown foxes jump over {} dogs\n",
            i * i,
            97 - i
        )
    };
    let text: String = (0..40).map(line).collect();
    // To train and to validate on.
    fs::write(folder.join("same.txt"), &text).expect("a text");
    let path = folder.join("text.txt");
    fs::write(&path, text).expect("a text");
    path
}

const STREAMS: &str = "4";
const STEPS: &str = "8";

/// Trains on the text and validates on it after each of two epochs.
fn train(folder: &Path, more: &[&str]) -> String {
    let base = [
        "train",
        "--device",
        "cpu",
        "--data",
        "text.txt",
        "--valid",
        "same.txt",
        "--batch-size",
        STREAMS,
        "--bptt",
        STEPS,
        "--epochs",
        "2",
        "--log-interval",
        "10",
    ];
    bptt(folder, &[&base, more].concat())
}

/// Where a run's last checkpoint is, and the validation loss that it was saved with.
fn last(run: &Path) -> (PathBuf, f64) {
    let log = run::read_log(run).expect("a log");
    let Some(Event::Epoch { valid_loss, .. }) = log.last() else {
        panic!("the log ends with {:?}", log.last());
    };
    (
        run::last_of(run).expect("a checkpoint"),
        valid_loss.expect("a loss"),
    )
}

/// The loss that PyTorch gets at float64.
fn loss_in_pytorch(weights: &Path, tokenizer: &Path, text: &Path) -> Option<f64> {
    let paths = [weights, tokenizer, text].map(|path| path.to_str().expect("UTF-8"));
    let printed = python("loss.py", &[&paths[..], &[STREAMS, STEPS]].concat(), "")?;
    Some(printed.trim().parse().expect("a number"))
}

#[test]
fn pytorch_gets_our_loss_with_our_weights() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    train(
        folder.path(),
        &["--emsize", "6", "--nhid", "10", "--out", "run"],
    );
    let run = folder.path().join("run");
    let (checkpoint, ours) = last(&run);
    let weights = checkpoint.join("model.safetensors");
    let tokenizer = checkpoint.join("tokenizer.json");
    let Some(theirs) = loss_in_pytorch(&weights, &tokenizer, &text) else {
        return;
    };
    assert!((ours - theirs).abs() < 1e-5, "ours {ours}, theirs {theirs}");
    // Other weights of the same run do not pass for them.
    let first = run.join("checkpoints").join(oldest(&run));
    let weights = first.join("model.safetensors");
    let other = loss_in_pytorch(&weights, &tokenizer, &text).expect("it ran before");
    assert!(
        (ours - other).abs() > 1e-3,
        "ours {ours}, of an older one {other}"
    );
}

/// The name of a run's oldest checkpoint.
fn oldest(run: &Path) -> String {
    let entries = fs::read_dir(run.join("checkpoints")).expect("checkpoints");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string());
    let names = names.map(|name| name.expect("UTF-8"));
    let mut names: Vec<String> = names.filter(|name| name.starts_with("step-")).collect();
    names.sort();
    names.swap_remove(0)
}

/// Lets PyTorch make a model of the text's characters, as torch.safetensors and torch-tokenizer.json, if it
/// can.
fn has_model_of_pytorch(folder: &Path, text: &Path) -> bool {
    let characters: BTreeSet<char> = fs::read_to_string(text).unwrap().chars().collect();
    let characters: String = characters.into_iter().collect();
    let out = folder.to_str().unwrap();
    python("make_model.py", &[out, &characters], "").is_some()
}

#[test]
fn we_get_pytorchs_loss_with_its_weights() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    if !has_model_of_pytorch(folder.path(), &text) {
        return;
    }
    let said = bptt(
        folder.path(),
        &[
            "import",
            "torch.safetensors",
            "--tokenizer",
            "torch-tokenizer.json",
            "--out",
            "imported",
        ],
    );
    assert!(said.contains("rnn.bias_hh_l0 added"), "{said}");
    bptt(
        folder.path(),
        &["generate", "imported", "--device", "cpu", "--length", "5"],
    );
    let weights = folder.path().join("torch.safetensors");
    let tokenizer = folder.path().join("torch-tokenizer.json");
    let theirs = loss_in_pytorch(&weights, &tokenizer, &text).expect("it ran before");
    // A rate so small that no weight changes: the loss is that of the weights it began with.
    for (source, out) in [("imported", "a"), ("torch.safetensors", "b")] {
        train(
            folder.path(),
            &["--init-from", source, "--lr", "1e-30", "--out", out],
        );
        let (_, ours) = last(&folder.path().join(out));
        assert!((ours - theirs).abs() < 1e-5, "ours {ours}, theirs {theirs}");
    }
}

/// The values of each tensor of a safetensors file of f32.
fn tensors(file: &Path) -> BTreeMap<String, Vec<f32>> {
    let bytes = fs::read(file).expect("a file");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let values = |data: &[u8]| {
        let (elements, _) = data.as_chunks();
        elements.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    let tensors = file.iter();
    tensors
        .map(|(name, view)| (name.to_owned(), values(view.data())))
        .collect()
}

/// Of weights below 2 after one step in f32: a few roundings of 2⁻²⁴ each, and PyTorch adds 1e-6 to the
/// norm that it clips by, which makes an update of the norm 0.125 shorter by 1e-6 of it at most.
const BOUND_OF_STEP: f32 = 1e-6;

/// Both biases of nn.RNN are kept: the loss is PyTorch's, a step of training changes each as
/// PyTorch's does, and both come back.
#[test]
fn two_biases_are_trained_as_pytorch_trains_them() {
    let folder = tempfile::tempdir().unwrap();
    let text = text_in(folder.path());
    if !has_model_of_pytorch(folder.path(), &text) {
        return;
    }
    let weights = folder.path().join("torch.safetensors");
    let tokenizer = folder.path().join("torch-tokenizer.json");
    for (biases, out) in [("keep", "two"), ("sum", "one")] {
        let import = ["import", "torch.safetensors", "--tokenizer"];
        let flags = ["torch-tokenizer.json", "--biases", biases, "--out", out];
        bptt(folder.path(), &[&import[..], &flags].concat());
    }
    let file_of = |run: &str| {
        let run = folder.path().join(run);
        run::last_of(&run).unwrap().join("model.safetensors")
    };
    // Unlike each other, and as they were.
    let begun = tensors(&weights);
    assert_ne!(begun["rnn.bias_ih_l0"], begun["rnn.bias_hh_l0"]);
    assert_eq!(tensors(&file_of("two")), begun);

    let theirs = loss_in_pytorch(&weights, &tokenizer, &text).expect("it ran before");
    let file = ["torch.safetensors", "--rnn-biases", "2"];
    for (source, out) in [(&["two"][..], "a"), (&file, "b")] {
        let flags = ["--lr", "1e-30", "--out", out, "--init-from"];
        train(folder.path(), &[&flags[..], source].concat());
        let (_, ours) = last(&folder.path().join(out));
        assert!((ours - theirs).abs() < 1e-5, "ours {ours}, theirs {theirs}");
        assert_eq!(tensors(&file_of(out)), begun);
    }

    // One window for each stream, and a bound on the norm that takes effect.
    let (streams, steps): (usize, usize) = (STREAMS.parse().unwrap(), STEPS.parse().unwrap());
    let window: String = (fs::read_to_string(&text).unwrap().chars())
        .take(streams * steps + 1)
        .collect();
    fs::write(folder.path().join("window.txt"), window).unwrap();
    let (rate, max_norm) = ("0.5", "0.25");
    for (source, out) in [("two", "stepped-two"), ("one", "stepped-one")] {
        let sizes = ["--batch-size", STREAMS, "--bptt", STEPS, "--epochs", "1"];
        let step = [
            "--lr",
            rate,
            "--clip",
            max_norm,
            "--lr-schedule",
            "constant",
        ];
        let run = ["--init-from", source, "--out", out];
        let train = ["train", "--device", "cpu", "--data", "window.txt"];
        bptt(folder.path(), &[&train[..], &sizes, &step, &run].concat());
    }
    let window = folder.path().join("window.txt");
    let paths = [&weights, &tokenizer, &window].map(|path| path.to_str().expect("UTF-8"));
    let flags = [&paths[..], &[STREAMS, STEPS, rate, max_norm]].concat();
    let printed = python("loss.py", &flags, "").expect("it ran before");
    let (_, theirs) = printed.trim().split_once('\n').expect("two lines");
    let theirs: BTreeMap<String, Vec<f32>> = serde_json::from_str(theirs).unwrap();
    let ours = tensors(&file_of("stepped-two"));
    assert_eq!(ours.len(), theirs.len());
    for (name, theirs) in &theirs {
        let difference = largest_difference(&ours[name], theirs);
        assert!(difference < BOUND_OF_STEP, "{name} differs by {difference}");
        assert!(largest_difference(&begun[name], theirs) > 100.0 * BOUND_OF_STEP);
    }
    // One bias for both does not move as their sum does.
    let sum = |of: &BTreeMap<String, Vec<f32>>| -> Vec<f32> {
        let pairs = of["rnn.bias_ih_l0"].iter().zip(&of["rnn.bias_hh_l0"]);
        pairs.map(|(b, bh)| b + bh).collect()
    };
    let one = tensors(&file_of("stepped-one"));
    assert!(largest_difference(&sum(&one), &sum(&theirs)) > 100.0 * BOUND_OF_STEP);
}

/// What onnx_logits.py prints.
#[derive(Deserialize)]
struct Computed {
    shapes: [Vec<usize>; 2],
    logits: Vec<f32>,
    state: Vec<f32>,
    metadata: BTreeMap<String, String>,
}

/// Logits [T, N, V] and the final state [N, H] of a checkpoint on the CPU path.
fn logits(checkpoint: &Checkpoint, tokens: &[Vec<u32>], state: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let size = ModelSize {
        batch: tokens[0].len(),
        time_steps: 1,
        ..checkpoint.config.model_size(checkpoint.vocabulary.len())
    };
    let mut cpu = Cpu::<f32>::new();
    let mut model = RnnLm::new(&mut cpu, size, true).unwrap();
    checkpoint.weights.put(&mut cpu, &mut model).unwrap();
    model.rnn.set_state(&mut cpu, state).unwrap();
    let mut all = Vec::new();
    for step in tokens {
        let logits = model.last_logits(&mut cpu, step).unwrap();
        let mut values = vec![0.0; size.batch * size.vocab];
        cpu.read_into(logits, 0, &mut values).unwrap();
        all.extend(values);
    }
    (all, model.rnn.next_state(&mut cpu).unwrap())
}

/// Of logits and states. A logit is a sum of H + 1 = 11 terms whose absolute values come to less
/// than 10, in f32: 11 · 2⁻²⁴ · 10 = 7e-6 in each of the two programs, and that of the state is less.
const BOUND: f32 = 2e-5;

#[test]
fn onnxruntime_gets_our_logits() {
    check_logits("1");
}

#[test]
fn onnxruntime_gets_our_logits_with_two_biases() {
    check_logits("2");
}

fn check_logits(biases: &str) {
    let folder = tempfile::tempdir().unwrap();
    text_in(folder.path());
    let sizes = ["--emsize", "6", "--nhid", "10", "--rnn-biases", biases];
    train(folder.path(), &[&sizes[..], &["--out", "run"]].concat());
    bptt(folder.path(), &["export", "run", "--onnx", "model.onnx"]);
    let file = folder.path().join("model.onnx");
    let path = run::model_of(&folder.path().join("run")).unwrap();
    let checkpoint = Checkpoint::read(&path).unwrap();
    let vocab = checkpoint.vocabulary.len();
    // Two windows of different T and N.
    for (time_steps, batch) in [(7, 3), (1, 5)] {
        let token = |t: usize, n: usize| ((5 * t + 3 * n + t * n) % vocab) as u32;
        let step = |t| (0..batch).map(|n| token(t, n)).collect();
        let tokens: Vec<Vec<u32>> = (0..time_steps).map(step).collect();
        let state = (0..batch * 10)
            .map(|i| (i as f32).sin() / 2.0)
            .collect::<Vec<_>>();
        let streams: Vec<_> = state.chunks(10).collect();
        let input = serde_json::json!({"tokens": tokens, "state": [streams]}).to_string();
        let Some(output) = python("onnx_logits.py", &[file.to_str().unwrap()], &input) else {
            return;
        };
        let theirs: Computed = serde_json::from_str(&output).unwrap();
        let (ours, our_state) = logits(&checkpoint, &tokens, &state);
        let shapes = [vec![time_steps, batch, vocab], vec![1, batch, 10]];
        assert_eq!(theirs.shapes, shapes);
        for (name, ours, theirs) in [
            ("logits", ours, theirs.logits),
            ("state", our_state, theirs.state),
        ] {
            let difference = largest_difference(&ours, &theirs);
            assert!(difference < BOUND, "{name} differ by {difference}");
            // They are not all alike: a token or a stream in another's place would show.
            let shifted = [&ours[1..], &ours[..1]].concat();
            assert!(largest_difference(&shifted, &theirs) > 0.01);
        }
        let tokenizer = fs::read_to_string(path.join("tokenizer.json")).unwrap();
        assert_eq!(theirs.metadata["tokenizer.json"], tokenizer);
    }
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// Steps and values by name, as metrics.jsonl has them.
fn scalars(run: &Path) -> BTreeMap<&'static str, Vec<(u64, f32)>> {
    let mut scalars: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut add = |name, step, value: f64| {
        scalars.entry(name).or_default().push((step, value as f32));
    };
    for event in run::read_log(run).unwrap() {
        let step = event.step();
        match event {
            Event::Steps {
                loss,
                lr,
                gradient_norm,
                tokens_per_second,
                ..
            } => {
                add("loss/train", step, loss);
                add("learning_rate", step, lr);
                add("gradient_norm", step, gradient_norm.expect("a norm"));
                add("tokens_per_second", step, tokens_per_second);
            }
            Event::Evaluation { valid_loss, .. } => add("loss/validation", step, valid_loss),
            Event::Epoch {
                loss, valid_loss, ..
            } => {
                add("loss/epoch", step, loss);
                add("loss/validation", step, valid_loss.expect("a loss"));
            }
            other => panic!("{other:?} does not happen here"),
        }
    }
    scalars
}

/// Step, value, and time in seconds.
type Scalar = (u64, f32, f64);

/// Steps, values and times by name, as TensorBoard reads them.
fn in_tensorboard(run: &Path) -> Option<BTreeMap<String, Vec<Scalar>>> {
    let output = python("scalars.py", &[run.to_str().expect("UTF-8")], "")?;
    Some(serde_json::from_str(&output).expect("JSON"))
}

#[track_caller]
fn tensorboard_agrees(run: &Path) -> bool {
    let Some(theirs) = in_tensorboard(run) else {
        return false;
    };
    let times = theirs.values().flatten().map(|(_, _, time)| *time);
    assert!(times.into_iter().all(|time| time > 1.7e9));
    let theirs: BTreeMap<_, Vec<_>> = (theirs.iter())
        .map(|(name, events)| (name.as_str(), events.iter().map(|e| (e.0, e.1)).collect()))
        .collect();
    let ours = scalars(run);
    assert_eq!(ours.len(), 6);
    assert_eq!(theirs, ours);
    true
}

#[test]
fn tensorboard_reads_what_the_log_holds() {
    let folder = tempfile::tempdir().unwrap();
    text_in(folder.path());
    let flags = [
        "--emsize",
        "6",
        "--nhid",
        "10",
        "--out",
        "run",
        "--eval-interval",
        "15",
        "--save-interval",
        "20",
        "--keep",
        "100",
    ];
    train(folder.path(), &flags);
    let run = folder.path().join("run");
    if !tensorboard_agrees(&run) {
        return;
    }
    // Back from the middle of the run, and from where it ended: what is trained again is not there
    // twice. At step 30 there are a line of the log and then a validation.
    for (step, epochs) in [(40, "2"), (30, "2"), (0, "2"), (0, "3")] {
        let name = match step {
            0 => run::last_of(&run).unwrap(),
            _ => run.join(format!("checkpoints/step-{step:09}-epoch-00000")),
        };
        let checkpoint = name.to_str().unwrap();
        bptt(
            folder.path(),
            &[
                "train", "--resume", checkpoint, "--epochs", epochs, "--device", "cpu",
            ],
        );
        assert!(tensorboard_agrees(&run));
    }
    let files = fs::read_dir(&run).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("events.out.tfevents.")
    });
    // One of each session that trained: going on from the end, with nothing left to do, is none.
    assert_eq!(files.count(), 4);
}
