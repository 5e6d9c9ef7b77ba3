//! The memory that a large text takes. A process of its own: its peak is what is measured.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;

use bptt::checkpoint::{Checkpoint, Weights};
use bptt::config::Config;
use bptt::data::unseen::Unseen;
use bptt::data::{Corpus, Level, Source, Unknown};
use bptt::device::Cpu;
use bptt::error::Error;
use bptt::evaluate::{Settings, Sums, each_surprisal};
use bptt::model::RnnLm;

const MIB: usize = 1 << 20;

/// A text of about so many mebibytes, of 60,000 distinct words.
fn write_text(path: &Path, mib: usize) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut random = 1u64;
    for line in 0..mib * (MIB / 64) {
        for _ in 0..7 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            write!(file, "word{} ", (random >> 33) % 60_000).unwrap();
        }
        writeln!(file, "{}", line % 10).unwrap();
    }
    file.flush().unwrap();
}

/// A line of /proc/self/status, in MiB.
fn status(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}

/// Loads a text, checks that its ids are in a file, and returns the corpus.
fn load(path: &Path, level: Level) -> Corpus {
    let corpus = Corpus::load(&Source {
        data: vec![path.to_owned()],
        valid: None,
        valid_fraction: 0.01,
        level,
        max_vocab: None,
        tokenizer: None,
        token_cache: None,
    });
    let corpus = corpus.unwrap();
    assert!(corpus.bytes_in_file().is_some());
    corpus
}

#[test]
fn a_large_text_takes_no_more_memory_than_a_small_one() {
    large_text(64);
}

/// As above, and five times as much text.
#[test]
#[ignore = "writes 1 GiB"]
fn a_larger_text_takes_no_more_memory_either() {
    large_text(320);
}

/// One at a time: all are the same process.
static MEASURING: Mutex<()> = Mutex::new(());

/// A model of one hidden unit for the characters of a text.
fn smallest(corpus: &Corpus) -> Checkpoint {
    let config = Config {
        emsize: 1,
        nhid: 1,
        ..Config::default()
    };
    let size = config.model_size(corpus.vocabulary.len());
    let mut cpu = Cpu::<f32>::new();
    let mut model = RnnLm::new(&mut cpu, size, true).unwrap();
    model.init(&mut cpu, 1).unwrap();
    Checkpoint {
        weights: Weights::of(&mut cpu, &model).unwrap(),
        config,
        vocabulary: corpus.vocabulary.clone(),
        state: None,
    }
}

/// Evaluates so much of a text of so many mebibytes, all of whose ids are read.
fn evaluated(mib: usize, share: f64) {
    let _measuring = MEASURING.lock();
    let folder = tempfile::tempdir_in(bptt::data::scratch::folder()).unwrap();
    let path = folder.path().join("text");
    write_text(&path, mib);
    let checkpoint = smallest(&load(&path, Level::Char));
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let (before, own) = (status("VmHWM"), status("RssAnon"));
    let text = Unseen::read(&path, &checkpoint.vocabulary, Unknown::Error).unwrap();
    let peak = status("VmHWM");
    assert!(peak < before + 16, "{before} MiB became {peak} MiB");
    let ids = text.part.ids.view();
    assert!(ids.len() == text.characters && text.part.ids.bytes_in_file().is_some());
    let settings = Settings {
        time_steps: 256,
        streams: 32,
        overlap: 256,
        dynamic: None,
    };
    let enough = share * ids.len() as f64;
    let (mut sums, mut scored, mut largest) = (Sums::default(), 0, own);
    let scores = &mut |first: usize, nats: &[f32]| {
        sums.add(nats, ids.range(first..first + nats.len()), None);
        scored += nats.len();
        if scored % (1 << 20) < nats.len() {
            largest = largest.max(status("RssAnon"));
        }
        match scored as f64 > enough {
            true => Err(Error::EmptyText { path: path.clone() }),
            false => Ok(()),
        }
    };
    let ended = each_surprisal(&mut Cpu::<f32>::new(), &checkpoint, ids, &settings, scores);
    assert_eq!(ended.is_ok(), share >= 1.0);
    assert!(largest < own + 16, "{own} MiB became {largest} MiB");
    eprintln!(
        "evaluated {scored} of {mib} MiB: peak {before} → {peak} MiB, own {own} → {largest} MiB"
    );
}

/// All of the ids are made; that as many are scored as are read takes longer than it shows.
#[test]
fn a_large_text_is_evaluated_in_no_more_memory_than_a_small_one() {
    evaluated(65, 0.05);
}

#[test]
#[ignore = "scores 320 million characters"]
fn all_of_a_larger_text_is_evaluated_in_no_more_memory_either() {
    evaluated(320, 1.0);
}

fn large_text(mib: usize) {
    let _measuring = MEASURING.lock();
    let folder = tempfile::tempdir_in(bptt::data::scratch::folder()).unwrap();
    let path = folder.path().join("text");
    write_text(&path, mib);
    for level in [Level::Char, Level::Word] {
        // The peak is what it is now.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = status("VmHWM");
        let corpus = load(&path, level);
        let peak = status("VmHWM");
        // Buffers, and the counts of 60,000 words: not the text, nor its ids.
        assert!(
            peak < before + 32,
            "{level:?}: {before} MiB became {peak} MiB"
        );
        // Windows over all of it take pages of the file, which the system can drop, but no memory
        // of their own.
        let own = status("RssAnon");
        let (windows, _) = corpus.windows(20, 35).unwrap();
        let (mut inputs, mut targets) = (vec![0; 700], vec![0; 700]);
        let mut sum = 0u64;
        for index in 0..windows.count() {
            windows.fill(0, index, &mut inputs, &mut targets);
            sum += inputs.iter().map(|&id| u64::from(id)).sum::<u64>();
        }
        assert!(sum > 0 && status("RssAnon") <= own + 1);
        eprintln!(
            "{level:?}, {mib} MiB: peak {before} → {peak} MiB, {} tokens",
            corpus.train.len()
        );
    }
}
