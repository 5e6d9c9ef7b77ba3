//! A file that keeps the ids of a text for the next run.
//!
//! | bytes | |
//! | --- | --- |
//! | 8 | `bptt-ids` |
//! | 8 | version |
//! | 8 | bytes of the description |
//! | 32 | SHA-256 of the description |
//! | | the ids of the training text, then of the validation text, 2 or 4 bytes each |
//! | | the description, JSON: vocabulary, sizes, SHA-256 of the ids, and what they were made from |
//!
//! All numbers are little-endian.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use hmac_sha256::Hash;
use serde::{Deserialize, Serialize};

use super::encode::{self, Span, Unknown};
use super::ids::{self, Part, Size, Width};
use super::{Level, Tokenizer};
use crate::error::{Error, Result};

const MAGIC: [u8; 8] = *b"bptt-ids";
const VERSION: u64 = 2;
const NO_CACHE: &str = "is no file of token ids; name another one";
const DAMAGED: &str = "is damaged; remove it to have it made anew";
/// Bytes before the ids.
const HEADER: usize = 56;

/// Everything that decides the ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The SHA-256 of each text.
    pub train: [u8; 32],
    /// None for a part of the training text.
    pub valid: Option<[u8; 32]>,
    /// Its characters are in the vocabulary.
    pub test: Option<[u8; 32]>,
    /// The bits of a number: see [`super::Source`].
    pub valid_fraction: u64,
    /// See [`super::Source`].
    pub level: Option<Level>,
    /// See [`super::Source`].
    pub max_vocab: Option<usize>,
    /// The SHA-256 of the tokenizer that was given.
    pub tokenizer: Option<[u8; 32]>,
}

impl Origin {
    /// What differs, in words.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        let same = [
            ("another training text", self.train == other.train),
            ("another validation text", self.valid == other.valid),
            ("another test text", self.test == other.test),
            (
                "the text with another --valid-fraction",
                self.valid_fraction == other.valid_fraction,
            ),
            ("the text with another --level", self.level == other.level),
            (
                "the text with another --vocab-size",
                self.max_vocab == other.max_vocab,
            ),
            (
                "the text with another --tokenizer",
                self.tokenizer == other.tokenizer,
            ),
        ];
        same.iter().find(|(_, same)| !same).map(|(what, _)| *what)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Description {
    origin: Origin,
    tokenizer: String,
    width: Width,
    /// Of the training text, and of the validation text.
    sizes: [Size; 2],
    /// The SHA-256 of the ids.
    ids: [u8; 32],
}

/// Encodes texts into a file that appears under its name when it is complete.
///
/// # Errors
/// [`Error::TokenCache`] with what the operating system said; as [`encode::into_file`].
pub fn write(path: &Path, origin: Origin, tokenizer: &Tokenizer, spans: [Span; 2]) -> Result<()> {
    let failed = |e: std::io::Error| {
        refused(
            path,
            format!("cannot be written: {e}; make room for it, or name another file"),
        )
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".bptt-");
    // As any new file: the umask decides.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    // No cache before it is complete.
    file.write_all(&[0; HEADER]).map_err(failed)?;
    let width = Width::of(tokenizer.len());
    let sizes = encode::into_file(
        tokenizer,
        Unknown::Error,
        spans,
        file.as_file(),
        width,
        &failed,
    )?;
    let map = ids::map(file.as_file()).map_err(failed)?;
    let description = Description {
        ids: Hash::hash(&map[HEADER..]),
        origin,
        tokenizer: tokenizer.to_json(),
        width,
        sizes,
    };
    let written = serde_json::to_vec(&description)
        .map_err(std::io::Error::from)
        .and_then(|description| {
            file.write_all(&description)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&header(&description))?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|e| e.error)
        });
    written.map(drop).map_err(failed)
}

fn header(description: &[u8]) -> Vec<u8> {
    let sizes = [VERSION, description.len() as u64].map(u64::to_le_bytes);
    let hash = Hash::hash(description);
    [&MAGIC[..], sizes.as_flattened(), &hash].concat()
}

/// The ids of texts of this origin, from what [`write`] wrote.
///
/// # Errors
/// [`Error::TokenCache`] for a file that is none, is damaged, or is of other texts or settings;
/// [`Error::Read`].
pub fn read(path: &Path, origin: &Origin) -> Result<(Tokenizer, [Part; 2])> {
    // To open a pipe would wait for who writes.
    let metadata = std::fs::metadata(path).map_err(Error::read(path))?;
    if !metadata.is_file() {
        return Err(refused(path, NO_CACHE.to_owned()));
    }
    let mut file = File::open(path).map_err(Error::read(path))?;
    let len = file.metadata().map_err(Error::read(path))?.len();
    let description = read_description(&mut file, len)
        .map_err(Error::read(path))?
        .map_err(|what| refused(path, what))?;
    if let Some(other) = description.origin.difference(origin) {
        let what =
            format!("was made from {other}; remove it to have it made anew, or name another file");
        return Err(refused(path, what));
    }
    let tokenizer = Tokenizer::from_json(description.tokenizer.as_bytes());
    let tokenizer = tokenizer.map_err(|what| refused(path, what))?;
    let map = ids::map(&file).map_err(Error::read(path))?;
    let [train, valid] = description.sizes.map(|size| size.ids as usize);
    let end = HEADER + (train + valid) * description.width.bytes();
    let whole = map
        .get(HEADER..end)
        .is_some_and(|ids| Hash::hash(ids) == description.ids);
    let parts = ids::parts(map, HEADER, description.width, description.sizes);
    let vocab = tokenizer.len();
    if !whole || !parts.iter().all(|part| part.ids.view().are_below(vocab)) {
        return Err(refused(path, DAMAGED.to_owned()));
    }
    Ok((tokenizer, parts))
}

/// The description of a file of `len` bytes; or what is wrong with the file.
fn read_description(file: &mut File, len: u64) -> std::io::Result<Result<Description, String>> {
    let mut bytes = [0; HEADER];
    if len < HEADER as u64 {
        return Ok(Err(NO_CACHE.to_owned()));
    }
    file.read_exact(&mut bytes)?;
    let [magic, version, size] = [0, 8, 16].map(|at| {
        let number = bytes[at..].first_chunk();
        number.copied().unwrap_or_default()
    });
    let hash = &bytes[24..];
    if magic != MAGIC {
        return Ok(Err(NO_CACHE.to_owned()));
    }
    let [version, size] = [version, size].map(u64::from_le_bytes);
    if version != VERSION {
        return Ok(Err(format!(
            "has format {version}, but this version of bptt writes {VERSION}; remove it to have it made anew"
        )));
    }
    let ids = (len - HEADER as u64).checked_sub(size);
    let Some(ids) = ids else {
        return Ok(Err(DAMAGED.to_owned()));
    };
    file.seek(SeekFrom::Start(HEADER as u64 + ids))?;
    let mut description = Vec::new();
    file.read_to_end(&mut description)?;
    let parsed = serde_json::from_slice(&description).ok();
    let whole = |description: &Description| {
        let count = u128::from(description.sizes[0].ids) + u128::from(description.sizes[1].ids);
        count * description.width.bytes() as u128 == u128::from(ids)
    };
    let sound = parsed.filter(|parsed| Hash::hash(&description) == hash && whole(parsed));
    Ok(sound.ok_or_else(|| DAMAGED.to_owned()))
}

fn refused(path: &Path, what: String) -> Error {
    Error::TokenCache {
        path: path.to_owned(),
        what,
    }
}
