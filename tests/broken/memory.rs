//! The memory that reading a file takes: in proportion to the file, whatever the file says of itself.

use std::fs;
use std::path::{Path, PathBuf};

use bptt::checkpoint::Checkpoint;
use bptt::config::Config;
use bptt::data::{Corpus, Level, Source, Tokenizer, Vocabulary};
use bptt::inspect::Report;
use bptt::interchange::pytorch;
use bptt::run;

use crate::held_bytes::held_bytes;
use crate::{MANIFEST, copy_of_checkpoint, sign};

/// Bytes of heap memory for each byte of a file of weights, …
const TIMES_WEIGHTS: usize = 4;
/// … of any other file, or of one whose header takes most of it …
const TIMES: usize = 16;
/// … and beside, …
const CONSTANT: usize = 1 << 20;
/// … for texts with tables of all characters and buffers, …
const CONSTANT_OF_TEXTS: usize = 16 << 20;
/// … and for settings, which are read up to 256 KiB.
const CONSTANT_OF_SETTINGS: usize = 32 << 20;
/// Bytes of the files here.
const LARGE: usize = 1 << 20;

/// Measures what reading a file of so many bytes takes: at most `times` as much, and `constant`.
#[track_caller]
fn measure<T>(
    what: &str,
    bytes: usize,
    (times, constant): (usize, usize),
    read: impl FnOnce() -> T,
) -> T {
    let (read, _, peak) = held_bytes(read);
    let peak = peak as usize;
    eprintln!(
        "{what}: {bytes} bytes, {peak} of memory, {:.1} times",
        peak as f64 / bytes as f64
    );
    assert!(
        peak <= times * bytes + constant,
        "{what}: {peak} bytes for {bytes}"
    );
    read
}

fn repeated(begin: &str, part: impl Fn(usize) -> String, end: &str) -> String {
    let mut text = begin.to_owned();
    let mut index = 0;
    while text.len() < LARGE {
        text += &part(index);
        index += 1;
    }
    text + end
}

fn safetensors(header: &str) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()
}

#[test]
fn headers_of_weights_take_what_they_are_long() {
    let info = r#"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
    for (what, header) in [
        (
            "a header of tensors",
            repeated("{\"a\":0", |i| format!(",\"{i}\":{info}"), "}").replacen("\"a\":0,", "", 1),
        ),
        (
            "a header of metadata",
            repeated(
                "{\"__metadata__\":{\"a\":\"\"",
                |i| format!(",\"{i}\":\"\""),
                "}}",
            ),
        ),
        (
            "a shape",
            repeated(
                "{\"a\":{\"dtype\":\"U8\",\"shape\":[0",
                |_| ",0".to_owned(),
                "],\"data_offsets\":[0,0]}}",
            ),
        ),
        ("a deep header", "[".repeat(LARGE)),
        ("a deep tensor", repeated("{\"a\":", |_| "[".to_owned(), "")),
        (
            "a name",
            repeated("{\"", |_| "x".to_owned(), &format!("\":{info}}}")),
        ),
        (
            "a name of escapes",
            repeated("{\"", |_| "\\u0001".to_owned(), &format!("\":{info}}}")),
        ),
    ] {
        let bytes = safetensors(&header);
        let read = measure(what, bytes.len(), (TIMES, CONSTANT), || {
            pytorch::read(&bytes, &[], 1)
        });
        assert!(read.is_err(), "{what}");
        let folder = crate::folder();
        let path = folder.path().join("file");
        fs::write(&path, &bytes).unwrap();
        let _ = measure(what, bytes.len(), (TIMES, CONSTANT), || {
            Report::of(&path).is_ok()
        });
    }
}

#[test]
fn weights_take_a_few_times_their_size() {
    // V = 4000, D = H = 64.
    let (v, h) = (4000, 64);
    let shapes = [
        ("decoder.bias", vec![v]),
        ("decoder.weight", vec![v, h]),
        ("encoder.weight", vec![v, h]),
        ("rnn.bias_ih_l0", vec![h]),
        ("rnn.weight_hh_l0", vec![h, h]),
        ("rnn.weight_ih_l0", vec![h, h]),
    ];
    for (dtype, size, name) in [
        (safetensors::Dtype::F32, 4, "weights"),
        (safetensors::Dtype::F16, 2, "weights of 2 bytes"),
    ] {
        let zeros = vec![0; size * v * h];
        let views = shapes.iter().map(|(name, shape)| {
            let bytes = &zeros[..size * shape.iter().product::<usize>()];
            let view = safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes);
            (*name, view.unwrap())
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        let read = measure(name, bytes.len(), (TIMES_WEIGHTS, CONSTANT), || {
            pytorch::read(&bytes, &[], 1)
        });
        read.unwrap();
    }
}

#[test]
fn vocabularies_take_what_they_are_long() {
    let json = |tokens: &str| {
        let text = Vocabulary::of_characters("a").to_json().to_string();
        text.replace("\"a\":0", tokens)
    };
    let many = repeated("\"a\":0", |i| format!(",\"{i}\":{}", i + 1), "");
    let ours = Vocabulary::of_characters("a").to_json().to_string();
    for (what, text) in [
        ("a vocabulary", json(&many)),
        ("a vocabulary twice", json(&format!("{many},{many}"))),
        (
            "a deep vocabulary",
            json(&repeated("\"a\":", |_| "[".to_owned(), "")),
        ),
        (
            "a long step",
            ours.replace(
                "\"normalizer\":null",
                &repeated("\"normalizer\":[0", |_| ",0".to_owned(), "]"),
            ),
        ),
        ("a long list", repeated("[0", |_| ",0".to_owned(), "]")),
    ] {
        let read = measure(what, text.len(), (TIMES, CONSTANT), || {
            Tokenizer::from_json(text.as_bytes())
        });
        assert_eq!(read.is_ok(), what == "a vocabulary", "{what}");
    }
}

/// What does not grow with the model is read up to a size.
#[test]
fn settings_and_manifests_take_what_they_are_long() {
    for (what, text) in [
        (
            "a list",
            repeated("data = [\"\"", |_| ",\"\"".to_owned(), "]"),
        ),
        (
            "a list of numbers",
            repeated("data = [0", |_| ",0".to_owned(), "]"),
        ),
        ("tables", repeated("", |i| format!("[a{i}]\n"), "")),
        ("a deep list", repeated("data = ", |_| "[".to_owned(), "")),
        ("a line", repeated("data = \"", |_| "x".to_owned(), "\"")),
    ] {
        let text = &text[..LARGE / 4];
        let _ = measure(what, text.len(), (0, CONSTANT_OF_SETTINGS), || {
            Config::from_toml(text.as_bytes())
        });
    }
    let (_folder, checkpoint) = copy_of_checkpoint();
    for (what, text) in [
        (
            "a manifest",
            repeated(
                "{\"format\":1,\"bptt\":\"\",\"files\":{\"a\":{\"bytes\":0,\"sha256\":\"\"}",
                |i| format!(",\"{i}\":{{\"bytes\":0,\"sha256\":\"\"}}"),
                "}}",
            ),
        ),
        ("a deep manifest", "[".repeat(LARGE)),
    ] {
        fs::write(checkpoint.join(MANIFEST), &text[..LARGE]).unwrap();
        let read = measure(what, LARGE, (TIMES, CONSTANT), || {
            Checkpoint::read(&checkpoint)
        });
        assert!(read.is_err());
    }
    // Larger ones are refused before they are read.
    let large = vec![b' '; 64 << 20];
    for file in [MANIFEST, "config.toml", "progress.json"] {
        let (_folder, checkpoint) = copy_of_checkpoint();
        fs::write(checkpoint.join(file), &large).unwrap();
        if file != MANIFEST {
            sign(&checkpoint);
        }
        let error = measure(file, 1, (TIMES, CONSTANT), || {
            Checkpoint::read(&checkpoint).unwrap_err()
        });
        let error = error.to_string();
        assert!(
            error.contains(file) && error.contains("has 67108864 bytes"),
            "{error}"
        );
    }
}

#[test]
fn logs_take_what_they_are_long() {
    let folder = crate::folder();
    let event = "{\"event\":\"rollback\",\"step\":0,\"to_step\":0,\"lr_scale\":0}\n";
    for (what, text) in [
        ("a log", repeated("", |_| event.to_owned(), "")),
        ("a log of line ends", "\n".repeat(LARGE)),
        ("a log of one line", repeated("", |_| "[".to_owned(), "\n")),
    ] {
        fs::write(folder.path().join("metrics.jsonl"), &text).unwrap();
        let read = measure(what, text.len(), (TIMES, CONSTANT), || {
            run::read_log(folder.path())
        });
        assert_eq!(read.is_ok(), what == "a log");
    }
}

fn load(path: &Path, level: Level, cache: Option<PathBuf>) -> bptt::Result<Corpus> {
    Corpus::load(&Source {
        data: vec![path.to_owned()],
        valid: None,
        valid_fraction: 0.0,
        level,
        max_vocab: None,
        tokenizer: None,
        token_cache: cache,
    })
}

#[test]
fn texts_and_caches_take_what_they_are_long() {
    let folder = crate::folder();
    let path = folder.path().join("text");
    for (what, text) in [
        ("a text of one word", "x".repeat(4 * LARGE)),
        ("a text of words", repeated("", |i| format!("{i} "), "")),
        ("a text of line ends", "\n".repeat(LARGE)),
        (
            "a text of characters",
            (' '..=char::MAX).take(LARGE / 4).collect(),
        ),
    ] {
        fs::write(&path, &text).unwrap();
        for level in [Level::Char, Level::Word] {
            // A text of white space alone is refused.
            let _ = measure(what, text.len(), (TIMES, CONSTANT_OF_TEXTS), || {
                load(&path, level, None).is_ok()
            });
        }
    }
    fs::write(&path, "the lamp is lit\n").unwrap();
    let cache = folder.path().join("cache");
    load(&path, Level::Char, Some(cache.clone())).unwrap();
    let sound = fs::read(&cache).unwrap();
    for (what, description) in [
        ("a deep description", "[".repeat(LARGE)),
        (
            "a long description",
            repeated("{\"a\":[0", |_| ",0".to_owned(), "]}"),
        ),
    ] {
        let size = (description.len() as u64).to_le_bytes();
        let hash = hmac_sha256::Hash::hash(description.as_bytes());
        let bytes = [&sound[..16], &size, &hash, description.as_bytes()].concat();
        fs::write(&cache, &bytes).unwrap();
        let cache = Some(cache.clone());
        let read = measure(what, bytes.len(), (TIMES, CONSTANT_OF_TEXTS), || {
            load(&path, Level::Char, cache)
        });
        assert!(read.is_err());
    }
}
