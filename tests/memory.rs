//! The memory that a large text takes. A process of its own: its peak is what is measured.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;

use bptt::data::{Corpus, Level, Source};

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

fn large_text(mib: usize) {
    // One at a time: both are the same process.
    static MEASURING: Mutex<()> = Mutex::new(());
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
