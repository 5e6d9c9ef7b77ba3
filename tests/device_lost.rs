//! A GPU that is lost, or has no memory left, at any moment: an error of its kind, and nothing that
//! was saved is harmed; asked to, training goes on as if nothing had been.

mod common;
#[path = "common/timeless.rs"]
mod timeless;

use std::path::{Path, PathBuf};

use bptt::checkpoint::{Checkpoint, Tensors, Weights};
use bptt::cli::run_with;
use bptt::config::Config;
use bptt::data::Corpus;
use bptt::device::adapter::adapters;
use bptt::device::{Device, Fault, Gpu};
use bptt::error::{Error, Result};
use bptt::run;
use bptt::train::{Advance, Trainer};
use common::say::say;
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

/// Runs `bptt train` into `out`, as [`run_on`].
fn run_train(
    folder: &Path,
    out: &str,
    flags: &[&str],
    mut fault: impl FnMut(u32) -> Option<Fault>,
) -> (Result<()>, u32, PathBuf) {
    let text = folder.join("text.txt");
    let lines = (0..10).map(|i| format!("line {i}: the lamp is lit at {}\n", i * i % 13));
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
        "0.2",
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
        "--keep",
        "1000",
    ];
    let (ended, opened) = run_on(&[&given[..], flags].concat(), &mut fault);
    (ended, opened, run)
}

/// Goes on with a run, on a GPU into which `fault` is injected.
fn resume(run: &Path, mut fault: impl FnMut(u32) -> Option<Fault>) -> Result<()> {
    let path = run.display().to_string();
    let arguments = ["bptt", "train", "--quiet", "--resume", &path];
    run_on(&arguments, &mut fault).0
}

/// Runs `bptt` on GPUs into which `fault` is injected by the number of the opening. Also how often one
/// was opened.
fn run_on(arguments: &[&str], fault: &mut dyn FnMut(u32) -> Option<Fault>) -> (Result<()>, u32) {
    let mut opened = 0;
    let mut open = |adapter: &wgpu::Adapter, settings| {
        let mut gpu = Gpu::open_with(adapter, settings)?;
        if let Some(fault) = fault(opened) {
            gpu.inject(fault);
        }
        opened += 1;
        Ok(gpu)
    };
    let ended = run_with(arguments, &mut open).map(drop);
    (ended, opened)
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

/// What a checkpoint holds that was computed.
fn computed(path: &Path) -> Result<(Weights, Tensors), String> {
    let checkpoint = Checkpoint::read(path).map_err(|e| e.to_string())?;
    let state = checkpoint.state.ok_or("no state")?;
    Ok((checkpoint.weights, state.tensors))
}

/// Is each checkpoint of a run whole, and that of the run that lost nothing? How many there are: none,
/// and no folder, of a run that ended before its first one.
fn check_kept(run: &Path, whole: &Path) -> Result<usize, String> {
    if !run.exists() {
        return Ok(0);
    }
    run::last_of(run).map_err(|e| e.to_string())?;
    let checkpoints = run::checkpoints(run).map_err(|e| e.to_string())?;
    for path in &checkpoints {
        let same = whole
            .join("checkpoints")
            .join(path.file_name().unwrap_or_default());
        if computed(path)? != computed(&same)? {
            return Err(format!("{} differs", path.display()));
        }
    }
    Ok(checkpoints.len())
}

/// A run into `out` that loses nothing.
fn run_whole(folder: &Path, out: &str) -> PathBuf {
    let (ended, _, run) = run_train(folder, out, &[], |_| None);
    ended.unwrap();
    run
}

/// A run into `out` that ends, behind its first checkpoint, with the device: it is not opened again.
fn run_stopped(folder: &Path, out: &str) -> PathBuf {
    let at = |_| Some(Fault::LostAtDispatch(170));
    let (ended, opened, run) = run_train(folder, out, &[], at);
    assert!(is_loss(&ended.unwrap_err()));
    assert_eq!(opened, 1);
    run
}

/// What faults came to.
#[derive(Debug, Default)]
struct Tally {
    struck: usize,
    /// Those after which there was a checkpoint.
    kept: usize,
    /// Runs that went on to their end afterwards.
    resumed: usize,
}

/// Trains with each fault of a kind, at its first place, `step` places on, and so on, until training is
/// over: what is left then is the sample, of hundreds of dispatches and reads. After each fault the
/// checkpoints are whole, and every `resumed`-th run goes on to the same end.
fn every(
    fault: fn(u64) -> Fault,
    step: usize,
    resumed: usize,
    is_expected: fn(&Error) -> bool,
) -> Option<Tally> {
    drop(common::gpu()?);
    let folder = tempfile::tempdir().unwrap();
    let whole = run_whole(folder.path(), "whole");
    let expected = left(&whole);
    let mut tally = Tally::default();
    let mut is_over = false;
    for number in (0..).step_by(step) {
        let name = number.to_string();
        let (ended, _, run) = run_train(folder.path(), &name, &[], |_| Some(fault(number)));
        let Err(error) = ended else {
            // Its place is beyond the end.
            assert_eq!(left(&run), expected);
            break;
        };
        assert!(is_expected(&error), "{number}: {error}");
        tally.struck += 1;
        let kept = check_kept(&run, &whole);
        tally.kept += usize::from(kept.unwrap_or_else(|e| panic!("{number}: {e}")) > 0);
        is_over |= run.join(run::SUMMARY).exists();
        if is_over || run.exists() && tally.struck % resumed == 0 {
            resume(&run, |_| None).unwrap();
            assert_eq!(left(&run), expected, "{number}");
            tally.resumed += 1;
        }
        if is_over {
            break;
        }
        std::fs::remove_dir_all(run).unwrap_or_default();
    }
    Some(tally)
}

fn no_memory(error: &Error) -> bool {
    matches!(error, Error::OutOfMemory { .. }) && error.exit_code() == 1
}

fn is_loss(error: &Error) -> bool {
    matches!(error, Error::DeviceLost { .. }) && error.exit_code() == 3
}

/// Says what came of it.
fn tell(what: &str, tally: &Tally) {
    let Tally {
        struck,
        kept,
        resumed,
    } = tally;
    say(&format!(
        "{struck} {what}; the checkpoints were whole after each, {kept} had some; \
         {resumed} went on to the same end"
    ));
}

#[test]
fn no_memory_at_any_allocation_is_an_error() {
    let Some(tally) = every(Fault::OutOfMemory, 1, 1, no_memory) else {
        return;
    };
    tell("allocations failed, each in turn", &tally);
    assert!(tally.struck >= 20, "{tally:?}");
}

/// Allocations come before the first checkpoint, but where a run goes on.
#[test]
fn no_memory_at_any_allocation_of_a_resumed_run_harms_no_checkpoint() {
    if common::gpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let whole = run_whole(folder.path(), "whole");
    let run = run_stopped(folder.path(), "run");
    let mut struck = 0;
    for number in 0.. {
        let Err(error) = resume(&run, |_| Some(Fault::OutOfMemory(number))) else {
            break;
        };
        assert!(no_memory(&error), "{number}: {error}");
        assert!(check_kept(&run, &whole).is_ok_and(|kept| kept > 0));
        struck += 1;
    }
    say(&format!(
        "{struck} allocations of a resumed run failed, each in turn; it went on to the same end"
    ));
    assert!(struck >= 20, "{struck}");
    assert_eq!(left(&run), left(&whole));
}

#[test]
fn a_device_lost_at_any_dispatch_is_an_error() {
    let Some(tally) = every(Fault::LostAtDispatch, 29, 4, is_loss) else {
        return;
    };
    tell("dispatches lost the device", &tally);
    assert!(tally.struck >= 8 && tally.resumed >= 2, "{tally:?}");
}

#[test]
fn a_device_lost_at_any_read_is_an_error() {
    let Some(tally) = every(Fault::LostAtRead, 8, 2, is_loss) else {
        return;
    };
    tell("reads lost the device", &tally);
    assert!(tally.struck >= 10 && tally.resumed >= 2, "{tally:?}");
}

#[test]
#[ignore = "trains once for each of some hundred dispatches, a few minutes"]
fn a_device_lost_at_every_dispatch_is_an_error() {
    let Some(tally) = every(Fault::LostAtDispatch, 1, 10, is_loss) else {
        return;
    };
    tell("dispatches lost the device, each in turn", &tally);
    assert!(tally.struck >= 100, "{tally:?}");
}

/// The check above would notice a checkpoint that is harmed, or is not what was trained.
#[test]
fn a_checkpoint_that_is_harmed_is_noticed() {
    if common::gpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [whole, run] = ["whole", "run"].map(|out| run_whole(folder.path(), out));
    let checkpoints = run::checkpoints(&run).unwrap();
    assert_eq!(check_kept(&run, &whole), Ok(checkpoints.len()));
    let weights = checkpoints[1].join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[1..]).unwrap();
    assert!(check_kept(&run, &whole).unwrap_err().contains("damaged"));
    for entry in std::fs::read_dir(&checkpoints[0]).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), checkpoints[1].join(entry.file_name())).unwrap();
    }
    assert!(check_kept(&run, &whole).unwrap_err().contains("differs"));
}

/// Names the folder of the run that the process below is to train.
const CHILD: &str = "BPTT_TEST_LOSES_ITS_DEVICE";

/// Not a test: what the one below starts, a process that ends as `bptt` does.
#[test]
#[ignore = "the process of another test"]
fn a_process_that_loses_its_device() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let at = |_| Some(Fault::LostAtDispatch(170));
    let (ended, _, _) = run_train(Path::new(&folder), "run", &[], at);
    std::process::exit(ended.map_or_else(|error| i32::from(error.exit_code()), |()| 0));
}

#[test]
fn a_process_that_lost_its_device_ends_with_the_exit_code_3() {
    if common::gpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut process = std::process::Command::new(std::env::current_exe().unwrap());
    let test = ["--ignored", "--exact", "a_process_that_loses_its_device"];
    let output = process
        .args(test)
        .env(CHILD, folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    // Another process goes on from what it left.
    let run = folder.path().join("run");
    let whole = run_whole(folder.path(), "whole");
    assert!(check_kept(&run, &whole).is_ok_and(|kept| kept > 0));
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_bptt"))
        .args(["train", "--quiet", "--resume"])
        .arg(&run)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(left(&run), left(&whole));
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
    let whole = run_whole(folder.path(), "whole");
    let run = run_stopped(folder.path(), "stopped");
    // The last checkpoint is whole: its files are those of its list.
    let last = run::last_of(&run).unwrap();
    let step = Checkpoint::read(&last)
        .unwrap()
        .state
        .unwrap()
        .progress
        .step;
    assert!(step > 0);
    resume(&run, |_| None).unwrap();
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
