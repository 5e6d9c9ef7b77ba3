//! A tokenizer of Hugging Face's, as people use one: by the binary that was built with the feature
//! `tokenizers`, and by the one that was not.

#[path = "common/command.rs"]
mod command;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

/// Sizes so small that it trains in a moment.
const SMALL: &[&str] = &[
    "--device",
    "cpu",
    "--emsize",
    "8",
    "--nhid",
    "16",
    "--batch-size",
    "2",
    "--bptt",
    "5",
];

fn bptt(folder: &Path, arguments: &[&str]) -> Output {
    command::bptt(folder, arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What it prints, if it succeeds.
#[cfg(feature = "tokenizers")]
#[track_caller]
fn stdout(folder: &Path, arguments: &[&str]) -> String {
    let output = bptt(folder, arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn text() -> String {
    let line = |i| format!("the {i}th fox and the lazy dog ran on and on, then slept\n");
    (0..60).map(line).collect()
}

/// Byte-pair encoding (Gage 1994; Sennrich et al. 2016) as GPT-2 has it: words with the space before
/// them, of which the most frequent pair of neighbours becomes a token, again and again.
fn byte_pairs(text: &str, merges: usize) -> Value {
    let printable = |c: char| match c {
        ' ' => "Ġ".to_owned(),
        '\n' => "Ċ".to_owned(),
        c => c.to_string(),
    };
    let mut words: Vec<Vec<String>> = vec![Vec::new()];
    for c in text.chars() {
        if !c.is_alphabetic() {
            words.push(Vec::new());
        }
        words.last_mut().unwrap().push(printable(c));
    }
    let mut vocab: Vec<String> = words.concat();
    vocab.sort();
    vocab.dedup();
    let mut pairs = Vec::new();
    for _ in 0..merges {
        let mut counts = BTreeMap::new();
        for pair in words.iter().flat_map(|word| word.windows(2)) {
            *counts.entry(pair.to_vec()).or_insert(0) += 1;
        }
        let (pair, _) = counts.into_iter().max_by_key(|(_, count)| *count).unwrap();
        let merged = pair.concat();
        for word in &mut words {
            while let Some(at) = word.windows(2).position(|two| two == pair) {
                word.splice(at..at + 2, [merged.clone()]);
            }
        }
        vocab.push(merged);
        pairs.push(pair);
    }
    let vocab: BTreeMap<_, _> = vocab.iter().zip(0..).collect();
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": bytes, "post_processor": null, "decoder": bytes,
        "model": {"type": "BPE", "vocab": vocab, "merges": pairs},
    })
}

/// A text and a tokenizer for it.
fn prepare(folder: &Path) -> String {
    fs::write(folder.join("text.txt"), text()).unwrap();
    let json = byte_pairs(&text(), 25).to_string();
    fs::write(folder.join("bpe.json"), &json).unwrap();
    json
}

/// Trains `epochs` epochs into `out`.
fn train(folder: &Path, out: &str, epochs: &str) -> Output {
    let base = ["train", "--data", "text.txt", "--tokenizer", "bpe.json"];
    let rest = ["--valid-fraction", "0.2", "--out", out, "--epochs", epochs];
    bptt(folder, &[&base[..], SMALL, &rest].concat())
}

#[cfg(not(feature = "tokenizers"))]
#[test]
fn without_the_feature_subwords_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let output = train(folder.path(), "run", "1");
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let hint = "cargo install --locked --path . --features tokenizers";
    assert!(
        error.contains("bpe.json") && error.contains(hint),
        "{error}"
    );
    assert!(!folder.path().join("run").exists());
}

#[cfg(feature = "tokenizers")]
#[test]
fn subwords_are_trained_evaluated_sampled_and_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let json = prepare(folder);
    let output = train(folder, "run", "1");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("tokens to train on"));
    let tokenizer =
        |run: &str| fs::read_to_string(folder.join(run).join("tokenizer.json")).unwrap();
    assert_eq!(tokenizer("run"), json);
    let whole = train(folder, "whole", "2");
    assert!(whole.status.success(), "{}", stderr(&whole));
    // The run has its own from here on.
    fs::remove_file(folder.join("bpe.json")).unwrap();

    let eval = ["eval", "run", "--device", "cpu", "--json"];
    let report: Value = serde_json::from_str(&stdout(folder, &eval)).unwrap();
    let number = |field: &str| report[field].as_f64().unwrap();
    assert!(number("tokens") < 0.7 * number("characters"), "{report}");
    assert!(number("loss") > 0.0 && number("bits_per_character") > 0.0);
    fs::write(folder.join("line.txt"), "the dog and the fox\n").unwrap();
    let line = [
        "eval",
        "run",
        "--device",
        "cpu",
        "--data",
        "line.txt",
        "--surprisal",
        "-",
    ];
    let tokens = stdout(folder, &line);
    let tokens = tokens.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["token"].as_str().unwrap().to_owned()
    });
    let tokens: Vec<String> = tokens.collect();
    assert_eq!(tokens.concat(), "theĠdogĠandĠtheĠfoxĊ");
    assert!(tokens.len() < 12, "{tokens:?}");

    let generate = [
        "generate", "run", "--device", "cpu", "--length", "30", "--prompt", "the dog",
    ];
    let sample = stdout(folder, &generate);
    assert!(
        sample.starts_with("the dog") && sample.len() > 7 + 30,
        "{sample}"
    );
    assert!(sample.chars().all(|c| text().contains(c)), "{sample}");
    assert_eq!(sample, stdout(folder, &generate));

    // Two epochs are two epochs, whether the run was stopped between them or not.
    stdout(folder, &["train", "--resume", "run", "--epochs", "2"]);
    let weights = |run: &str| {
        let checkpoints = folder.join(run).join("checkpoints");
        let last = fs::read_to_string(checkpoints.join("last")).unwrap();
        fs::read(checkpoints.join(last).join("model.safetensors")).unwrap()
    };
    assert_eq!(weights("run"), weights("whole"));
    let more = [
        "train",
        "--init-from",
        "run",
        "--data",
        "line.txt",
        "--out",
        "more",
    ];
    let sizes = [
        "--device",
        "cpu",
        "--batch-size",
        "1",
        "--bptt",
        "2",
        "--epochs",
        "1",
    ];
    stdout(folder, &[&more[..], &sizes].concat());
    assert_eq!((tokenizer("run"), tokenizer("more")), (json.clone(), json));
}
