//! Temporary files for what does not fit the memory.

use std::fs::File;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// A temporary file without a name: it goes when it is closed, however the program ends.
///
/// # Errors
/// [`Error::Scratch`] with what the operating system said.
pub fn file() -> Result<File> {
    tempfile::tempfile_in(folder()).map_err(failed)
}

/// [`Error::Scratch`], to be used with `map_err`.
pub fn failed(source: std::io::Error) -> Error {
    let folder = folder();
    Error::Scratch { folder, source }
}

/// Where temporary files are made: $TMPDIR; without it, /var/tmp rather than /tmp, which is memory
/// itself on many systems.
pub fn folder() -> PathBuf {
    let large = PathBuf::from("/var/tmp");
    if std::env::var_os("TMPDIR").is_none() && large.is_dir() {
        return large;
    }
    std::env::temp_dir()
}
