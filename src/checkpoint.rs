//! A trained model on disk: weights under PyTorch's names and layouts, vocabulary, settings.
//!
//! `encoder.weight` is E, `rnn.weight_ih_l0` Wxᵀ, `rnn.weight_hh_l0` Whᵀ, `rnn.bias_ih_l0` b,
//! `decoder.weight` Waᵀ, `decoder.bias` ba. PyTorch's second bias, `rnn.bias_hh_l0`, is written as
//! zeros and added to the first when it is read.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::config::Config;
use crate::data::Vocabulary;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::RnnLm;

/// The weights' file.
pub const WEIGHTS: &str = "model.safetensors";
/// The vocabulary's file.
pub const VOCABULARY: &str = "tokenizer.json";
/// The settings' file.
pub const CONFIG: &str = "config.toml";

/// A parameter's PyTorch name; and is PyTorch's matrix the transpose of ours?
const NAMES: [(&str, &str, bool); 6] = [
    ("E", "encoder.weight", false),
    ("Wx", "rnn.weight_ih_l0", true),
    ("Wh", "rnn.weight_hh_l0", true),
    ("b", "rnn.bias_ih_l0", false),
    ("Wa", "decoder.weight", true),
    ("ba", "decoder.bias", false),
];
const SECOND_BIAS: &str = "rnn.bias_hh_l0";

/// The parameters of a model on the host, by our names, row-major as in the formulas.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights(BTreeMap<&'static str, Vec<f32>>);

impl Weights {
    /// Brings the parameters of `model` to the host.
    ///
    /// # Errors
    /// As [`Device::read`].
    pub fn of<D: Device<Elem = f32>>(device: &mut D, model: &RnnLm<D>) -> Result<Self> {
        let mut weights = BTreeMap::new();
        for parameter in model.parameters() {
            weights.insert(parameter.name, device.read(&parameter.value)?);
        }
        Ok(Weights(weights))
    }

    /// Sets the parameters of `model`, which must have the same sizes.
    ///
    /// # Errors
    /// As [`Device::write`].
    pub fn put<D: Device<Elem = f32>>(&self, device: &mut D, model: &mut RnnLm<D>) -> Result<()> {
        for parameter in model.parameters_mut() {
            device.write(&mut parameter.value, 0, &self.0[parameter.name])?;
        }
        Ok(())
    }

    /// The weights as a safetensors file.
    fn to_safetensors(&self, config: &Config, vocab: usize) -> Result<Vec<u8>, String> {
        let mut tensors = BTreeMap::new();
        for ((ours, theirs, transposed), [rows, cols]) in NAMES.iter().zip(shapes(config, vocab)) {
            let values = &self.0[ours];
            let (shape, values) = match (rows, transposed) {
                (1, _) => (vec![cols], values.clone()),
                (_, false) => (vec![rows, cols], values.clone()),
                (_, true) => (vec![cols, rows], transpose(values, rows, cols)),
            };
            tensors.insert(*theirs, (shape, values));
        }
        tensors.insert(SECOND_BIAS, (vec![config.nhid], vec![0.0; config.nhid]));
        let mut views = BTreeMap::new();
        for (name, (shape, values)) in &tensors {
            let bytes = bytemuck::cast_slice(values);
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            views.insert(*name, view.map_err(|e| e.to_string())?);
        }
        safetensors::serialize(views, None).map_err(|e| e.to_string())
    }

    /// Reads a safetensors file of a model with these settings.
    fn from_safetensors(bytes: &[u8], config: &Config, vocab: usize) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let mut weights = BTreeMap::new();
        for ((ours, theirs, transposed), [rows, cols]) in NAMES.iter().zip(shapes(config, vocab)) {
            let values = match (rows, transposed) {
                (1, _) => tensor(&file, theirs, &[cols])?,
                (_, false) => tensor(&file, theirs, &[rows, cols])?,
                (_, true) => transpose(&tensor(&file, theirs, &[cols, rows])?, cols, rows),
            };
            weights.insert(*ours, values);
        }
        if file.names().contains(&SECOND_BIAS) {
            let second = tensor(&file, SECOND_BIAS, &[config.nhid])?;
            let first = weights.entry("b").or_insert_with(Vec::new);
            first.iter_mut().zip(second).for_each(|(b, s)| *b += s);
        }
        Ok(Weights(weights))
    }
}

/// Rows and columns of E, Wx, Wh, b, Wa, ba.
fn shapes(config: &Config, v: usize) -> [[usize; 2]; 6] {
    let (d, h) = (config.emsize, config.nhid);
    [[v, d], [d, h], [h, h], [1, h], [h, v], [1, v]]
}

fn tensor(file: &SafeTensors, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
    let view = file.tensor(name).map_err(|e| format!("{name}: {e}"))?;
    if (view.dtype(), view.shape()) != (Dtype::F32, shape) {
        let (dtype, found) = (view.dtype(), view.shape());
        return Err(format!(
            "{name} is {dtype:?} {found:?}, expected F32 {shape:?}"
        ));
    }
    let values: Vec<f32> = (view.data().chunks_exact(4))
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    match values.iter().position(|x| !x.is_finite()) {
        Some(at) => Err(format!("{name}: element {at} is {}", values[at])),
        None => Ok(values),
    }
}

fn transpose(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for c in 0..cols {
        out.extend((0..rows).map(|r| values[r * cols + c]));
    }
    out
}

/// A trained model, as it is saved.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The settings it was trained with.
    pub config: Config,
    /// Its tokens.
    pub vocabulary: Vocabulary,
    /// Its parameters.
    pub weights: Weights,
}

impl Checkpoint {
    /// Writes the files into `folder`.
    ///
    /// # Errors
    /// [`Error::Write`] with what the operating system said.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let weights = self
            .weights
            .to_safetensors(&self.config, self.vocabulary.len());
        let broken = |file: &str, what: String| Error::Run {
            path: folder.join(file),
            what,
        };
        let weights = weights.map_err(|e| broken(WEIGHTS, e))?;
        let config = self.config.to_toml()?;
        write(&folder.join(WEIGHTS), &weights)?;
        write(
            &folder.join(VOCABULARY),
            self.vocabulary.to_json().to_string().as_bytes(),
        )?;
        write(&folder.join(CONFIG), config.as_bytes())
    }

    /// Reads what [`Checkpoint::write`] wrote.
    ///
    /// # Errors
    /// [`Error::Read`] for a file that is not there, [`Error::Run`] for one that is damaged.
    pub fn read(folder: &Path) -> Result<Self> {
        if !folder.join(CONFIG).is_file() {
            return Err(Error::Run {
                path: folder.to_owned(),
                what: format!(
                    "not a run, it has no {CONFIG}; give the folder that `bptt train` named at its end"
                ),
            });
        }
        let config: Config = parse(folder, CONFIG, |bytes| {
            let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
            toml::from_str(text).map_err(|e| e.message().to_owned())
        })?;
        config.check()?;
        let vocabulary = parse(folder, VOCABULARY, |bytes| {
            let json = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
            Vocabulary::from_json(&json)
        })?;
        let weights = parse(folder, WEIGHTS, |bytes| {
            Weights::from_safetensors(bytes, &config, vocabulary.len())
        })?;
        Ok(Checkpoint {
            config,
            vocabulary,
            weights,
        })
    }
}

fn parse<T>(
    folder: &Path,
    file: &str,
    parse: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<T> {
    let path = folder.join(file);
    let bytes = std::fs::read(&path).map_err(Error::read(&path))?;
    parse(&bytes).map_err(|what| Error::Run { path, what })
}

/// Writes a file and waits until it is on the disk.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = std::fs::File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(Error::write(path))
}

/// An output folder that is filled at once or not at all: its name is taken at the beginning, by an
/// empty folder; files are written into a folder beside it, which replaces that one at the end.
/// Dropped before that, it leaves nothing behind.
#[derive(Debug)]
pub struct NewFolder {
    path: PathBuf,
    temporary: tempfile::TempDir,
    made: NewFolders,
}

/// Folders that were made, the deepest first, and are removed again while they are empty.
#[derive(Debug)]
struct NewFolders(Vec<PathBuf>);

impl NewFolders {
    /// Makes `path`, which must not exist, and all folders above it.
    fn make(path: &Path) -> std::io::Result<Self> {
        let missing = parent(path).ancestors().take_while(|path| !path.exists());
        let mut made = NewFolders(missing.map(Path::to_owned).collect());
        std::fs::create_dir_all(parent(path))?;
        std::fs::create_dir(path)?;
        made.0.insert(0, path.to_owned());
        Ok(made)
    }
}

impl Drop for NewFolders {
    fn drop(&mut self) {
        for path in &self.0 {
            // Fails, as it should, where something has been put there since.
            let _ = std::fs::remove_dir(path);
        }
    }
}

impl NewFolder {
    /// Takes the name `path`, and makes all folders above it.
    ///
    /// # Errors
    /// [`Error::Exists`] if it is there already, [`Error::Write`] if it cannot be written.
    pub fn prepare(path: &Path) -> Result<Self> {
        let made = NewFolders::make(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => Error::Exists {
                path: path.to_owned(),
            },
            _ => Error::write(path)(source),
        })?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".bptt-");
        // As any new folder: the umask decides.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let temporary = builder
            .tempdir_in(parent(path))
            .map_err(Error::write(path))?;
        Ok(NewFolder {
            path: path.to_owned(),
            temporary,
            made,
        })
    }

    /// Where to write files until [`NewFolder::publish`].
    pub fn files(&self) -> &Path {
        self.temporary.path()
    }

    /// Gives the files their folder.
    ///
    /// # Errors
    /// [`Error::Unpublished`] if that fails: the files are kept where they are.
    pub fn publish(mut self) -> Result<PathBuf> {
        // Nothing is temporary any more, whatever happens now.
        let files = self.temporary.keep();
        // An empty folder is replaced in one step, but not on every system.
        #[cfg(not(unix))]
        let _ = std::fs::remove_dir(&self.path);
        std::fs::rename(&files, &self.path).map_err(|source| Error::Unpublished {
            files,
            path: self.path.clone(),
            source,
        })?;
        self.made.0.clear();
        #[cfg(unix)]
        std::fs::File::open(parent(&self.path))
            .and_then(|folder| folder.sync_all())
            .map_err(Error::write(&self.path))?;
        Ok(self.path)
    }
}

/// The folder that `path` is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Cpu;
    use clap::Parser;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        config: Config,
    }

    fn checkpoint() -> Checkpoint {
        let arguments = ["bptt", "--emsize", "3", "--nhid", "5", "--bptt", "2"];
        let config = Arguments::try_parse_from(arguments).unwrap().config;
        let vocabulary = Vocabulary::of_words("a b c", None);
        let mut cpu = Cpu::<f32>::new();
        let size = config.model_size(vocabulary.len());
        let mut model = RnnLm::new(&mut cpu, size, true).unwrap();
        model.init(&mut cpu, 1).unwrap();
        let weights = Weights::of(&mut cpu, &model).unwrap();
        Checkpoint {
            config,
            vocabulary,
            weights,
        }
    }

    #[test]
    fn a_checkpoint_survives_a_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = checkpoint();
        checkpoint.write(folder.path()).unwrap();
        assert_eq!(Checkpoint::read(folder.path()).unwrap(), checkpoint);
    }

    #[test]
    fn matrices_lie_as_pytorch_has_them() {
        let checkpoint = checkpoint();
        let bytes = checkpoint
            .weights
            .to_safetensors(&checkpoint.config, 4)
            .unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let decoder = tensor(&file, "decoder.weight", &[4, 5]).unwrap();
        let wa = &checkpoint.weights.0["Wa"];
        assert_eq!(decoder[2 * 5 + 3], wa[3 * 4 + 2]);
        assert_eq!(file.tensor("rnn.weight_ih_l0").unwrap().shape(), [5, 3]);
        assert_eq!(file.tensor("rnn.bias_hh_l0").unwrap().shape(), [5]);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = checkpoint();
        let broken = |file: &str, bytes: &[u8]| {
            checkpoint.write(folder.path()).unwrap();
            std::fs::write(folder.path().join(file), bytes).unwrap();
            Checkpoint::read(folder.path()).unwrap_err().to_string()
        };
        assert!(broken(WEIGHTS, b"short").contains(WEIGHTS));
        assert!(broken(VOCABULARY, b"{}").contains("pre_tokenizer"));
        assert!(broken(CONFIG, b"nhid = 7").contains(CONFIG));
        let mut other = checkpoint.config.clone();
        other.nhid = 7;
        let config = toml::to_string(&other).unwrap();
        let error = broken(CONFIG, config.as_bytes());
        assert!(
            error.contains("rnn.weight_ih_l0 is F32 [5, 3], expected F32 [7, 3]"),
            "{error}"
        );
    }

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        drop(NewFolder::prepare(&path).unwrap());
        assert!(!parent.path().join("a").exists());
        let folder = NewFolder::prepare(&path).unwrap();
        write(&folder.files().join("file"), b"text").unwrap();
        assert_eq!(folder.publish().unwrap(), path);
        assert_eq!(std::fs::read(path.join("file")).unwrap(), b"text");
        assert!(matches!(
            NewFolder::prepare(&path),
            Err(Error::Exists { .. })
        ));
    }
}
