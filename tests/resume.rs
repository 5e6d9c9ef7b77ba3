//! A run that was stopped and goes on ends as one that never stopped, bit for bit: weights, log,
//! samples.

mod common;
#[path = "common/timeless.rs"]
mod timeless;

use std::path::Path;

use bptt::checkpoint::{Checkpoint, Weights};
use bptt::config::{Config, LrSchedule, OptimizerChoice};
use bptt::data::{Corpus, TokenIds};
use bptt::device::{Cpu, Device as _, Purpose};
use bptt::generate::{Generator, Sampling};
use bptt::model::RnnLm;
use bptt::ops::{Choice, Ops};
use bptt::train::{Advance, State, Trainer, plan};
use clap::Parser;
use timeless::timeless;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

/// Two epochs of 43 steps; lines of the log, validations and checkpoints fall on different steps.
const SETTINGS: &[&str] = &[
    "bptt",
    "--emsize",
    "8",
    "--nhid",
    "16",
    "--batch-size",
    "25",
    "--bptt",
    "40",
    "--epochs",
    "2",
    "--optimizer",
    "adamw",
    "--lr-schedule",
    "cosine",
    "--warmup",
    "12",
    "--log-interval",
    "4",
    "--eval-interval",
    "15",
    "--save-interval",
    "5",
];
const STEPS: u64 = 86;
/// The windows of an epoch.
const WINDOWS: usize = STEPS as usize / 2;

/// How often `stop` is asked before it says so: before every step, and after each of the four
/// windows of a validation. Before the first step, in the middle of an epoch and of a line of the
/// log, in a validation in the middle of an epoch and in one at its end, after one, near the end.
const STOPS: &[usize] = &[0, 7, 17, 55, 62, 102];

fn config() -> Config {
    Arguments::try_parse_from(SETTINGS).unwrap().config
}

/// What a run leaves: weights, what it told, a sample.
#[derive(Debug, PartialEq)]
struct Outcome {
    weights: Weights,
    events: Vec<String>,
    sample: Vec<u32>,
}

/// Trains until `stop` has been asked so often, or to the end; what it told is added to `events`.
fn train<O: Ops<Elem = f32>>(
    ops: &mut O,
    trainer: &mut Trainer<'_, O>,
    mut asked: usize,
    events: &mut Vec<String>,
) -> Advance {
    let mut stop = || match asked {
        0 => true,
        _ => {
            asked -= 1;
            false
        }
    };
    loop {
        match trainer.advance(ops, &mut stop).unwrap() {
            Advance::Event(event) => {
                let event = serde_json::to_string(&event).unwrap();
                events.push(timeless(&event).unwrap().to_string());
            }
            Advance::Save => {}
            end => return end,
        }
    }
}

fn outcome<O: Ops<Elem = f32>>(
    ops: &mut O,
    trainer: &mut Trainer<'_, O>,
    corpus: &Corpus,
    events: Vec<String>,
) -> Outcome {
    let checkpoint = trainer.checkpoint(ops, &corpus.vocabulary).unwrap();
    let sampling = Sampling {
        choice: Choice {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
        },
        seed: 1,
    };
    let mut generator = Generator::new(ops, &checkpoint, &[], 1, sampling).unwrap();
    let sample = (0..20).map(|_| generator.next_tokens(ops).unwrap()[0]);
    Outcome {
        sample: sample.collect(),
        weights: checkpoint.weights,
        events,
    }
}

fn never_stopped<O: Ops<Elem = f32>>(ops: &mut O, corpus: &Corpus) -> Outcome {
    let mut events = Vec::new();
    let mut trainer = Trainer::new(ops, &config(), corpus).unwrap();
    let end = train(ops, &mut trainer, usize::MAX, &mut events);
    assert_eq!((end, trainer.progress().step), (Advance::Finished, STEPS));
    outcome(ops, &mut trainer, corpus, events)
}

/// A run that stops, is saved, read again by another trainer after `spoil` has had its way, and
/// goes on to the end.
fn stopped<O: Ops<Elem = f32>>(
    ops: &mut O,
    corpus: &Corpus,
    asked: usize,
    spoil: impl FnOnce(&mut State),
) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let mut events = Vec::new();
    let mut trainer = Trainer::new(ops, &config(), corpus).unwrap();
    let end = train(ops, &mut trainer, asked, &mut events);
    assert_eq!(end, Advance::Stopped);
    let checkpoint = trainer.checkpoint(ops, &corpus.vocabulary).unwrap();
    checkpoint.write(&path).unwrap();
    let mut checkpoint = Checkpoint::read(&path).unwrap();
    spoil(checkpoint.state.as_mut().unwrap());
    let mut trainer = Trainer::new(ops, &config(), corpus).unwrap();
    trainer.restore(ops, &checkpoint, &path).unwrap();
    let end = train(ops, &mut trainer, usize::MAX, &mut events);
    assert_eq!((end, trainer.progress().step), (Advance::Finished, STEPS));
    outcome(ops, &mut trainer, corpus, events)
}

/// The embedded text.
fn corpus() -> Corpus {
    Corpus::load(&config().source()).unwrap()
}

fn resumes_exactly<O: Ops<Elem = f32>>(ops: &mut O) {
    let corpus = corpus();
    let expected = never_stopped(ops, &corpus);
    for &asked in STOPS {
        let found = stopped(ops, &corpus, asked, |_| {});
        assert_eq!(found, expected, "stopped when asked {asked} times");
    }
}

#[test]
fn a_stopped_run_ends_as_one_that_never_stopped_on_the_cpu() {
    resumes_exactly(&mut Cpu::<f32>::new());
}

#[test]
fn a_stopped_run_ends_as_one_that_never_stopped_on_the_gpu() {
    if let Some(mut gpu) = common::gpu() {
        resumes_exactly(&mut *gpu);
    }
}

/// Makes one thing of a checkpoint wrong.
type Spoil = fn(&mut State);

/// Each thing that a checkpoint holds is missed when it is wrong.
#[test]
fn a_wrong_state_is_noticed() {
    let cpu = &mut Cpu::<f32>::new();
    let corpus = corpus();
    let expected = never_stopped(cpu, &corpus);
    let spoils: [(&str, Spoil); 9] = [
        ("the hidden state", |state| {
            let (_, hidden) = state.tensors.get_mut("hidden").unwrap();
            hidden[3] = f32::from_bits(hidden[3].to_bits() ^ 1);
        }),
        ("a mean of gradients", |state| {
            state.tensors.get_mut("exp_avg.Wh").unwrap().1[3] *= 1.01;
        }),
        ("a mean of squares", |state| {
            state.tensors.get_mut("exp_avg_sq.ba").unwrap().1[3] *= 1.01;
        }),
        ("a missing mean", |state| {
            state.tensors.remove("exp_avg.b").unwrap();
        }),
        ("the rate", |state| state.progress.schedule.scale = 0.5),
        ("losses on the device", |state| {
            state.progress.loss_on_device += 1e-3;
        }),
        ("losses of the epoch", |state| {
            state.progress.epoch_loss.0 += 1e-3;
        }),
        ("losses taken", |state| state.progress.taken -= 1),
        ("the position", |state| state.progress.window -= 1),
    ];
    for (what, spoil) in spoils {
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            stopped(&mut *cpu, &corpus, 23, spoil)
        }));
        assert_ne!(found.ok().as_ref(), Some(&expected), "{what}");
    }
}

/// The rate of each line of the log, and the epochs that were begun.
fn rates<O: Ops<Elem = f32>>(
    ops: &mut O,
    trainer: &mut Trainer<'_, O>,
    asked: usize,
) -> (Vec<f64>, usize) {
    let mut events = Vec::new();
    train(ops, trainer, asked, &mut events);
    let lines = events.iter().map(|e| serde_json::from_str(e).unwrap());
    let rates = lines.filter_map(|line: serde_json::Value| line["lr"].as_f64());
    (rates.collect(), trainer.progress().epoch)
}

/// At a rate of next to nothing the loss stays what it is, and the first is the best: two epochs
/// later the rate is reduced, and again; after five training ends.
#[test]
fn a_plateau_reduces_the_rate_and_ends_training_also_after_a_stop() {
    let cpu = &mut Cpu::<f32>::new();
    let corpus = corpus();
    let mut config = config();
    config.lr_schedule = LrSchedule::Plateau;
    config.optimizer = OptimizerChoice::Sgd;
    (config.lr, config.lr_decay, config.lr_patience) = (1e-30, 0.25, Some(2));
    (config.epochs, config.early_stop, config.warmup) = (9, Some(5), 0);
    (config.log_interval, config.eval_interval) = (WINDOWS, 0);
    let expected = [1.0, 1.0, 1.0, 0.25, 0.25, 0.0625].map(|factor| config.lr * factor);
    let mut trainer = Trainer::new(cpu, &config, &corpus).unwrap();
    let (found, epochs) = rates(cpu, &mut trainer, usize::MAX);
    assert_eq!((found.as_slice(), epochs), (&expected[..], 6));
    assert!(trainer.is_stopped_early());

    let mut trainer = Trainer::new(cpu, &config, &corpus).unwrap();
    let (mut found, _) = rates(cpu, &mut trainer, 100);
    let checkpoint = trainer.checkpoint(cpu, &corpus.vocabulary).unwrap();
    let mut trainer = Trainer::new(cpu, &config, &corpus).unwrap();
    trainer
        .restore(cpu, &checkpoint, Path::new("a run"))
        .unwrap();
    let (rest, epochs) = rates(cpu, &mut trainer, usize::MAX);
    assert!(!found.is_empty() && !rest.is_empty());
    found.extend(rest);
    assert_eq!((found.as_slice(), epochs), (&expected[..], 6));
}

/// A step is then five windows, the last of an epoch fewer; it is stopped between two of them only.
#[test]
fn a_run_that_averages_gradients_goes_on_after_a_stop() {
    let mut config = config();
    (config.accumulate, config.eval_interval) = (5, 0);
    goes_on_after_a_stop(&config, 18, [3, 8], |_, _| ());
}

/// They begin unlike, or one could stand for the other.
#[test]
fn a_run_with_two_biases_goes_on_after_a_stop() {
    let mut config = config();
    (config.rnn_biases, config.eval_interval) = (2, 0);
    let biases = |cpu: &mut Cpu<f32>, model: &mut RnnLm<_>| {
        let bh = model.parameters_mut().find(|p| p.name == "bh").unwrap();
        let values: Vec<f32> = (0..bh.len()).map(|i| i as f32 / 16.0 - 0.5).collect();
        cpu.write(&mut bh.value, 0, &values).unwrap();
    };
    goes_on_after_a_stop(&config, STEPS, [7, 30], biases);
}

/// `begin` has the weights that a run of `steps` steps begins with. It is stopped after as many as
/// `stops` say.
fn goes_on_after_a_stop(
    config: &Config,
    steps: u64,
    stops: [usize; 2],
    begin: impl Fn(&mut Cpu<f32>, &mut RnnLm<Cpu<f32>>),
) {
    let cpu = &mut Cpu::<f32>::new();
    let corpus = corpus();
    let mut trainer = Trainer::new(cpu, config, &corpus).unwrap();
    begin(cpu, &mut trainer.model);
    assert_eq!(trainer.total_steps(), steps);
    let mut expected = Vec::new();
    train(cpu, &mut trainer, usize::MAX, &mut expected);
    assert_eq!(trainer.progress().step, steps);
    let weights = Weights::of(cpu, &trainer.model).unwrap();

    for asked in stops {
        let mut events = Vec::new();
        let mut trainer = Trainer::new(cpu, config, &corpus).unwrap();
        begin(cpu, &mut trainer.model);
        train(cpu, &mut trainer, asked, &mut events);
        assert_eq!(trainer.progress().window, config.accumulate * asked);
        let checkpoint = trainer.checkpoint(cpu, &corpus.vocabulary).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        checkpoint.write(&path).unwrap();
        let checkpoint = Checkpoint::read(&path).unwrap();
        let mut trainer = Trainer::new(cpu, config, &corpus).unwrap();
        trainer.restore(cpu, &checkpoint, &path).unwrap();
        train(cpu, &mut trainer, usize::MAX, &mut events);
        assert_eq!(events, expected);
        assert_eq!(Weights::of(cpu, &trainer.model).unwrap(), weights);
    }
}

/// More memory is planned for a state than for none.
#[test]
fn the_plan_has_the_optimizer_s_state() {
    let mut config = config();
    let of = |config: &Config| plan(config, 30).unwrap();
    let weights = of(&config).bytes[&Purpose::Weights];
    assert_eq!(of(&config).bytes[&Purpose::Optimizer], 2 * weights);
    config.optimizer = OptimizerChoice::Sgd;
    assert!(!of(&config).bytes.contains_key(&Purpose::Optimizer));
    assert_eq!(of(&config).bytes[&Purpose::Gradients], weights);
    config.accumulate = 2;
    assert_eq!(of(&config).bytes[&Purpose::Gradients], 2 * weights);
}

#[test]
fn a_checkpoint_of_another_text_is_refused() {
    let cpu = &mut Cpu::<f32>::new();
    let mut corpus = corpus();
    let mut trainer = Trainer::new(cpu, &config(), &corpus).unwrap();
    let checkpoint = trainer.checkpoint(cpu, &corpus.vocabulary).unwrap();
    let TokenIds::Memory(ids) = &mut corpus.train.ids else {
        panic!("a short text is in memory");
    };
    ids[100] ^= 1;
    let mut trainer = Trainer::new(cpu, &config(), &corpus).unwrap();
    let error = trainer.restore(cpu, &checkpoint, Path::new("a run"));
    let error = error.unwrap_err().to_string();
    assert_eq!(
        error,
        "a run: the text is not the one that it was trained on"
    );
}
