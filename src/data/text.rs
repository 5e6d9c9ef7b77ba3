//! Reading a text of any size piece by piece, as often as needed, in constant memory.
//!
//! Line ends are kept as they are, `\r\n` too. A byte-order mark at a file's beginning is not part of
//! the text.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow::{self, Break, Continue};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hmac_sha256::Hash;

use super::scratch;
use crate::error::{Error, Result};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;
const BYTE_ORDER_MARK: char = '\u{feff}';
/// Stands for the path of the standard input.
pub const STANDARD_INPUT: &str = "the standard input";

/// Files that are read one after the other as one text. Nothing is put between them.
#[derive(Debug)]
pub struct Text {
    files: Vec<TextFile>,
}

#[derive(Debug)]
struct TextFile {
    path: PathBuf,
    /// In bytes.
    len: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// A file, and when it was last changed: every pass must find the same text.
    Named {
        modified: Option<SystemTime>,
    },
    /// What came out of a pipe, in a file that has no name.
    Copied(File),
    Bytes(Cow<'static, [u8]>),
}

/// A piece of a text, of whole characters.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// The text; not empty.
    pub text: &'a str,
    /// The file it is from.
    pub path: &'a Path,
    /// Where it begins in that file, in bytes.
    pub offset: u64,
    /// Where it begins in all files together, in bytes.
    pub position: u64,
    /// Is it the first of its file?
    pub begins_file: bool,
}

impl Text {
    /// Files that can be read. What is not a file of known size, a pipe for example, is read to its
    /// end here, into a temporary file.
    ///
    /// # Errors
    /// [`Error::Read`] for a file that cannot be read, or a folder; [`Error::Scratch`].
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        let files = paths.iter().map(|path| TextFile::open(path));
        Ok(Text {
            files: files.collect::<Result<_>>()?,
        })
    }

    /// A text that is part of the program; `name` stands for its path.
    pub fn embedded(name: &str, text: &'static str) -> Self {
        Text::of_bytes(name.as_ref(), text.as_bytes().into())
    }

    /// A text in memory; `name` stands for its path.
    pub fn of_bytes(name: &Path, bytes: Cow<'static, [u8]>) -> Self {
        Text::of_file(TextFile {
            path: name.to_owned(),
            len: bytes.len() as u64,
            content: Content::Bytes(bytes),
        })
    }

    /// All that comes from the standard input, by way of a temporary file.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Scratch`].
    pub fn standard_input() -> Result<Self> {
        let path = Path::new(STANDARD_INPUT);
        let (file, len) = copy(std::io::stdin().lock(), path)?;
        Ok(Text::of_file(TextFile {
            path: path.to_owned(),
            len,
            content: Content::Copied(file),
        }))
    }

    fn of_file(file: TextFile) -> Self {
        Text { files: vec![file] }
    }

    /// Bytes of all files.
    pub fn len(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }

    /// Reads a range of bytes, whose ends are those of characters, until it ends or `each` breaks.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::NotUtf8`]; [`Error::TextChanged`] if it is not the text that was
    /// opened; those of `each`.
    pub fn read(
        &self,
        range: Range<u64>,
        mut each: impl FnMut(Chunk) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        let mut begin = 0;
        for file in &self.files {
            let end = begin + file.len;
            let [from, to] = [range.start, range.end].map(|at| at.clamp(begin, end) - begin);
            if from < to
                && file
                    .read(from..to, begin, &mut buffer, &mut each)?
                    .is_break()
            {
                break;
            }
            begin = end;
        }
        Ok(())
    }

    /// Reads a text of which something is expected.
    ///
    /// # Errors
    /// [`Error::EmptyText`] if there is nothing but white space; as [`Text::read`].
    pub fn require_content(&self) -> Result<()> {
        let mut blank = true;
        self.read(0..self.len(), |chunk| {
            blank = chunk.text.trim_start().is_empty();
            Ok(if blank { Continue(()) } else { Break(()) })
        })?;
        if !blank {
            return Ok(());
        }
        let path = self.files.first().map(|file| file.path.clone());
        Err(Error::EmptyText {
            path: path.unwrap_or_default(),
        })
    }

    /// The SHA-256 of every byte, and of where files begin.
    ///
    /// # Errors
    /// As [`Text::read`].
    pub fn hash(&self) -> Result<[u8; 32]> {
        let mut hash = Hash::new();
        self.read(0..self.len(), |chunk| {
            if chunk.begins_file {
                hash.update(chunk.position.to_le_bytes());
            }
            hash.update(chunk.text);
            Ok(Continue(()))
        })?;
        Ok(hash.finalize())
    }
}

impl TextFile {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::read(path))?;
        let metadata = file.metadata().map_err(Error::read(path))?;
        if metadata.is_dir() {
            let source = std::io::ErrorKind::IsADirectory.into();
            return Err(Error::read(path)(source));
        }
        let path = path.to_owned();
        // A file that the system makes up when it is read has no length either.
        if metadata.is_file() && metadata.len() > 0 {
            return Ok(TextFile {
                path,
                len: metadata.len(),
                content: Content::Named {
                    modified: metadata.modified().ok(),
                },
            });
        }
        let (copy, len) = copy(file, &path)?;
        Ok(TextFile {
            path,
            len,
            content: Content::Copied(copy),
        })
    }

    /// The content from `start` on.
    fn read_from(&self, start: u64) -> Result<Opened<'_>> {
        let seek = |mut file: File| file.seek(SeekFrom::Start(start)).map(|_| file);
        let opened = match &self.content {
            Content::Named { .. } => File::open(&self.path).and_then(seek).map(Opened::File),
            Content::Copied(file) => file.try_clone().and_then(seek).map(Opened::File),
            Content::Bytes(bytes) => Ok(Opened::Bytes(&bytes[start as usize..])),
        };
        let opened = opened.map_err(Error::read(&self.path))?;
        self.require_unchanged(&opened)?;
        Ok(opened)
    }

    /// [`Text::read`] for a range of this file, which begins at `begin` in all of them.
    fn read(
        &self,
        range: Range<u64>,
        begin: u64,
        buffer: &mut [u8],
        each: &mut impl FnMut(Chunk) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        let mut from = self.read_from(range.start)?.take(range.end - range.start);
        // Bytes of the buffer that begin a character which the last chunk could not hold.
        let mut held = 0;
        let mut offset = range.start;
        loop {
            let read = fill(&mut from, &mut buffer[held..]).map_err(Error::read(&self.path))?;
            let filled = held + read;
            let at_end = filled < buffer.len();
            let text = whole_characters(&buffer[..filled], at_end).map_err(|valid| {
                let path = self.path.clone();
                let offset = offset + valid as u64;
                Error::NotUtf8 { path, offset }
            })?;
            let mut chunk = Chunk {
                text,
                path: &self.path,
                offset,
                position: begin + offset,
                begins_file: offset == range.start,
            };
            if let (0, Some(rest)) = (offset, text.strip_prefix(BYTE_ORDER_MARK)) {
                let mark = (text.len() - rest.len()) as u64;
                (chunk.text, chunk.offset, chunk.position) = (rest, mark, begin + mark);
            }
            if !chunk.text.is_empty() && each(chunk)?.is_break() {
                return Ok(Break(()));
            }
            let given = text.len();
            offset += given as u64;
            buffer.copy_within(given..filled, 0);
            held = filled - given;
            if at_end {
                break;
            }
        }
        if offset != range.end {
            return Err(self.changed());
        }
        self.require_unchanged(from.get_ref())?;
        Ok(Continue(()))
    }

    fn require_unchanged(&self, opened: &Opened) -> Result<()> {
        if let (Content::Named { modified }, Opened::File(file)) = (&self.content, opened) {
            let now = file.metadata().map_err(Error::read(&self.path))?;
            if (now.len(), now.modified().ok()) != (self.len, *modified) {
                return Err(self.changed());
            }
        }
        Ok(())
    }

    fn changed(&self) -> Error {
        Error::TextChanged {
            path: self.path.clone(),
        }
    }
}

/// Copies all that comes out of `from`.
fn copy(mut from: impl Read, path: &Path) -> Result<(File, u64)> {
    let mut to = scratch::file()?;
    let mut buffer = vec![0; CHUNK];
    let mut len = 0;
    loop {
        let count = fill(&mut from, &mut buffer).map_err(Error::read(path))?;
        to.write_all(&buffer[..count]).map_err(scratch::failed)?;
        len += count as u64;
        if count < buffer.len() {
            return Ok((to, len));
        }
    }
}

/// The text in `bytes`, less a character that goes on behind them. Otherwise, how many bytes are text.
fn whole_characters(bytes: &[u8], at_end: bool) -> Result<&str, usize> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(e) if e.error_len().is_none() && !at_end => {
            std::str::from_utf8(&bytes[..e.valid_up_to()]).map_err(|e| e.valid_up_to())
        }
        Err(e) => Err(e.valid_up_to()),
    }
}

/// Reads until the buffer is full or the input ends.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

#[derive(Debug)]
enum Opened<'a> {
    File(File),
    Bytes(&'a [u8]),
}

impl Read for Opened<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Opened::File(file) => file.read(buffer),
            Opened::Bytes(bytes) => bytes.read(buffer),
        }
    }
}
