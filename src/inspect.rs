//! What is in a run, a checkpoint or a file of weights: tensors in numbers, where training stands,
//! and whether the files are what was written. Nothing is refused that can be shown.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::checkpoint::{
    CONFIG, MANIFEST, Manifest, PROGRESS, STATE, VOCABULARY, WEIGHTS, open, source,
};
use crate::config::Config;
use crate::data::Tokenizer;
use crate::device::MemoryPlan;
use crate::error::{Error, Result};
use crate::interchange::pytorch::each_float;
use crate::json;
use crate::model::ModelSize;
use crate::run;
use crate::train::{self, Best};

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The checkpoint, or the file, that is described.
    pub path: PathBuf,
    /// The version of this crate that wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bptt: Option<String>,
    /// Where training stands; none for weights that were trained elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    /// The sizes of the model and of its windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
    /// The tensors of the weights' file and then of the state's, each by name.
    pub tensors: Vec<Tensor>,
    /// The files that were compared with a manifest; those of every checkpoint, for a run.
    pub files: Vec<FileState>,
}

/// Where training stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Training {
    /// Steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: usize,
    /// The lowest validation loss so far.
    pub best: Option<Best>,
    /// The device, in words.
    pub device: String,
    /// Seconds of training.
    pub seconds: f64,
}

/// The sizes of a model, and the memory that its training takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Model {
    /// The sizes.
    #[serde(flatten)]
    pub size: ModelSize,
    /// Number of parameters.
    pub parameters: usize,
    /// Bytes by purpose.
    pub memory: std::collections::BTreeMap<String, u64>,
    /// The same for people.
    #[serde(skip)]
    pub plan: MemoryPlan,
}

/// A tensor in numbers: of its finite elements, but for the counts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Tensor {
    /// The file that it is in.
    pub file: String,
    /// Its name there.
    pub name: String,
    /// The type of its elements.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Number of elements.
    pub count: usize,
    /// What the elements are like; none for a type that is no floating-point number.
    #[serde(flatten)]
    pub values: Option<Values>,
}

/// The elements of a tensor in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Values {
    /// The smallest; none if no element is finite.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// The mean.
    pub mean: Option<f64>,
    /// The Euclidean norm.
    pub norm: f64,
    /// Elements that are not a number.
    pub nan: usize,
    /// Elements that are infinite.
    pub inf: usize,
}

/// A file of a checkpoint, compared with the manifest.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FileState {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it; none if size and SHA-256 are those of what was written, and it can
    /// be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Report {
    /// Describes a run (its best checkpoint), a checkpoint or a safetensors file.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Run`] if there is nothing to describe. What is wrong with a
    /// checkpoint's files is not an error, but told by [`Report::files`].
    pub fn of(path: &Path) -> Result<Self> {
        if path.is_file() {
            return Report::of_file(path);
        }
        let checkpoint = run::model_of(path)?;
        let mut report = Report::empty(&checkpoint);
        let folders = match checkpoint == path {
            true => vec![checkpoint],
            false => run::checkpoints(path)?,
        };
        for folder in folders {
            report.compare(&folder);
        }
        report.describe();
        Ok(report)
    }

    fn empty(path: &Path) -> Self {
        Report {
            path: path.to_owned(),
            bptt: None,
            training: None,
            model: None,
            tensors: Vec::new(),
            files: Vec::new(),
        }
    }

    fn of_file(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::read(path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let tensors = tensors(&bytes, &name).map_err(|what| Error::run(path, what))?;
        Ok(Report {
            tensors,
            ..Report::empty(path)
        })
    }

    /// Compares the files of a checkpoint with its manifest.
    fn compare(&mut self, folder: &Path) {
        let state = |name: &str, problem| FileState {
            path: folder.join(name),
            problem,
        };
        match Manifest::read(folder) {
            Err(error) => self.files.push(state(MANIFEST, Some(problem(&error)))),
            Ok(manifest) => {
                let compared = manifest.names().map(|name| {
                    let read = manifest.read_file(folder, name);
                    state(name, read.err().map(|error| problem(&error)))
                });
                self.files.extend(compared);
            }
        }
    }

    /// Describes the checkpoint, as far as its files can be read.
    fn describe(&mut self) {
        let manifest = Manifest::read(&self.path).ok();
        self.bptt = manifest.as_ref().map(|m| m.version().to_owned());
        for file in [WEIGHTS, STATE] {
            // Weights trained elsewhere have no state.
            if file == WEIGHTS || self.path.join(file).exists() {
                let tensors = self.parse(file, |bytes| tensors(bytes, file));
                self.tensors.extend(tensors.into_iter().flatten());
            }
        }
        if self.path.join(PROGRESS).exists() {
            let training = self.parse(PROGRESS, |bytes| json::parse::<train::Progress>(bytes));
            self.training = training.map(|progress| Training {
                step: progress.step,
                epoch: progress.epoch,
                best: progress.best,
                device: progress.device,
                seconds: progress.seconds,
            });
        }
        let config = self.parse(CONFIG, Config::from_toml);
        let vocabulary = self.parse(VOCABULARY, Tokenizer::from_json);
        if let (Some(config), Some(vocabulary)) = (config, vocabulary) {
            let model = Model::of(&config, vocabulary.len());
            self.model = self.parse(CONFIG, |_| model.map_err(|e| e.to_string()));
        }
    }

    /// The contents of a file of the checkpoint. What is wrong with it is noted, unless something
    /// is already.
    fn parse<T>(
        &mut self,
        file: &str,
        parse: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Option<T> {
        let path = self.path.join(file);
        let parsed = match source::read(&path) {
            Ok(bytes) => parse(&bytes),
            Err(error) => Err(problem(&error)),
        };
        parsed.map_err(|what| self.note(path, what)).ok()
    }

    fn note(&mut self, path: PathBuf, what: String) {
        match self.files.iter_mut().find(|file| file.path == path) {
            Some(file) => _ = file.problem.get_or_insert(what),
            None => self.files.push(FileState {
                path,
                problem: Some(what),
            }),
        }
    }

    /// The files that something is wrong with.
    pub fn damaged(&self) -> impl Iterator<Item = (&Path, &str)> {
        let damaged = |file: &'_ FileState| file.problem.is_some();
        let files = self.files.iter().filter(move |file| damaged(file));
        files.map(|file| (file.path.as_path(), file.problem.as_deref().unwrap_or("")))
    }
}

impl Model {
    fn of(config: &Config, vocab: usize) -> Result<Self> {
        config.check()?;
        let size = config.model_size(vocab);
        size.check()?;
        let plan = train::plan(config, vocab)?;
        let bytes = plan.bytes.iter();
        Ok(Model {
            size,
            parameters: size.parameters(),
            memory: bytes
                .map(|(purpose, b)| (purpose.to_string(), *b))
                .collect(),
            plan,
        })
    }
}

/// The message of an error about a file that is named beside it.
fn problem(error: &Error) -> String {
    match error {
        Error::Run { what, .. } => what.clone(),
        Error::Read { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

/// The tensors of a safetensors file, by name.
fn tensors(bytes: &[u8], file: &str) -> Result<Vec<Tensor>, String> {
    let contents = open(bytes)?;
    let mut names = contents.names();
    names.sort_unstable();
    let tensor = |name: &str| {
        let view = contents.tensor(name).map_err(|e| format!("{name}: {e}"))?;
        let mut values = Summing::default();
        let is_float = each_float(&view, |value| values.add(value));
        Ok(Tensor {
            file: file.to_owned(),
            name: name.to_owned(),
            dtype: format!("{:?}", view.dtype()),
            shape: view.shape().to_vec(),
            count: view.shape().iter().product(),
            values: is_float.then(|| values.finish()),
        })
    };
    names.into_iter().map(tensor).collect()
}

/// Sums over the elements of a tensor.
#[derive(Default)]
struct Summing {
    range: Option<(f64, f64)>,
    sum: f64,
    squares: f64,
    finite: usize,
    nan: usize,
    inf: usize,
}

impl Summing {
    fn add(&mut self, value: f64) {
        if value.is_nan() {
            self.nan += 1;
        } else if value.is_infinite() {
            self.inf += 1;
        } else {
            let (min, max) = self.range.unwrap_or((value, value));
            self.range = Some((min.min(value), max.max(value)));
            self.sum += value;
            self.squares += value * value;
            self.finite += 1;
        }
    }

    fn finish(self) -> Values {
        Values {
            min: self.range.map(|range| range.0),
            max: self.range.map(|range| range.1),
            mean: self.range.map(|_| self.sum / self.finite as f64),
            norm: self.squares.sqrt(),
            nan: self.nan,
            inf: self.inf,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Tensors, tensors::serialize};

    #[test]
    fn tensors_are_described_with_what_is_not_finite() {
        let values = vec![
            3.0,
            f32::NAN,
            -4.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
        ];
        let file = Tensors::from([
            ("a".to_owned(), (vec![2, 3], values)),
            ("b".to_owned(), (vec![1], vec![f32::NAN])),
            ("empty".to_owned(), (vec![0], vec![])),
        ]);
        let described = tensors(&serialize(&file).unwrap(), "file").unwrap();
        let names: Vec<_> = described
            .iter()
            .map(|t| (t.name.as_str(), t.count))
            .collect();
        assert_eq!(names, [("a", 6), ("b", 1), ("empty", 0)]);
        let expected = Values {
            min: Some(-4.0),
            max: Some(3.0),
            mean: Some(-0.5),
            norm: 5.0,
            nan: 2,
            inf: 2,
        };
        assert_eq!(described[0].values, Some(expected));
        let all_nan = described[1].values.as_ref().unwrap();
        assert_eq!((all_nan.min, all_nan.mean, all_nan.nan), (None, None, 1));
    }
}
