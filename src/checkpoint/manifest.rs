//! The list of a checkpoint's files, with their sizes and hashes: what is read is what was written.

use std::collections::BTreeMap;
use std::path::Path;

use hmac_sha256::Hash;
use serde::{Deserialize, Serialize};

use super::{CONFIG, PROGRESS, STATE, VOCABULARY, WEIGHTS, source};
use crate::data::Ids;
use crate::error::{Error, Result};
use crate::json;

/// The manifest's file.
pub const MANIFEST: &str = "manifest.json";
/// The version of the format that is written, and the only one that is read.
const FORMAT: u32 = 1;

/// The files that a checkpoint can have.
const FILES: [&str; 5] = [WEIGHTS, VOCABULARY, CONFIG, STATE, PROGRESS];

/// Ids that are hashed at once.
const HASHED_AT_ONCE: usize = 1 << 14;

/// What a checkpoint consists of.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: u32,
    /// The version of this crate that wrote it.
    bptt: String,
    #[serde(deserialize_with = "json::distinct")]
    files: BTreeMap<String, Entry>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    bytes: u64,
    sha256: String,
}

impl Entry {
    fn of(bytes: &[u8]) -> Self {
        Entry {
            bytes: bytes.len() as u64,
            sha256: sha256(bytes),
        }
    }
}

impl Manifest {
    /// The manifest of these files.
    pub fn of(files: &[(&str, Vec<u8>)]) -> Self {
        let entry = |(name, bytes): &(&str, Vec<u8>)| ((*name).to_owned(), Entry::of(bytes));
        Manifest {
            format: FORMAT,
            bptt: env!("CARGO_PKG_VERSION").to_owned(),
            files: files.iter().map(entry).collect(),
        }
    }

    /// The manifest as a file.
    pub fn to_json(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec_pretty(self).map_err(|e| e.to_string())
    }

    /// Reads the manifest of `folder`.
    ///
    /// # Errors
    /// [`Error::Read`] if there is none, [`Error::Run`] for one that cannot be used.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let manifest = source::read(&path)?;
        let manifest: Manifest = json::parse(&manifest).map_err(|what| Error::run(&path, what))?;
        if manifest.format != FORMAT {
            let other = manifest.format;
            let what = format!("the format is {other}, this version reads {FORMAT}");
            return Err(Error::run(&path, what));
        }
        // So no name leads out of the folder, and no file is left out for a letter of its name.
        if let Some(name) = manifest.names().find(|name| !FILES.contains(name)) {
            let what = format!("files has {name:?}, which is no file of a checkpoint");
            return Err(Error::run(&path, what));
        }
        if manifest.lists(STATE) != manifest.lists(PROGRESS) {
            let what = format!("files has only one of {STATE} and {PROGRESS}");
            return Err(Error::run(&path, what));
        }
        Ok(manifest)
    }

    /// The version of this crate that wrote the checkpoint.
    pub fn version(&self) -> &str {
        &self.bptt
    }

    /// The names of the files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Is the file listed?
    pub fn lists(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// The contents of a listed file, which must be what was written.
    ///
    /// # Errors
    /// [`Error::Read`] for a file that is not there, [`Error::Run`] for one that is not listed or
    /// not as it was written.
    pub fn read_file(&self, folder: &Path, name: &str) -> Result<Vec<u8>> {
        let path = folder.join(name);
        let Some(entry) = self.files.get(name) else {
            return Err(Error::run(
                &folder.join(MANIFEST),
                format!("does not list {name}"),
            ));
        };
        let size = source::size(&path)?;
        if size != entry.bytes {
            let expected = entry.bytes;
            return Err(Error::run(
                &path,
                format!("damaged: it has {size} bytes, {expected} were written"),
            ));
        }
        let bytes = source::read(&path)?;
        if Entry::of(&bytes) != *entry {
            let what = "damaged: its contents are not what was written (SHA-256 differs)";
            return Err(Error::run(&path, what.to_owned()));
        }
        Ok(bytes)
    }
}

/// The SHA-256 of `bytes` in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Hash::hash(bytes))
}

/// The SHA-256 of token ids, as little-endian 32-bit numbers, in hexadecimal.
pub fn sha256_of_ids(ids: Ids<'_>) -> String {
    let mut hash = Hash::new();
    let mut bytes = Vec::new();
    for begin in (0..ids.len()).step_by(HASHED_AT_ONCE) {
        let block = ids.range(begin..ids.len().min(begin + HASHED_AT_ONCE));
        bytes.clear();
        bytes.extend(block.to_vec().iter().flat_map(|id| id.to_le_bytes()));
        hash.update(&bytes);
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_standard() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), expected);
        let ids: Vec<u32> = (0..20_000).collect();
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        assert_eq!(sha256_of_ids(Ids::Memory(&ids)), sha256(&bytes));
    }
}
