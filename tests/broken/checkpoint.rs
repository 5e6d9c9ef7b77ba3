//! Checkpoints whose files are not what was written; and such whose manifest agrees with a lie.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use bptt::checkpoint::Checkpoint;
use bptt::data::Corpus;
use bptt::device::Cpu;
use bptt::inspect::Report;
use bptt::train::{Advance, Trainer};
use bptt::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};

use crate::{FILES, MANIFEST, Tally, copy_of_checkpoint, sign, small};

/// Reads a checkpoint with these bytes as one of its files.
fn read_with(checkpoint: &Path, file: &str, bytes: &[u8]) -> Result<Checkpoint> {
    fs::write(checkpoint.join(file), bytes).unwrap();
    Checkpoint::read(checkpoint)
}

#[test]
fn no_file_that_is_not_as_it_was_written_is_read() {
    let (_folder, checkpoint) = copy_of_checkpoint();
    for file in FILES {
        let sound = fs::read(checkpoint.join(file)).unwrap();
        let read = |bytes: &[u8]| read_with(&checkpoint, file, bytes).map(|_| true);
        let tally = Tally::of(&sound, file, read);
        assert_eq!(tally.harmless, 0, "{file}");
        fs::write(checkpoint.join(file), sound).unwrap();
    }
}

/// The version that wrote it, which is only shown, may be any.
#[test]
fn a_broken_manifest_is_refused_or_lists_the_same() {
    let (_folder, checkpoint) = copy_of_checkpoint();
    let whole = Checkpoint::read(&checkpoint).unwrap();
    let sound = fs::read(checkpoint.join(MANIFEST)).unwrap();
    let tally = Tally::of(&sound, "/checkpoint", |bytes| {
        Ok(read_with(&checkpoint, MANIFEST, bytes)? == whole)
    });
    assert!(tally.harmless < tally.total() / 20, "{tally:?}");
}

/// As `bptt inspect` does: shown, with what is wrong.
#[test]
fn what_is_broken_is_described() {
    let (_folder, checkpoint) = copy_of_checkpoint();
    for file in FILES {
        let sound = fs::read(checkpoint.join(file)).unwrap();
        for (what, broken) in crate::mutations(&sound).step_by(7) {
            fs::write(checkpoint.join(file), broken).unwrap();
            let report = Report::of(&checkpoint).unwrap();
            let damaged: Vec<_> = report.damaged().map(|(path, _)| path.to_owned()).collect();
            assert_eq!(damaged, [checkpoint.join(file)], "{what}");
        }
        fs::write(checkpoint.join(file), sound).unwrap();
    }
}

/// Goes on from a checkpoint for a few steps.
fn go_on(checkpoint: &Path) -> Result<()> {
    let read = Checkpoint::read(checkpoint)?;
    let mut cpu = Cpu::<f32>::with_threads(1);
    static CORPUS: LazyLock<Corpus> = LazyLock::new(|| {
        let config = Checkpoint::read(&small().checkpoint).unwrap().config;
        Corpus::load(&config.source()).unwrap()
    });
    let mut trainer = Trainer::new(&mut cpu, &read.config, &CORPUS)?;
    trainer.restore(&mut cpu, &read, checkpoint)?;
    let mut steps = 0;
    let mut stop = || {
        steps += 1;
        steps > 3
    };
    loop {
        match trainer.advance(&mut cpu, &mut stop)? {
            Advance::Stopped | Advance::Finished => return Ok(()),
            Advance::Event(_) | Advance::Save => {}
        }
    }
}

/// Where the manifest agrees, a number may be another number: only that it can be gone on from, or is
/// refused, can be asked for.
#[test]
fn a_lie_that_its_manifest_agrees_with_is_refused_or_gone_on_from() {
    let (_folder, checkpoint) = copy_of_checkpoint();
    for file in ["progress.json", "state.safetensors", "model.safetensors"] {
        let sound = fs::read(checkpoint.join(file)).unwrap();
        let read = |bytes: &[u8]| {
            fs::write(checkpoint.join(file), bytes).unwrap();
            sign(&checkpoint);
            match go_on(&checkpoint) {
                // A weight of 1e38 is a weight.
                Err(Error::Diverged { .. }) => Ok(true),
                // Its text is not among its files.
                Err(Error::Run { what, .. }) if what.starts_with("the text is not") => Ok(true),
                other => other.map(|()| true),
            }
        };
        Tally::of(&sound, file, read);
        fs::write(checkpoint.join(file), sound).unwrap();
    }
}

#[test]
fn numbers_that_cannot_stand_together_are_named() {
    let (_folder, checkpoint) = copy_of_checkpoint();
    let path = checkpoint.join("progress.json");
    let sound: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let huge = json!(1u64 << 63);
    for (pointer, value, hint) in [
        (
            "/step",
            huge.clone(),
            "step is 9223372036854775808, where 5 is the most",
        ),
        ("/step", json!(6), "step is 6, where 5"),
        ("/step", json!(-1), "expected u64 in line 1, at"),
        (
            "/step",
            json!(1.5),
            "invalid type: floating point `1.5`, expected u64",
        ),
        ("/step", Value::Null, "invalid type: null, expected u64"),
        (
            "/epoch",
            json!(u64::MAX),
            "epoch is 18446744073709551615, more than",
        ),
        (
            "/window",
            huge.clone(),
            "window is 9223372036854775808, where",
        ),
        (
            "/taken",
            json!(u64::MAX),
            "taken is 18446744073709551615, where 5",
        ),
        ("/recent_loss/1", huge.clone(), "recent_loss[1] is"),
        ("/epoch_loss/1", json!(4), "epoch_loss[1] is 4, where"),
        ("/evaluated", json!(7), "evaluated is 7, where 5"),
        ("/best", json!({"step": 6, "loss": 1.0}), "best.step is 6"),
        (
            "/schedule/reductions",
            json!(u32::MAX),
            "schedule.reductions is",
        ),
        (
            "/schedule/best/epochs_since",
            huge.clone(),
            "schedule.best.epochs_since is",
        ),
        (
            "/early_stop/epochs_since",
            huge,
            "early_stop.epochs_since is",
        ),
        ("/schedule/scale", json!(-1.0), "schedule.scale is -1"),
        ("/seconds", json!(-5.0), "seconds is -5"),
        ("/loss_on_device", json!(1e300), "loss_on_device is inf"),
        ("/text", json!("hash"), "invalid type: string \"hash\""),
        ("/text/0", json!("hash"), "the text is not the one"),
    ] {
        let mut broken = sound.clone();
        *broken.pointer_mut(pointer).unwrap() = value;
        fs::write(&path, broken.to_string()).unwrap();
        sign(&checkpoint);
        let error = go_on(&checkpoint).unwrap_err().to_string();
        assert!(error.contains(hint), "{pointer}: {error}");
        let file = if hint.contains("the text") {
            "checkpoint"
        } else {
            "progress.json"
        };
        assert!(error.contains(file), "{pointer}: {error}");
    }
    let text = sound.to_string();
    for (broken, hint) in [
        (
            text.replace("\"step\":5", "\"step\":5,\"step\":6"),
            "duplicate field `step`",
        ),
        (
            text.replace("\"step\":5", "\"stop\":5"),
            "unknown field `stop`",
        ),
        (text.replace("\"step\":5,", ""), "missing field `step`"),
        (
            text.replace("\"seconds\":", "\"seconds\":1e999,\"x\":"),
            "number out of range",
        ),
        ("[".repeat(100_000), "invalid type: sequence"),
        (
            format!("{{\"x\":{}", "[".repeat(100_000)),
            "unknown field `x`",
        ),
    ] {
        fs::write(&path, broken).unwrap();
        sign(&checkpoint);
        let error = go_on(&checkpoint).unwrap_err().to_string();
        assert!(
            error.contains(hint) && error.contains("progress.json"),
            "{error}"
        );
        assert!(error.len() < 1000, "{error}");
    }
}

/// A tensor: its type, shape, bytes.
type Raw = (Dtype, Vec<usize>, Vec<u8>);

fn serialize(tensors: &[(String, Raw)]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        let view = TensorView::new(*dtype, shape.clone(), data);
        (name, view.unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

fn tensors_of(bytes: &[u8]) -> Vec<(String, Raw)> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let raw = |(name, view): (String, TensorView<'_>)| {
        let raw = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        (name, raw)
    };
    file.tensors().into_iter().map(raw).collect()
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let (_folder, checkpoint) = copy_of_checkpoint();
    let nan = f32::NAN.to_le_bytes();
    let inf = f32::INFINITY.to_le_bytes();
    let f32s = |shape: &[usize], bytes: [u8; 4]| {
        (
            Dtype::F32,
            shape.to_vec(),
            bytes.repeat(shape.iter().product()),
        )
    };
    let zeros = |shape: &[usize]| f32s(shape, [0; 4]);
    let cases: &[(&str, &str, Option<Raw>, &str)] = &[
        (
            "model.safetensors",
            "rnn.weight_hh_l0",
            Some(f32s(&[3, 3], nan)),
            "rnn.weight_hh_l0: element 0 is NaN",
        ),
        (
            "model.safetensors",
            "decoder.weight",
            Some(f32s(&[11, 3], inf)),
            "decoder.weight: element 0 is inf",
        ),
        (
            "model.safetensors",
            "rnn.weight_hh_l0",
            Some(zeros(&[9])),
            "rnn.weight_hh_l0 is F32 [9], expected F32 [3, 3]",
        ),
        (
            "model.safetensors",
            "rnn.weight_ih_l0",
            Some(zeros(&[2, 3])),
            "is F32 [2, 3], expected F32 [3, 2]",
        ),
        (
            "model.safetensors",
            "rnn.bias_ih_l0",
            Some((Dtype::F16, vec![3], vec![0; 6])),
            "rnn.bias_ih_l0 is F16 [3], expected F32 [3]",
        ),
        (
            "model.safetensors",
            "rnn.bias_ih_l0",
            Some((Dtype::F64, vec![3], vec![0; 24])),
            "rnn.bias_ih_l0 is F64 [3]",
        ),
        ("model.safetensors", "decoder.bias", None, "decoder.bias"),
        (
            "model.safetensors",
            "rnn.weight_ih_l1",
            Some(zeros(&[3, 3])),
            "rnn.weight_ih_l1 is no tensor of this model",
        ),
        (
            "state.safetensors",
            "hidden",
            Some(zeros(&[2, 4])),
            "hidden is [2, 4], expected 6 elements",
        ),
        (
            "state.safetensors",
            "hidden",
            Some(f32s(&[2, 3], nan)),
            "hidden: element 0 is NaN",
        ),
        ("state.safetensors", "hidden", None, "there is no hidden"),
        (
            "state.safetensors",
            "momentum_buffer.Wh",
            None,
            "there is no momentum_buffer.Wh",
        ),
        (
            "state.safetensors",
            "momentum_buffer.Wh",
            Some(zeros(&[0])),
            "momentum_buffer.Wh is [0], expected 9 elements",
        ),
        (
            "state.safetensors",
            "momentum_buffer.Wh",
            Some((Dtype::I32, vec![3, 3], vec![0; 36])),
            "momentum_buffer.Wh is I32",
        ),
    ];
    for (file, name, tensor, hint) in cases {
        let path = checkpoint.join(file);
        let sound = fs::read(&path).unwrap();
        let mut tensors = tensors_of(&sound);
        tensors.retain(|(other, _)| other != name);
        tensors.extend(tensor.clone().map(|raw| ((*name).to_owned(), raw)));
        fs::write(&path, serialize(&tensors)).unwrap();
        sign(&checkpoint);
        let error = go_on(&checkpoint).unwrap_err().to_string();
        assert!(error.contains(hint) && error.contains(file), "{error}");
        fs::write(&path, sound).unwrap();
    }
    sign(&checkpoint);
    go_on(&checkpoint).unwrap();
}

/// Settings of another model, and settings of none.
#[test]
fn settings_that_do_not_fit_the_weights_are_refused() {
    let (_folder, checkpoint) = copy_of_checkpoint();
    let path = checkpoint.join("config.toml");
    let sound = fs::read_to_string(&path).unwrap();
    for (line, other, hint) in [
        (
            "nhid = 3",
            "nhid = 65536",
            "model.safetensors: rnn.weight_ih_l0 is F32 [3, 2], expected F32 [65536, 2]",
        ),
        ("nhid = 3", "nhid = 0", "config.toml: nhid = 0"),
        (
            "nhid = 3",
            "nhid = 9223372036854775807",
            "config.toml: nhid = 9223372036854775807",
        ),
        ("nhid = 3", "nhid = 9223372036854775808", "config.toml: "),
        (
            "nhid = 3",
            "nhid = -3",
            "config.toml: invalid value: integer `-3`, expected usize in line",
        ),
        ("nhid = 3", "nhid = \"3\"", "at `nhid = \"3\"`"),
        ("nhid = 3", "nhid = 3\nnhid = 4", "duplicate key"),
        ("nhid = 3", "nhid = 3\nmhid = 4", "unknown field `mhid`"),
        ("nhid = 3", "", "missing field `nhid`"),
        (
            "level = \"char\"",
            "level = \"token\"",
            "unknown variant `token`",
        ),
        (
            "optimizer = \"momentum\"",
            "optimizer = \"adam\"",
            "momentum = 0.9 cannot be used: only with --optimizer momentum",
        ),
        (
            "optimizer = \"momentum\"\nlr = 0.05\nmomentum = 0.9\n",
            "optimizer = \"adam\"\nlr = 0.05\n",
            "state.safetensors: there is no exp_avg.",
        ),
        (
            "batch_size = 2",
            "batch_size = 1",
            "state.safetensors: hidden is [2, 3], expected 3",
        ),
    ] {
        assert!(sound.contains(line), "{line}");
        fs::write(&path, sound.replace(line, other)).unwrap();
        sign(&checkpoint);
        let error = go_on(&checkpoint).unwrap_err().to_string();
        assert!(error.contains(hint), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

/// JSON and TOML do not say which of two entries counts, and safetensors forbid them.
#[test]
fn a_name_that_is_there_twice_is_refused() {
    let (_folder, checkpoint) = copy_of_checkpoint();
    let manifest = fs::read_to_string(checkpoint.join(MANIFEST)).unwrap();
    let entry = "\"config.toml\": {\"bytes\": 1, \"sha256\": \"\"},";
    let twice = manifest.replacen("\"config.toml\"", &format!("{entry}\"config.toml\""), 1);
    let error = read_with(&checkpoint, MANIFEST, twice.as_bytes()).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("\"config.toml\" is there twice in line"),
        "{error}"
    );
    assert!(error.contains("manifest.json"), "{error}");
}
