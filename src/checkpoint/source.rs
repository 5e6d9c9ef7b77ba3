//! Reading the files of a run, which somebody else may have made: only what lies in its folder, and
//! only files.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::Path;

use super::manifest::MANIFEST;
use super::{CONFIG, PROGRESS};
use crate::error::{Error, Result};

/// Bytes of the largest file that does not grow with the model, the vocabulary or the log.
pub const LARGEST_SMALL_FILE: u64 = 1 << 20;

/// What there is under a name of a run, if anything.
///
/// # Errors
/// [`Error::Run`] for a symbolic link, which may lead out of the run; [`Error::Read`].
pub fn metadata(path: &Path) -> Result<Option<Metadata>> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            let what = "is a symbolic link; all of a run must lie in its folder";
            Err(Error::run(path, what.to_owned()))
        }
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::read(path)(e)),
    }
}

/// The size of a file.
///
/// # Errors
/// [`Error::Run`] for what is no file, or too large to be what its name says; [`Error::Read`] if
/// there is none.
pub fn size(path: &Path) -> Result<u64> {
    let found = metadata(path)?.ok_or_else(|| Error::read(path)(ErrorKind::NotFound.into()))?;
    if !found.is_file() {
        return Err(Error::run(path, "is not a file".to_owned()));
    }
    let name = path.file_name().unwrap_or_default();
    let is_small = [MANIFEST, CONFIG, PROGRESS].iter().any(|n| name == *n);
    if is_small {
        require_small(path, found.len())?;
    }
    Ok(found.len())
}

/// The contents of a file.
///
/// # Errors
/// As [`size`].
pub fn read(path: &Path) -> Result<Vec<u8>> {
    size(path)?;
    std::fs::read(path).map_err(Error::read(path))
}

/// The contents of a file that does not grow with the model, the vocabulary or the log.
///
/// # Errors
/// As [`size`], and [`Error::Run`] for a larger one.
pub fn read_small(path: &Path) -> Result<Vec<u8>> {
    require_small(path, size(path)?)?;
    read(path)
}

/// The contents of a file of one line.
///
/// # Errors
/// As [`read_small`], and [`Error::Run`] for one that is not UTF-8.
pub fn read_line(path: &Path) -> Result<String> {
    let bytes = read_small(path)?;
    String::from_utf8(bytes).map_err(|e| Error::run(path, e.to_string()))
}

fn require_small(path: &Path, bytes: u64) -> Result<()> {
    if bytes <= LARGEST_SMALL_FILE {
        return Ok(());
    }
    let what = format!("has {bytes} bytes, where {LARGEST_SMALL_FILE} are the most there can be");
    Err(Error::run(path, what))
}
