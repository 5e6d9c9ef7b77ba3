//! Typed errors. Each message is one line that names what was wrong and what to do about it.

use std::path::{Path, PathBuf};

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A file or folder could not be written.
    #[error("cannot write {}: {source}; {}", path.display(), remedy(source, "choose another folder with --out"))]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A single file could not be written.
    #[error("cannot write {}: {source}; {}", path.display(), remedy(source, "choose another file"))]
    WriteFile {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// Standard output could not be written.
    #[error(
        "cannot write to standard output: {source}; {}",
        remedy(source, "send it to another place")
    )]
    Output {
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A text is not UTF-8.
    #[error("{} is not UTF-8 text (byte {offset}); convert it first, for example with iconv -t UTF-8", path.display())]
    NotUtf8 {
        /// The text file.
        path: PathBuf,
        /// Offset in bytes of the first byte that is not UTF-8.
        offset: u64,
    },

    /// A text holds nothing.
    #[error("{} is empty; give a text to learn from", path.display())]
    EmptyText {
        /// The text file.
        path: PathBuf,
    },

    /// A text is no longer what it was when training began to read it.
    #[error("{} changes while it is read; train on a copy of it", path.display())]
    TextChanged {
        /// The text file.
        path: PathBuf,
    },

    /// A folder does not say which text to train on.
    #[error(
        "{}: {what}; name its texts train*.txt, valid*.txt and test*.txt, or give files to --data",
        path.display()
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What it has or lacks.
        what: String,
    },

    /// A text holds something that the vocabulary it is encoded with does not.
    #[error(
        "{} holds {token:?} (byte {offset}), which is not among the {vocab} tokens of the vocabulary, and neither is <unk>; remove it, or use another vocabulary or, to evaluate, --unknown skip",
        path.display()
    )]
    UnknownInText {
        /// The text file.
        path: PathBuf,
        /// The character or word.
        token: String,
        /// Where it begins, in bytes.
        offset: u64,
        /// The vocabulary size.
        vocab: usize,
    },

    /// A tokenizer failed.
    #[error("the tokenizer failed: {what}")]
    Tokenizer {
        /// What it reported.
        what: String,
    },

    /// What does not fit the memory could not be put on the disk.
    #[error(
        "cannot write a temporary file in {}: {source}; set TMPDIR to a folder with room for the tokens, or have train keep them in a file with --token-cache",
        folder.display()
    )]
    Scratch {
        /// The folder.
        folder: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A file of token ids cannot be used or written.
    #[error("--token-cache {} {what}", path.display())]
    TokenCache {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        what: String,
    },

    /// A text holds fewer tokens than one training window needs.
    #[error(
        "{what} has {found} tokens, fewer than the {needed} that {streams} streams of one {time_steps}-step window need; use a longer text, or a smaller --batch-size or --bptt"
    )]
    TextTooShort {
        /// Which text: "the text", "the validation part".
        what: &'static str,
        /// Tokens in the text.
        found: usize,
        /// Tokens needed.
        needed: usize,
        /// Parallel streams (the batch size N).
        streams: usize,
        /// Time steps of a window (T).
        time_steps: usize,
    },

    /// A setting has a value that cannot be used.
    #[error("{field} = {value} cannot be used: {expected}")]
    Config {
        /// The setting, by its name on the command line.
        field: &'static str,
        /// The value found.
        value: String,
        /// What is expected instead.
        expected: String,
    },

    /// A setting cannot change in the middle of a run.
    #[error("{field} = {value} cannot be used with --resume: {reason}")]
    Fixed {
        /// The setting, by its name on the command line.
        field: String,
        /// The value that was asked for.
        value: String,
        /// Why not.
        reason: String,
    },

    /// A file of weights is not of a model that this crate has.
    #[error("{} cannot be used: {what}", path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// The tensor, what is wrong with it, and what is supported.
        what: String,
    },

    /// Weights that are to begin with have another size.
    #[error(
        "{field} = {asked} cannot be used with --init-from {}: its weights have {found}; leave out --{field}, or begin with other weights",
        path.display()
    )]
    InitSize {
        /// The setting, by its name on the command line.
        field: &'static str,
        /// The size that was asked for.
        asked: usize,
        /// The size of the weights.
        found: usize,
        /// Where the weights are.
        path: PathBuf,
    },

    /// Weights that are to begin with have another vocabulary.
    #[error(
        "the text's vocabulary is not that of {}: {what}; weights can only go on with the tokens that they were trained on",
        path.display()
    )]
    InitVocabulary {
        /// Where the weights are.
        path: PathBuf,
        /// What differs.
        what: String,
    },

    /// A file for other programs could not be written.
    #[error("cannot write {}: {source}; {}", path.display(), remedy(source, "choose another place for it"))]
    Export {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A model is larger than a file of this kind can be.
    #[error(
        "{} would be {bytes} bytes; an ONNX file holds less than {limit}, the bound of protocol buffers",
        path.display()
    )]
    ModelTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes, at least.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },

    /// An operand of an op has the wrong size.
    #[error("{op}: {operand} has {found} elements, expected {expected}")]
    Shape {
        /// The op.
        op: &'static str,
        /// The operand's name in the op's contract.
        operand: &'static str,
        /// What the other operands imply.
        expected: String,
        /// What was given.
        found: usize,
    },

    /// A token id is not in the vocabulary.
    #[error("token id {id} at position {position} is not below the vocabulary size {vocab}")]
    TokenId {
        /// The id.
        id: u32,
        /// Its position in the batch.
        position: usize,
        /// The vocabulary size.
        vocab: usize,
    },

    /// No adapter matches the device that was asked for.
    #[error(
        "no GPU matches --device {asked}: {found}; `bptt devices` lists what is here, and on Debian or Ubuntu `apt-get install mesa-vulkan-drivers` brings a software Vulkan device"
    )]
    NoAdapter {
        /// The `--device` value.
        asked: String,
        /// What adapters there are.
        found: String,
    },

    /// A tensor, or a row of one that can be cut by rows, does not fit what the adapter can bind or
    /// allocate.
    #[error(
        "{label} needs {bytes} bytes, more than the {limit} bytes that {adapter} allows in one {what}; use a smaller model, --batch-size or --bptt"
    )]
    TooLarge {
        /// The tensor.
        label: String,
        /// Its size in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
        /// "binding" or "buffer".
        what: &'static str,
        /// The adapter.
        adapter: String,
    },

    /// Everything together does not fit the memory that is left, or something the device's limits.
    #[error("this run needs {plan}, but {device} {why}; {ways}")]
    DoesNotFit {
        /// The sum by purpose.
        plan: String,
        /// The device.
        device: String,
        /// What it has too little of.
        why: String,
        /// The smallest change of each size alone that would fit.
        ways: String,
    },

    /// The files are complete, but not in their place.
    #[error(
        "cannot move {} to {}: {source}; everything is kept in the former",
        files.display(),
        path.display()
    )]
    Unpublished {
        /// Where the files are.
        files: PathBuf,
        /// Where they should be.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// The output folder is there already.
    #[error("{} exists already; choose another folder with --out, or remove it", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },

    /// The device has no memory left.
    #[error(
        "{device} ran out of memory at {label} ({bytes} bytes); use a smaller model, --batch-size or --bptt"
    )]
    OutOfMemory {
        /// The device.
        device: String,
        /// What was being allocated.
        label: String,
        /// Its size in bytes.
        bytes: u64,
    },

    /// An op takes an operand in one binding only.
    #[error(
        "{op}: {operand} needs {bytes} bytes, more than the {limit} bytes of one binding, and cannot be cut; use a smaller model, --batch-size or --bptt, or --limits device"
    )]
    Unbindable {
        /// The op.
        op: &'static str,
        /// The operand's name in the op's contract.
        operand: &'static str,
        /// The bytes that it needs at once.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },

    /// A dispatch has more workgroups than the adapter's limit allows in two dimensions.
    #[error(
        "{kernel} needs {workgroups} workgroups, more than {limit} in each of two dimensions; use a smaller model, --batch-size or --bptt"
    )]
    Grid {
        /// The kernel.
        kernel: &'static str,
        /// Its workgroups.
        workgroups: usize,
        /// The most in each dimension.
        limit: u32,
    },

    /// The device was lost: its driver was reset or updated, it hung, or was taken away. Nothing on
    /// it can be used any more.
    #[error(
        "the device was lost: {device}: {message}; start again, or train with --on-device-lost retry"
    )]
    DeviceLost {
        /// The adapter.
        device: String,
        /// What wgpu or the driver said.
        message: String,
    },

    /// The GPU or its driver reported an error.
    #[error("{device}: {message}")]
    Device {
        /// The adapter.
        device: String,
        /// What wgpu or the driver said.
        message: String,
    },

    /// A file of a saved run is damaged, or does not belong to it.
    #[error("{}: {what}", path.display())]
    Run {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        what: String,
    },

    /// Training went wrong: the loss is not a number, or far beyond that of guessing.
    #[error(
        "training diverged: at step {step} the loss is {loss:.3e} and the gradient's norm {gradient_norm:.3e}; lower --lr or set --clip"
    )]
    Diverged {
        /// The step that it was found at.
        step: u64,
        /// The loss.
        loss: f64,
        /// The norm of all gradients before clipping; NaN where it cannot be measured.
        gradient_norm: f64,
    },

    /// A text holds something that the model does not know.
    #[error(
        "the text holds {token:?} as character {position}, which is not in the model's vocabulary of {vocab} tokens; leave it out, or use --unknown skip"
    )]
    UnknownToken {
        /// The character or word.
        token: String,
        /// Which character of the text it is, or begins with, from 1.
        position: usize,
        /// The vocabulary size.
        vocab: usize,
    },
}

/// What to do about what could not be written; `elsewhere` always helps.
fn remedy(source: &std::io::Error, elsewhere: &str) -> String {
    use std::io::ErrorKind::{
        FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    let here = match source.kind() {
        StorageFull | QuotaExceeded => "make room there",
        FileTooLarge => "allow larger files (ulimit -f; or another file system)",
        PermissionDenied | ReadOnlyFilesystem => "make it writable",
        _ => return elsewhere.to_owned(),
    };
    format!("{here}, or {elsewhere}")
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// [`Error::Read`] for `path`, to be used with `map_err`.
    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Read { path, source }
    }

    /// [`Error::Write`] for `path`, to be used with `map_err`.
    pub(crate) fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    }

    /// The same for a file that is not part of a run.
    pub(crate) fn of_single_file(self) -> Error {
        match self {
            Error::Write { path, source } => Error::WriteFile { path, source },
            other => other,
        }
    }

    /// [`Error::Run`] for `path`.
    pub(crate) fn run(path: &Path, what: String) -> Error {
        let path = path.to_owned();
        Error::Run { path, what }
    }

    /// The exit code of the command line: 2 for the user's usage, 3 for a lost device, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::DeviceLost { .. } => 3,
            _ if self.is_usage() => 2,
            _ => 1,
        }
    }

    /// Is this the user's usage rather than a failure? The command line exits with 2, not 1.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Error::Config { .. } | Error::Fixed { .. } | Error::InitSize { .. }
        )
    }
}

/// [`Error::Config`] unless `holds`.
pub(crate) fn require(
    field: &'static str,
    value: impl ToString,
    holds: bool,
    expected: &str,
) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(Error::Config {
        field,
        value: value.to_string(),
        expected: expected.to_owned(),
    })
}

/// Where in a text something is wrong: "in line 3, at `nhid = "many"`", with what stands around byte
/// `at` in its line.
pub(crate) fn place(text: &[u8], at: usize) -> String {
    let (before, behind) = text.split_at(at.min(text.len()));
    let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
    let before = before.rsplit(|&b| b == b'\n').next().unwrap_or_default();
    let behind = behind.split(|&b| b == b'\n').next().unwrap_or_default();
    let before = &before[before.len().saturating_sub(SHOWN)..];
    let behind = &behind[..behind.len().min(SHOWN)];
    let around = [before, behind].concat();
    let around = String::from_utf8_lossy(&around);
    format!("in line {line}, at `{}`", around.trim())
}

/// Bytes of a line that are shown before and behind a place in it.
const SHOWN: usize = 40;
