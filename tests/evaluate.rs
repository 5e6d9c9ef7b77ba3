//! Evaluation scores every token once, alike for every window, and nearly alike for several streams;
//! generation reads a prompt as evaluation reads a text, and the same seed gives the same tokens.

mod common;

use std::collections::BTreeMap;

use bptt::checkpoint::{Checkpoint, Weights};
use bptt::config::Config;
use bptt::data::{Corpus, Tokenizer, Vocabulary};
use bptt::device::{Cpu, Device};
use bptt::evaluate::{Dynamic, Learner, Settings, surprisals};
use bptt::generate::{Generator, Sampling};
use bptt::model::RnnLm;
use bptt::ops::{Choice, Ops};
use bptt::parity::bounds::{TANH_RELATIVE, U, exp_relative, gamma, log_absolute};
use bptt::train::{Advance, Trainer};
use clap::Parser;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

fn config(more: &[&str]) -> Config {
    let base = ["bptt", "--emsize", "8", "--nhid", "16", "--epochs", "2"];
    Arguments::try_parse_from([&base, more].concat())
        .unwrap()
        .config
}

/// A model that has learned some of the embedded text.
fn trained(corpus: &Corpus) -> Checkpoint {
    let mut cpu = Cpu::<f32>::new();
    let mut trainer = Trainer::new(&mut cpu, &config(&[]), corpus).unwrap();
    while trainer.advance(&mut cpu, &mut || false).unwrap() != Advance::Finished {}
    trainer.checkpoint(&mut cpu, &corpus.vocabulary).unwrap()
}

fn embedded() -> Corpus {
    Corpus::load(&config(&[]).source()).unwrap()
}

const PLAIN: Settings = Settings {
    time_steps: 64,
    streams: 1,
    overlap: 0,
    dynamic: None,
};

fn nats<O: Ops<Elem = f32>>(
    ops: &mut O,
    checkpoint: &Checkpoint,
    ids: &[u32],
    settings: Settings,
) -> Vec<f32> {
    surprisals(ops, checkpoint, ids, &settings).unwrap()
}

fn mean(nats: &[f32]) -> f64 {
    nats.iter().map(|&x| f64::from(x)).sum::<f64>() / nats.len() as f64
}

/// An untrained model whose recurrence contracts: ‖Wh‖ is at most 1/2.
fn contracting() -> Checkpoint {
    let config = config(&[]);
    let vocabulary = Tokenizer::from(Vocabulary::of_characters("\nabcdefghij"));
    let size = config.model_size(vocabulary.len());
    let mut cpu = Cpu::<f32>::new();
    let mut model = RnnLm::new(&mut cpu, size, true).unwrap();
    model.init(&mut cpu, 5).unwrap();
    for parameter in model.parameters_mut() {
        let norm = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>().sqrt();
        let values = parameter.value.as_slice().to_vec();
        // E is drawn a hundred times smaller than the others.
        let scale = match parameter.name {
            "E" => 100.0,
            "Wh" => 0.5 / norm(&values),
            _ => 1.0,
        };
        let scaled: Vec<f32> = values.iter().map(|x| x * scale).collect();
        cpu.write(&mut parameter.value, 0, &scaled).unwrap();
    }
    Checkpoint {
        weights: Weights::of(&mut cpu, &model).unwrap(),
        config,
        vocabulary,
        state: None,
    }
}

/// What roundings may change a surprisal of [`contracting`] by, in whatever order sums are taken.
///
/// |h| ≤ 1. A unit of z sums D + H + 1 terms, which is off by at most γ times their magnitudes; tanh
/// errs by its own share, and its slope is at most 1. A state's error, in the norm, is then at most
/// `local` a step and half of that of the step before, so 2·`local` in all. A logit is off by
/// ‖Wa‖ times that and by its own sum, and the surprisal by twice the logits' error and what
/// log Σ exp adds.
fn bound(checkpoint: &Checkpoint) -> f64 {
    let (d, h, v) = (8, 16, checkpoint.vocabulary.len());
    let weights: BTreeMap<_, _> = checkpoint.weights.iter().collect();
    // The largest magnitude in each column; the largest sum of a column's, weighted by row.
    let column = |name: &str, cols: usize, c: usize| {
        let column = weights[name].iter().skip(c).step_by(cols);
        column.map(|x| f64::from(x.abs())).collect::<Vec<f64>>()
    };
    let embedding: Vec<f64> = (0..d)
        .map(|c| column("E", d, c).into_iter().fold(0.0, f64::max))
        .collect();
    let largest_sum = |name: &str, cols: usize, rows: &[f64]| {
        let sum = |c| -> f64 {
            column(name, cols, c)
                .iter()
                .zip(rows)
                .map(|(w, x)| w * x)
                .sum()
        };
        (0..cols).map(sum).fold(0.0, f64::max)
    };
    let terms = largest_sum("Wx", h, &embedding) + largest_sum("Wh", h, &[1.0; 16]);
    let logit = largest_sum("Wa", v, &[1.0; 16]);
    let squares = weights["Wa"].iter().map(|&x| f64::from(x).powi(2));
    let local = (h as f64).sqrt() * (gamma(d + h + 1) * terms + TANH_RELATIVE);
    let logit_error = squares.sum::<f64>().sqrt() * 2.0 * local + gamma(h + 1) * logit;
    // As parity's bound of the op: exponentials, rescalings of a running sum, sum and logarithm.
    let range = 2.0 * logit;
    let sum = 2.0 * exp_relative(range) + v as f64 * 7.0 * U + gamma(v);
    let log_sum = sum + log_absolute(1.0) + log_absolute(v as f64) + 4.0 * U * range;
    2.0 * logit_error + log_sum
}

#[test]
fn windows_of_any_length_give_the_same_surprisals() {
    let checkpoint = contracting();
    let ids: Vec<u32> = (0..500).map(|i| (i * i + i / 7) % 11).collect();
    // The difference of two that are each within the bound.
    let bound = 2.0 * bound(&checkpoint);
    let of = |time_steps| {
        let settings = Settings {
            time_steps,
            ..PLAIN
        };
        nats(&mut Cpu::<f32>::new(), &checkpoint, &ids, settings)
    };
    let whole = of(500);
    assert_eq!(whole.len(), ids.len());
    let differences = |other: &[f32]| {
        let pairs = whole.iter().zip(other);
        pairs
            .map(|(a, b)| f64::from((a - b).abs()))
            .fold(0.0, f64::max)
    };
    for time_steps in [1, 7, 64] {
        let difference = differences(&of(time_steps));
        assert!(difference <= bound, "T={time_steps}: {difference} {bound}");
    }
    // A state that is not carried over is more than rounding.
    let halves = [&ids[..250], &ids[250..]].map(|ids| {
        let settings = Settings {
            time_steps: 250,
            ..PLAIN
        };
        nats(&mut Cpu::<f32>::new(), &checkpoint, ids, settings)
    });
    assert!(differences(&halves.concat()) > 10.0 * bound);
    if let Some(mut gpu) = common::gpu() {
        let settings = Settings {
            time_steps: 64,
            ..PLAIN
        };
        let difference = differences(&nats(&mut *gpu, &checkpoint, &ids, settings));
        assert!(difference <= bound, "GPU: {difference} {bound}");
    }
}

#[test]
fn streams_with_an_overlap_forget_where_they_began() {
    let corpus = embedded();
    let checkpoint = trained(&corpus);
    let ids = &corpus.valid.ids.view().to_vec();
    let mut cpu = Cpu::<f32>::new();
    let one = mean(&nats(&mut cpu, &checkpoint, ids, PLAIN));
    let mut off = |overlap| {
        let settings = Settings {
            streams: 20,
            overlap,
            ..PLAIN
        };
        (mean(&nats(&mut cpu, &checkpoint, ids, settings)) - one).abs()
    };
    let (without, with) = (off(0), off(256));
    assert!(with < 1e-6, "{with}");
    assert!(without > 1e-4, "{without}");
}

#[test]
fn dynamic_evaluation_learns_a_text_unlike_the_one_trained_on() {
    let corpus = embedded();
    let checkpoint = trained(&corpus);
    // The same letters, the words backwards.
    let shifted: Vec<u32> = corpus.valid.ids.view().to_vec().into_iter().rev().collect();
    let mut cpu = Cpu::<f32>::new();
    let mut of = |rate: Option<f64>| {
        let dynamic = rate.map(|rate| Dynamic {
            rate,
            decay: 0.0,
            max_norm: Some(2.0),
        });
        let settings = Settings {
            time_steps: 20,
            dynamic,
            ..PLAIN
        };
        nats(&mut cpu, &checkpoint, &shifted, settings)
    };
    let plain = of(None);
    assert_eq!(of(Some(0.0)), plain);
    let (plain, dynamic) = (mean(&plain), mean(&of(Some(0.1))));
    assert!(dynamic < plain - 0.1, "{dynamic} {plain}");
    let settings = Settings {
        streams: 2,
        dynamic: Some(Dynamic {
            rate: 0.1,
            decay: 0.0,
            max_norm: None,
        }),
        ..PLAIN
    };
    let error = surprisals(&mut cpu, &checkpoint, &shifted, &settings).unwrap_err();
    assert!(error.to_string().contains("1 with --dynamic"), "{error}");
    let settings = Settings {
        streams: 1,
        dynamic: Some(Dynamic {
            rate: 1e30,
            decay: 0.0,
            max_norm: None,
        }),
        ..PLAIN
    };
    let error = surprisals(&mut cpu, &checkpoint, &shifted, &settings).unwrap_err();
    assert!(error.to_string().starts_with("dynamic-lr = "), "{error}");
}

/// The largest error of three steps of dynamic evaluation, as a share of the bound: what f32's roundings
/// may change of θ − η·∇L + λ·(θ₀ − θ), of which the two products with λ, their difference, the product
/// with η, and two sums are rounded. `lambda` is what is expected of a learner that has `decay`.
fn error_of_steps<O: Ops<Elem = f32>>(ops: &mut O, decay: f64, lambda: f64) -> f64 {
    let checkpoint = contracting();
    let mut model = checkpoint.model(ops, 2, 3, None).unwrap();
    let rate = f64::from(0.3f32);
    let dynamic = Dynamic {
        rate,
        decay,
        max_norm: None,
    };
    let mut learner = Learner::new(ops, &model, dynamic).unwrap();
    let values = |ops: &mut O, model: &RnnLm<O>| {
        let parameters = model.parameters();
        let of = |t: &O::Tensor, ops: &mut O| ops.read(t).unwrap();
        let both = parameters.map(|p| (of(&p.value, ops), of(&p.gradient, ops)));
        let (values, gradients): (Vec<_>, Vec<_>) = both.unzip();
        (values.concat(), gradients.concat())
    };
    let (trained, _) = values(ops, &model);
    let mut worst = 0.0f64;
    for step in 0..3 {
        let ids = |first: u32| [0, 1, 2, 3, 4, 5].map(|i| (first + i * i) % 11);
        model.forward(ops, &ids(step), &ids(step + 4)).unwrap();
        model.backward(ops).unwrap();
        let (before, gradients) = values(ops, &model);
        learner.step(ops, &mut model).unwrap();
        let (after, _) = values(ops, &model);
        for ((before, gradient), (trained, after)) in before
            .iter()
            .zip(&gradients)
            .zip(trained.iter().zip(&after))
        {
            let [w, g, w0, found] = [before, gradient, trained, after].map(|x| f64::from(*x));
            let expected = w - rate * g + lambda * (w0 - w);
            let magnitude = w.abs() + rate * g.abs() + lambda * (w0.abs() + w.abs());
            let bound = gamma(6) * magnitude + f64::from(f32::MIN_POSITIVE);
            worst = worst.max((found - expected).abs() / bound);
        }
    }
    worst
}

#[test]
fn dynamic_evaluation_steps_as_the_formula_says() {
    let mut cpu = Cpu::<f32>::new();
    let lambda = f64::from(0.02f32);
    for decay in [0.0, lambda, 1.0] {
        let error = error_of_steps(&mut cpu, decay, decay);
        assert!(error <= 1.0, "{decay}: {error}");
    }
    // Another λ would be noticed.
    assert!(error_of_steps(&mut cpu, 0.0, lambda) > 10.0);
    assert!(error_of_steps(&mut cpu, lambda, 0.0) > 10.0);
    if let Some(mut gpu) = common::gpu() {
        let error = error_of_steps(&mut *gpu, lambda, lambda);
        assert!(error <= 1.0, "{error}");
        assert!(error_of_steps(&mut *gpu, lambda, 0.0) > 10.0);
    }
}

#[test]
fn decay_keeps_dynamic_evaluation_near_what_was_trained() {
    let corpus = embedded();
    let checkpoint = trained(&corpus);
    let ids = &corpus.valid.ids.view().to_vec()[..2000];
    let mut cpu = Cpu::<f32>::new();
    let mut of = |rate: f64, decay: f64| {
        let dynamic = Some(Dynamic {
            rate,
            decay,
            max_norm: Some(2.0),
        });
        let settings = Settings {
            time_steps: 20,
            dynamic,
            ..PLAIN
        };
        mean(&nats(&mut cpu, &checkpoint, ids, settings))
    };
    // Without a rate there is nothing to come back from, but for roundings.
    let plain = of(0.0, 0.0);
    assert!((of(0.0, 0.1) - plain).abs() < 1e-5);
    // All the way back before each step: no further from the trained model than a single step.
    let [free, held] = [0.0, 1.0].map(|decay| (of(0.1, decay) - plain).abs());
    assert!(0.0 < held && 2.0 * held < free, "{held} {free}");
}

fn sampling(temperature: f32, seed: u64) -> Sampling {
    Sampling {
        choice: Choice {
            temperature,
            top_k: 0,
            top_p: 1.0,
        },
        seed,
    }
}

/// Forty tokens of each of `samples` texts.
fn generated<O: Ops<Elem = f32>>(
    ops: &mut O,
    checkpoint: &Checkpoint,
    prompt: &[u32],
    samples: usize,
    sampling: Sampling,
) -> Vec<Vec<u32>> {
    let mut generator = Generator::new(ops, checkpoint, prompt, samples, sampling).unwrap();
    let mut texts = vec![Vec::new(); samples];
    for _ in 0..40 {
        let tokens = generator.next_tokens(ops).unwrap();
        texts
            .iter_mut()
            .zip(tokens)
            .for_each(|(text, &token)| text.push(token));
    }
    texts
}

fn check_generation<O: Ops<Elem = f32>>(ops: &mut O, checkpoint: &Checkpoint, prompt: &[u32]) {
    let warm = sampling(1.0, 3);
    let texts = generated(ops, checkpoint, prompt, 3, warm);
    assert_eq!(texts, generated(ops, checkpoint, prompt, 3, warm));
    assert_ne!(
        texts,
        generated(ops, checkpoint, prompt, 3, sampling(1.0, 4))
    );
    assert!(texts[0] != texts[1] && texts[1] != texts[2]);
    let likeliest = generated(ops, checkpoint, prompt, 2, sampling(0.0, 3));
    assert_eq!(likeliest[0], likeliest[1]);
    // What the model itself has chosen as the likeliest costs less than what it might have chosen.
    let cost = |ops: &mut O, text: &[u32]| {
        let whole = [prompt, text].concat();
        mean(&nats(ops, checkpoint, &whole, PLAIN)[prompt.len()..])
    };
    assert!(cost(ops, &likeliest[0]) < cost(ops, &texts[0]));
    // Each of the likeliest costs at most ln V, being at least as likely as the mean.
    let whole = [prompt, &likeliest[0]].concat();
    let costs = nats(ops, checkpoint, &whole, PLAIN);
    let guess = (checkpoint.vocabulary.len() as f32).ln();
    assert!(costs[prompt.len()..].iter().all(|&nats| nats < guess));
}

#[test]
fn the_same_seed_gives_the_same_texts_after_prompts_of_any_length() {
    let corpus = embedded();
    let checkpoint = trained(&corpus);
    let valid = corpus.valid.ids.view().to_vec();
    // No prompt, one of less than a window, of a window, of more.
    for length in [0, 1, 63, 65, 66, 200] {
        let prompt = &valid[..length];
        check_generation(&mut Cpu::<f32>::new(), &checkpoint, prompt);
        if let Some(mut gpu) = common::gpu() {
            check_generation(&mut *gpu, &checkpoint, prompt);
        }
    }
}

#[test]
fn a_prompt_read_in_windows_is_the_prompt_read_token_by_token() {
    let corpus = embedded();
    let checkpoint = trained(&corpus);
    let mut cpu = Cpu::<f32>::new();
    let prompt = &corpus.valid.ids.view().to_vec()[..150];
    let after = generated(&mut cpu, &checkpoint, prompt, 1, sampling(0.0, 1));
    // One token at a time, from the start token on.
    let mut model = checkpoint.model(&mut cpu, 1, 1, None).unwrap();
    let mut last = checkpoint.vocabulary.start();
    let mut text = prompt.to_vec();
    for position in 0..prompt.len() + 40 {
        let logits = model.last_logits(&mut cpu, &[last]).unwrap().as_slice();
        let best = (0..logits.len())
            .rev()
            .max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        if position >= prompt.len() {
            text.push(best.unwrap() as u32);
        }
        last = text[position];
    }
    assert_eq!(text[prompt.len()..], after[0]);
}
