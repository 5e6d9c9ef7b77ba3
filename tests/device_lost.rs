//! A GPU that is lost, or has no memory left, at any moment: an error of its kind, and nothing that
//! was saved is harmed; asked to, training goes on as if nothing had been.

mod common;
#[path = "common/timeless.rs"]
mod timeless;

use std::path::{Path, PathBuf};

use bptt::checkpoint::{Checkpoint, Weights};
use bptt::cli::run_with;
use bptt::config::Config;
use bptt::data::Corpus;
use bptt::device::adapter::adapters;
use bptt::device::{Device, Fault, Gpu};
use bptt::error::{Error, Result};
use bptt::run;
use bptt::train::{Advance, Trainer};
use timeless::timeless;

/// Two epochs of five steps, of a text of its own.
fn config(folder: &Path) -> Config {
    let text = folder.join("text");
    std::fs::write(&text, "the lamp is lit at four. ".repeat(10)).unwrap();
    Config {
        data: vec![text],
        valid_fraction: Some(0.2),
        emsize: 4,
        nhid: 8,
        batch_size: 4,
        bptt: 10,
        epochs: 2,
        ..Config::default()
    }
}

fn open() -> Option<Gpu> {
    drop(common::gpu()?);
    Some(Gpu::open(&adapters().swap_remove(0)).unwrap())
}

/// Trains from the beginning to the end, and takes a checkpoint.
fn train(gpu: &mut Gpu, config: &Config, corpus: &Corpus) -> Result<Checkpoint> {
    let mut trainer = Trainer::new(gpu, config, corpus)?;
    loop {
        match trainer.advance(gpu, &mut || false)? {
            Advance::Finished | Advance::Stopped => break,
            Advance::Event(_) | Advance::Save => {}
        }
    }
    trainer.checkpoint(gpu, &corpus.vocabulary)
}

/// What comes of training with each fault of a kind, at its first place, its second, and so on, until
/// there is none left to strike at.
fn every(fault: fn(u64) -> Fault, step: usize, mut is_expected: impl FnMut(&Error) -> bool) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let corpus = Corpus::load(&config.source()).unwrap();
    let mut struck = 0;
    for number in (0..).step_by(step) {
        let Some(mut gpu) = open() else { break };
        gpu.inject(fault(number));
        let trained = train(&mut gpu, &config, &corpus);
        if gpu.is_fault_to_come() {
            trained.unwrap();
            break;
        }
        struck += 1;
        let error = trained.map(drop).unwrap_err();
        assert!(is_expected(&error), "{number}: {error}");
    }
    struck
}

#[test]
fn no_memory_at_any_allocation_is_an_error() {
    let is_expected = |e: &Error| matches!(e, Error::OutOfMemory { .. }) && e.exit_code() == 1;
    let struck = every(Fault::OutOfMemory, 1, is_expected);
    eprintln!("{struck} allocations failed, each in turn");
    assert!(struck >= 20 || open().is_none(), "{struck}");
}

fn is_loss(error: &Error) -> bool {
    matches!(error, Error::DeviceLost { .. }) && error.exit_code() == 3
}

#[test]
fn a_device_lost_at_any_dispatch_is_an_error() {
    let struck = every(Fault::LostAtDispatch, 29, is_loss);
    eprintln!("lost before {struck} dispatches");
    assert!(struck >= 8 || open().is_none(), "{struck}");
}

#[test]
fn a_device_lost_at_any_read_is_an_error() {
    let struck = every(Fault::LostAtRead, 1, is_loss);
    eprintln!("lost at {struck} reads");
    assert!(struck >= 10 || open().is_none(), "{struck}");
}

/// Every dispatch, and every allocation, one by one.
#[test]
#[ignore = "opens a device for each of some 250 dispatches"]
fn a_device_lost_at_every_dispatch_is_an_error() {
    let struck = every(Fault::LostAtDispatch, 1, is_loss);
    eprintln!("lost before {struck} dispatches, each in turn");
    assert!(struck >= 100 || open().is_none(), "{struck}");
}

#[test]
fn a_lost_device_stays_lost() {
    let Some(mut gpu) = open() else { return };
    let mut x = gpu.alloc(bptt::device::Purpose::Scratch, "x", 4).unwrap();
    gpu.write(&mut x, 0, &[1.0; 4]).unwrap();
    assert_eq!(gpu.read(&x).unwrap(), [1.0; 4]);
    gpu.lose();
    for _ in 0..3 {
        let error = gpu.read(&x).unwrap_err();
        assert!(is_loss(&error), "{error}");
    }
    let error = gpu.finish().unwrap_err().to_string();
    assert!(error.contains("--on-device-lost retry"), "{error}");
}

/// Runs `bptt train` into `out`, on GPUs into which `fault` is injected by the number of the opening.
/// Also how often one was opened.
fn run_train(
    folder: &Path,
    out: &str,
    flags: &[&str],
    mut fault: impl FnMut(u32) -> Option<Fault>,
) -> (Result<()>, u32, PathBuf) {
    let text = folder.join("text.txt");
    let lines = (0..40).map(|i| format!("line {i}: the lamp is lit at {}\n", i * i % 13));
    std::fs::write(&text, lines.collect::<String>()).unwrap();
    let run = folder.join(out);
    let (text, path) = (text.display().to_string(), run.display().to_string());
    let given = [
        "bptt",
        "train",
        "--quiet",
        "--device",
        "gpu",
        "--data",
        &text,
        "--out",
        &path,
        "--valid-fraction",
        "0.1",
        "--emsize",
        "4",
        "--nhid",
        "8",
        "--batch-size",
        "4",
        "--bptt",
        "10",
        "--epochs",
        "2",
        "--save-interval",
        "3",
        "--log-interval",
        "2",
        "--optimizer",
        "adam",
    ];
    let mut opened = 0;
    let mut open = |adapter: &wgpu::Adapter, settings| {
        let mut gpu = Gpu::open_with(adapter, settings)?;
        if let Some(fault) = fault(opened) {
            gpu.inject(fault);
        }
        opened += 1;
        Ok(gpu)
    };
    let ended = run_with(&[&given[..], flags].concat(), &mut open).map(drop);
    (ended, opened, run)
}

/// What a run leaves, without what a clock gives.
fn left(run: &Path) -> (Weights, Vec<String>, Vec<PathBuf>) {
    let checkpoint = Checkpoint::read(&run::last_of(run).unwrap()).unwrap();
    let log = run::read_log(run).unwrap().into_iter().map(|event| {
        let event = serde_json::to_string(&event).unwrap();
        timeless(&event).unwrap().to_string()
    });
    let names = run::checkpoints(run).unwrap().into_iter();
    let names = names.map(|path| path.file_name().unwrap().into()).collect();
    (checkpoint.weights, log.collect(), names)
}

const RETRY: &[&str] = &["--on-device-lost", "retry"];

#[test]
fn a_run_that_lost_its_device_ends_as_one_that_never_did() {
    if common::gpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (ended, opened, run) = run_train(folder.path(), "whole", &[], |_| None);
    ended.unwrap();
    assert_eq!(opened, 1);
    let expected = left(&run);
    // Before the first checkpoint, in an epoch, at a read, and three times on end.
    let faults: [(&str, &[Fault]); 4] = [
        ("at first", &[Fault::LostAtRead(0)]),
        ("in a step", &[Fault::LostAtDispatch(130)]),
        ("at a read", &[Fault::LostAtRead(40)]),
        (
            "again and again",
            &[
                Fault::LostAtDispatch(190),
                Fault::LostAtDispatch(20),
                Fault::LostAtRead(2),
            ],
        ),
    ];
    for (name, faults) in faults {
        let fault = |opened: u32| faults.get(opened as usize).copied();
        let (ended, opened, run) = run_train(folder.path(), name, RETRY, fault);
        ended.unwrap();
        assert_eq!(opened as usize, faults.len() + 1, "{name}");
        assert_eq!(left(&run), expected, "{name}");
    }
}

#[test]
fn without_a_retry_training_stops_and_can_be_resumed() {
    if common::gpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (ended, _, whole) = run_train(folder.path(), "whole", &[], |_| None);
    ended.unwrap();
    let at = |_| Some(Fault::LostAtDispatch(170));
    let (ended, opened, run) = run_train(folder.path(), "stopped", &[], at);
    assert!(is_loss(&ended.unwrap_err()));
    assert_eq!(opened, 1);
    // The last checkpoint is whole: its files are those of its list.
    let last = run::last_of(&run).unwrap();
    let step = Checkpoint::read(&last)
        .unwrap()
        .state
        .unwrap()
        .progress
        .step;
    assert!(step > 0);
    let path = run.display().to_string();
    let resume = ["bptt", "train", "--quiet", "--resume", &path];
    run_with(&resume, &mut Gpu::open_with).unwrap();
    assert_eq!(left(&run), left(&whole));
}

#[test]
fn retries_end_where_training_does_not_get_on() {
    if common::gpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |opened| match opened {
        0 => Some(Fault::LostAtDispatch(170)),
        _ => Some(Fault::LostAtDispatch(1)),
    };
    let (ended, opened, run) = run_train(folder.path(), "run", RETRY, at);
    assert!(is_loss(&ended.unwrap_err()));
    assert_eq!(opened, 4);
    Checkpoint::read(&run::last_of(&run).unwrap()).unwrap();
}

/// The comparison above would notice a state that is not restored.
#[test]
fn a_state_that_is_not_restored_is_noticed() {
    let Some(mut gpu) = open() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let corpus = Corpus::load(&config.source()).unwrap();
    let expected = train(&mut gpu, &config, &corpus).unwrap().weights;
    for forget in [false, true] {
        let mut trainer = Trainer::new(&mut gpu, &config, &corpus).unwrap();
        let mut asked = 0;
        let mut stop = || {
            asked += 1;
            asked > 3
        };
        while trainer.advance(&mut gpu, &mut stop).unwrap() != Advance::Stopped {}
        let checkpoint = trainer.checkpoint(&mut gpu, &corpus.vocabulary).unwrap();
        gpu.lose();
        assert!(is_loss(&gpu.finish().unwrap_err()));
        drop(trainer);
        gpu = open().unwrap();
        let mut trainer = Trainer::new(&mut gpu, &config, &corpus).unwrap();
        let path = Path::new("a run");
        trainer.restore(&mut gpu, &checkpoint, path).unwrap();
        if forget {
            trainer.model.rnn.reset_state();
        }
        while trainer.advance(&mut gpu, &mut || false).unwrap() != Advance::Finished {}
        let found = Weights::of(&mut gpu, &trainer.model).unwrap();
        assert_eq!(found == expected, !forget);
    }
}
