//! Files that grow, by whole records.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A file that records are appended to, each whole or not at all. What could not be written waits
/// for the next time.
#[derive(Debug)]
pub struct Growing {
    path: PathBuf,
    /// Opened to append.
    file: File,
    /// Bytes of whole records.
    length: u64,
    waiting: Vec<u8>,
}

impl Growing {
    /// The file of `path`, opened to append, as long as it is now.
    ///
    /// # Errors
    /// [`Error::Read`] with what the operating system said.
    pub fn new(path: PathBuf, file: File) -> Result<Self> {
        let length = file.metadata().map_err(Error::read(&path))?.len();
        Ok(Growing {
            path,
            file,
            length,
            waiting: Vec::new(),
        })
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a record, behind those that wait.
    ///
    /// # Errors
    /// [`Error::Write`] with what the operating system said: the record waits.
    pub fn append(&mut self, record: &[u8]) -> Result<()> {
        self.waiting.extend_from_slice(record);
        self.flush()
    }

    /// Writes the records that wait.
    ///
    /// # Errors
    /// As [`Growing::append`].
    pub fn flush(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.cut_half_record()?;
        // In one call, so that who reads meanwhile finds whole records.
        let written = self.file.write_all(&self.waiting);
        if written.is_err() {
            // The error that is reported is the one that came first.
            let _ = self.cut_half_record();
        }
        written.map_err(Error::write(&self.path))?;
        self.length += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// What a write left that failed in the middle.
    fn cut_half_record(&mut self) -> Result<()> {
        let found = self.file.metadata().map_err(Error::read(&self.path))?;
        match found.len() > self.length {
            true => self.shorten(self.length),
            false => Ok(()),
        }
    }

    /// Cuts off what is behind the first `length` bytes, and forgets the records that wait: they
    /// would come behind it.
    ///
    /// # Errors
    /// [`Error::Write`] with what the operating system said.
    pub fn cut(&mut self, length: u64) -> Result<()> {
        self.shorten(self.length.min(length))?;
        self.waiting.clear();
        Ok(())
    }

    fn shorten(&mut self, length: u64) -> Result<()> {
        self.file
            .set_len(length)
            .map_err(Error::write(&self.path))?;
        self.length = length;
        Ok(())
    }

    /// Waits until all of it is on the disk; its length.
    ///
    /// # Errors
    /// As [`Growing::append`].
    pub fn sync(&mut self) -> Result<u64> {
        self.flush()?;
        self.file.sync_all().map_err(Error::write(&self.path))?;
        Ok(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_wait_until_they_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let open = File::options().create(true).append(true).open(&path);
        let mut log = Growing::new(path.clone(), open.unwrap()).unwrap();
        log.append(b"one\n").unwrap();
        // A file that cannot be written takes its place.
        let writable = std::mem::replace(&mut log.file, File::open(&path).unwrap());
        assert!(matches!(log.append(b"two\n"), Err(Error::Write { .. })));
        assert!(log.sync().is_err());
        log.file = writable;
        // A write that failed in the middle.
        log.file.write_all(b"tw").unwrap();
        log.append(b"three\n").unwrap();
        assert_eq!(log.sync().unwrap(), 14);
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\nthree\n");
        log.cut(4).unwrap();
        log.append(b"2\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\n2\n");
    }

    #[test]
    fn what_waits_is_cut_off_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let open = || File::options().create(true).append(true).open(&path);
        let mut log = Growing::new(path.clone(), open().unwrap()).unwrap();
        log.append(b"one\n").unwrap();
        // A file that cannot be written takes its place.
        log.file = File::open(&path).unwrap();
        assert!(log.append(b"undone\n").is_err());
        // Nor can it be cut: nothing is forgotten.
        assert!(log.cut(4).is_err());
        assert_eq!(log.waiting, b"undone\n");
        log.file = open().unwrap();
        log.cut(4).unwrap();
        log.append(b"two\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
    }
}
