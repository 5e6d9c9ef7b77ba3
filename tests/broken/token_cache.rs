//! Files of token ids that are not as they were written.

use std::fs;
use std::path::PathBuf;

use bptt::config::Config;
use bptt::data::Corpus;
use hmac_sha256::Hash;

use crate::{Tally, small};

/// Bytes before the ids.
const HEADER: usize = 56;

/// Settings that name a cache, which is made; and its folder.
fn cached() -> (tempfile::TempDir, PathBuf, Config) {
    let folder = crate::folder();
    let path = folder.path().join("cache");
    let config = Config {
        data: vec![small().text.clone()],
        valid_fraction: Some(0.25),
        token_cache: Some(path.clone()),
        ..Config::default()
    };
    Corpus::load(&config.source()).unwrap();
    (folder, path, config)
}

#[test]
fn no_cache_that_is_not_as_it_was_written_is_read() {
    let (_folder, path, config) = cached();
    let sound = fs::read(&path).unwrap();
    let tally = Tally::of(&sound, "cache", |bytes| {
        fs::write(&path, bytes).unwrap();
        Corpus::load(&config.source()).map(|_| true)
    });
    assert_eq!(tally.harmless, 0);
}

/// With a header that fits it.
fn with_description(whole: &[u8], change: impl Fn(&str) -> String) -> Vec<u8> {
    let size = u64::from_le_bytes(*whole[16..].first_chunk().unwrap()) as usize;
    let (ids, description) = whole[HEADER..].split_at(whole.len() - HEADER - size);
    let description = change(std::str::from_utf8(description).unwrap());
    let size = (description.len() as u64).to_le_bytes();
    let hash = Hash::hash(description.as_bytes());
    [&whole[..16], &size, &hash, ids, description.as_bytes()].concat()
}

/// But for another vocabulary of the same size: only the texts could tell.
#[test]
fn lies_in_a_description_are_refused() {
    let (_folder, path, config) = cached();
    let sound = fs::read(&path).unwrap();
    let ids = sound.len() - HEADER;
    for (from, to) in [
        ("\"ids\":96", "\"ids\":95"),
        ("\"ids\":96", "\"ids\":9223372036854775808"),
        ("\"ids\":96", "\"ids\":18446744073709551615"),
        ("\"ids\":96", "\"ids\":-1"),
        // The same sum, modulo 2^64.
        ("\"ids\":96", "\"ids\":9223372036854775904"),
        ("\"width\":\"Two\"", "\"width\":\"Four\""),
        ("\"tokenizer\":\"{", "\"tokenizer\":\"["),
        ("\"sizes\":[", "\"sizes\":[{\"ids\":0,\"unknown\":0},"),
        ("\"unknown\":0", "\"unknown\":1e99"),
        ("{\"origin\"", "{\"origin\":null,\"origin\""),
    ] {
        let broken = with_description(&sound, |description| {
            assert!(description.contains(from), "{from} is not in {description}");
            description.replacen(from, to, 1)
        });
        fs::write(&path, &broken).unwrap();
        let error = Corpus::load(&config.source()).unwrap_err().to_string();
        assert!(error.contains("cache"), "{to}: {error}");
    }
    let deep = with_description(&sound, |_| "[".repeat(100_000));
    let none = with_description(&sound, |_| String::new());
    let sizes = [u64::MAX, 1 << 63, ids as u64 + 1]
        .map(|size| [&sound[..16], &size.to_le_bytes(), &sound[24..]].concat());
    for broken in [deep, none].into_iter().chain(sizes) {
        fs::write(&path, &broken).unwrap();
        let error = Corpus::load(&config.source()).unwrap_err().to_string();
        assert!(error.contains("cache is damaged"), "{error}");
    }
}
