//! A file of token ids. With an even first byte the rest of the input is the whole file; with an odd
//! one it is the description of a file whose header fits it.

use std::fs;
use std::sync::LazyLock;

use super::{FOLDER, config};
use bptt::config::Config;
use bptt::data::Corpus;
use hmac_sha256::Hash;

/// Bytes before the ids.
const HEADER: usize = 56;

/// The settings, and the file as it should be.
static CACHE: LazyLock<(Config, Vec<u8>)> = LazyLock::new(|| {
    let path = FOLDER.join("cache");
    let config = Config {
        token_cache: Some(path.clone()),
        ..config()
    };
    Corpus::load(&config.source()).expect("a text");
    (config, fs::read(path).expect("a cache"))
});

/// Panics at a finding.
pub fn run(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else {
        return;
    };
    let (config, whole) = &*CACHE;
    let bytes = if which % 2 == 0 {
        rest.to_vec()
    } else {
        with_description(whole, rest)
    };
    fs::write(FOLDER.join("cache"), bytes).expect("a file");
    let Ok(corpus) = Corpus::load(&config.source()) else {
        return;
    };
    let vocab = corpus.vocabulary.len() as u32;
    for part in [&corpus.train, &corpus.valid] {
        assert!(part.ids.view().to_vec().into_iter().all(|id| id < vocab));
    }
}

/// The file with this description instead of its own.
fn with_description(whole: &[u8], description: &[u8]) -> Vec<u8> {
    let size = u64::from_le_bytes(*whole[16..].first_chunk().expect("a header"));
    let ids = &whole[HEADER..whole.len() - size as usize];
    let size = (description.len() as u64).to_le_bytes();
    [
        &whole[..16],
        &size,
        &Hash::hash(description),
        ids,
        description,
    ]
    .concat()
}
