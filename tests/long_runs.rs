//! A long run takes no more memory, device memory or open files at its end than at its beginning. A
//! process of its own: it is what is measured.
#![cfg(target_os = "linux")]

mod common;

use std::fs;

use bptt::checkpoint::NewFolder;
use bptt::config::Config;
use bptt::data::Corpus;
use bptt::device::{Cpu, Device as _, Gpu};
use bptt::ops::Ops;
use bptt::run::Run;
use bptt::train::{Advance, Trainer};
use common::gpu;

/// Steps of an epoch with the text and the sizes below.
const EPOCH: u64 = 50;
/// Readings of a run.
const READINGS: u64 = 10;
/// Steps of the short form.
const SHORT: u64 = 4_000;
/// Bytes that memory may vary by from reading to reading, whatever is between: what the allocator keeps
/// for later, and the pages of a checkpoint or a line that is being written.
const SLACK: u64 = 64 << 10;
/// Bytes a step that it may grow by in the short form, and no further in the long one: less than a line of
/// the log.
const SLACK_A_STEP: u64 = 50;

/// What a process holds at one time.
#[derive(Debug, Clone, Copy)]
struct Reading {
    step: u64,
    memory: u64,
    device: u64,
    files: usize,
}

/// Bytes of memory that are the process's own, page by page: what `status` says is off by some dozens of
/// pages since Linux 6.2.
fn own_memory() -> u64 {
    let pages = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = pages.lines().find(|line| line.starts_with("Anonymous:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    1024 * kib.parse::<u64>().unwrap()
}

fn reading(step: u64, device: u64) -> Reading {
    Reading {
        step,
        memory: own_memory(),
        device,
        files: fs::read_dir("/proc/self/fd").unwrap().count(),
    }
}

/// Trains for so many steps as the command does: a line of the log every step, a validation and a
/// checkpoint every epoch. `leak` bytes a step are not given back.
fn train<O: Ops<Elem = f32>>(
    ops: &mut O,
    steps: u64,
    leak: usize,
    device_bytes: impl Fn(&O) -> u64,
) -> Vec<Reading> {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.txt");
    // 50 windows of 4 streams by 8 steps, and as long a validation part as a stream needs.
    fs::write(&text, "the lamp is lit. ".repeat(105)).unwrap();
    let config = Config {
        data: vec![text],
        valid_fraction: Some(0.1),
        emsize: 8,
        nhid: 16,
        batch_size: 4,
        bptt: 8,
        log_interval: 1,
        epochs: steps.div_ceil(EPOCH) as usize,
        ..Config::default()
    };
    let corpus = Corpus::load(&config.source()).unwrap();
    let mut trainer = Trainer::new(ops, &config, &corpus).unwrap();
    assert_eq!(trainer.total_steps() % EPOCH, 0);
    let first = trainer.checkpoint(ops, &corpus.vocabulary).unwrap();
    let mut run = Run::create(
        NewFolder::prepare(&folder.path().join("run")).unwrap(),
        first,
    )
    .unwrap();
    let mut readings = Vec::new();
    loop {
        match trainer.advance(ops, &mut || false).unwrap() {
            Advance::Event(event) => {
                run.log(&event).unwrap();
                std::hint::black_box(vec![1u8; leak].leak());
            }
            Advance::Save => {
                run.save(trainer.checkpoint(ops, &corpus.vocabulary).unwrap())
                    .unwrap();
                let step = trainer.progress().step;
                if step >= (readings.len() as u64 + 1) * steps / READINGS {
                    readings.push(reading(step, device_bytes(ops)));
                }
            }
            Advance::Stopped | Advance::Finished => return readings,
        }
    }
}

fn print(device: &str, readings: &[Reading]) {
    eprintln!("{device}\n    step  memory KiB  device KiB  open files");
    for r in readings {
        let (memory, device) = (r.memory / 1024, r.device / 1024);
        eprintln!("{:>8} {memory:>11} {device:>11} {:>11}", r.step, r.files);
    }
}

/// Are all readings alike? Else what is not.
fn check_flat(readings: &[Reading]) -> Result<(), String> {
    let first = readings.first().ok_or("no reading")?;
    for r in readings {
        let steps = (r.step - first.step).min(SHORT);
        if r.memory > first.memory + SLACK + SLACK_A_STEP * steps {
            return Err(format!("memory grew: {first:?} became {r:?}"));
        }
        if (r.device, r.files) != (first.device, first.files) {
            return Err(format!("{first:?} became {r:?}"));
        }
    }
    Ok(())
}

fn long_run(steps: u64) {
    let mut cpu = Cpu::<f32>::new();
    let readings = train(&mut cpu, steps, 0, |_| 0);
    print(&cpu.describe(), &readings);
    assert_eq!(readings.len() as u64, READINGS);
    check_flat(&readings).unwrap();
    let Some(mut gpu) = gpu() else { return };
    let allocated = |gpu: &Gpu| gpu.allocated_bytes().expect("a backend that counts them");
    let readings = train(&mut *gpu, steps, 0, allocated);
    print(&gpu.describe(), &readings);
    assert_eq!(readings.len() as u64, READINGS);
    check_flat(&readings).unwrap();
}

/// One test after the other: they are the same process.
#[test]
fn a_run_of_some_thousand_steps_is_flat_and_a_leak_of_1000_bytes_a_step_is_noticed() {
    // First: what runs before it gives back hides a leak for a while. So do the buffers of products, as
    // large as the processor's caches allow: one of 100 bytes a step, for all of the short form.
    let readings = train(&mut Cpu::<f32>::new(), SHORT, 1000, |_| 0);
    print("with a leak", &readings);
    let noticed = check_flat(&readings).unwrap_err();
    assert!(noticed.contains("memory grew"), "{noticed}");
    long_run(SHORT);
}

#[test]
#[ignore = "takes minutes"]
fn a_run_of_a_hundred_thousand_steps_is_flat() {
    long_run(100_000);
}

#[test]
fn what_grows_is_noticed() {
    let flat = Reading {
        step: 1,
        memory: 5 << 20,
        device: 1 << 20,
        files: 10,
    };
    let grown = [
        Reading {
            memory: flat.memory + SLACK + 1,
            ..flat
        },
        Reading {
            device: flat.device + 4,
            ..flat
        },
        Reading { files: 11, ..flat },
    ];
    assert!(check_flat(&[flat, flat]).is_ok() && check_flat(&[]).is_err());
    for grown in grown {
        assert!(check_flat(&[flat, grown]).is_err(), "{grown:?}");
    }
}
