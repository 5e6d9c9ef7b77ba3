//! A model on disk, and where its training stands: a folder of files, each listed by a manifest with
//! its size and hash, published at once.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `model.safetensors` | weights under PyTorch's names and layouts |
//! | `tokenizer.json` | the vocabulary, in the format of Hugging Face's tokenizers |
//! | `config.toml` | every setting |
//! | `state.safetensors` | the hidden state and the optimizer's state |
//! | `progress.json` | step, epoch, position in the text, sums of losses, best score, device |
//! | `manifest.json` | sizes and SHA-256 of the others |

pub(crate) mod folder;
pub(crate) mod growing;
mod manifest;
pub(crate) mod source;
pub(crate) mod tensors;
mod weights;

use std::path::Path;

pub use folder::NewFolder;
pub use manifest::{MANIFEST, sha256_of_ids};
pub(crate) use manifest::{Manifest, sha256};
pub use tensors::Tensors;
pub(crate) use tensors::open;
pub use weights::Weights;
pub(crate) use weights::transpose;

use crate::config::Config;
use crate::data::Tokenizer;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::json;
use crate::model::{ModelSize, RnnLm};
use crate::train::State;

/// The weights' file.
pub const WEIGHTS: &str = "model.safetensors";
/// The vocabulary's file.
pub const VOCABULARY: &str = "tokenizer.json";
/// The settings' file.
pub const CONFIG: &str = "config.toml";
/// The file of the tensors that training goes on from, beside the weights.
pub(crate) const STATE: &str = "state.safetensors";
/// The file of everything else that training goes on from.
pub(crate) const PROGRESS: &str = "progress.json";

/// A model, as it is saved.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The settings it was trained with.
    pub config: Config,
    /// Its tokens.
    pub vocabulary: Tokenizer,
    /// Its parameters.
    pub weights: Weights,
    /// Where its training stands; none for a model that was trained elsewhere.
    pub state: Option<State>,
}

impl Checkpoint {
    /// The model on a device, for windows of `time_steps` of `batch` streams, with at most
    /// `chunk_rows` rows of logits at once (see [`RnnLm::with_chunk_rows`]).
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn model<D: Device<Elem = f32>>(
        &self,
        device: &mut D,
        batch: usize,
        time_steps: usize,
        chunk_rows: Option<usize>,
    ) -> Result<RnnLm<D>> {
        let size = ModelSize {
            batch,
            time_steps,
            ..self.config.model_size(self.vocabulary.len())
        };
        let mut model = RnnLm::with_chunk_rows(device, size, true, chunk_rows)?;
        self.weights.put(device, &mut model)?;
        Ok(model)
    }

    /// Writes the checkpoint as the folder `path`: whole, or not at all.
    ///
    /// # Errors
    /// [`Error::Write`] with what the operating system said.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut files = self.files().map_err(|what| Error::run(path, what))?;
        let manifest = Manifest::of(&files).to_json();
        files.push((MANIFEST, manifest.map_err(|what| Error::run(path, what))?));
        let files: Vec<_> = files
            .iter()
            .map(|(name, b)| (*name, b.as_slice()))
            .collect();
        folder::write_folder(path, &files)
    }

    fn files(&self) -> Result<Vec<(&'static str, Vec<u8>)>, String> {
        let size = self.config.model_size(self.vocabulary.len());
        let config = self.config.to_toml().map_err(|e| e.to_string())?;
        let mut files = vec![
            (WEIGHTS, self.weights.to_safetensors(&size)?),
            (VOCABULARY, self.vocabulary.to_json().into_bytes()),
            (CONFIG, config.into_bytes()),
        ];
        if let Some(state) = &self.state {
            let progress = serde_json::to_vec_pretty(&state.progress);
            files.push((STATE, tensors::serialize(&state.tensors)?));
            files.push((PROGRESS, progress.map_err(|e| e.to_string())?));
        }
        Ok(files)
    }

    /// Reads what [`Checkpoint::write`] wrote.
    ///
    /// # Errors
    /// [`Error::Read`] for a file that is not there, [`Error::Run`] for one that is damaged.
    pub fn read(folder: &Path) -> Result<Self> {
        let manifest = Manifest::read(folder)?;
        let config = parse(&manifest, folder, CONFIG, Config::from_toml)?;
        let unusable = |e: Error| Error::run(&folder.join(CONFIG), e.to_string());
        config.check().map_err(unusable)?;
        let vocabulary = parse(&manifest, folder, VOCABULARY, Tokenizer::from_json)?;
        let size = config.model_size(vocabulary.len());
        size.check().map_err(unusable)?;
        let weights = parse(&manifest, folder, WEIGHTS, |bytes| {
            Weights::from_safetensors(bytes, &size)
        })?;
        let state = match manifest.lists(PROGRESS) {
            false => None,
            true => Some(State {
                progress: parse(&manifest, folder, PROGRESS, |bytes| json::parse(bytes))?,
                tensors: parse(&manifest, folder, STATE, tensors::read)?,
            }),
        };
        Ok(Checkpoint {
            config,
            vocabulary,
            weights,
            state,
        })
    }
}

fn parse<T>(
    manifest: &Manifest,
    folder: &Path,
    file: &str,
    parse: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<T> {
    let bytes = manifest.read_file(folder, file)?;
    parse(&bytes).map_err(|what| Error::run(&folder.join(file), what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Vocabulary;
    use crate::device::Cpu;
    use crate::model::RnnLm;
    use crate::train::Progress;
    use clap::Parser;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        config: Config,
    }

    fn checkpoint() -> Checkpoint {
        let arguments = ["bptt", "--emsize", "3", "--nhid", "5", "--bptt", "2"];
        let config = Arguments::try_parse_from(arguments).unwrap().config;
        let vocabulary = Tokenizer::from(Vocabulary::of_words("a b c", None).unwrap());
        let mut cpu = Cpu::<f32>::new();
        let size = config.model_size(vocabulary.len());
        let mut model = RnnLm::new(&mut cpu, size, true).unwrap();
        model.init(&mut cpu, 1).unwrap();
        let weights = Weights::of(&mut cpu, &model).unwrap();
        let hidden = (vec![20, 5], vec![0.25; 100]);
        Checkpoint {
            config,
            vocabulary,
            weights,
            state: Some(State {
                progress: Progress {
                    step: 7,
                    epoch_loss: (0.1 + 0.2, 3),
                    ..Progress::default()
                },
                tensors: Tensors::from([("hidden".to_owned(), hidden)]),
            }),
        }
    }

    #[test]
    fn a_checkpoint_survives_a_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = checkpoint();
        let path = folder.path().join("checkpoint");
        checkpoint.write(&path).unwrap();
        assert_eq!(Checkpoint::read(&path).unwrap(), checkpoint);
        let stateless = Checkpoint {
            state: None,
            ..checkpoint
        };
        stateless.write(&path).unwrap();
        assert_eq!(Checkpoint::read(&path).unwrap(), stateless);
    }

    #[test]
    fn matrices_lie_as_pytorch_has_them() {
        let checkpoint = checkpoint();
        let size = checkpoint.config.model_size(4);
        let bytes = checkpoint.weights.to_safetensors(&size).unwrap();
        let file = tensors::open(&bytes).unwrap();
        let decoder = tensors::tensor(&file, "decoder.weight", &[4, 5]).unwrap();
        let (_, wa) = checkpoint.weights.iter().find(|w| w.0 == "Wa").unwrap();
        assert_eq!(decoder[2 * 5 + 3], wa[3 * 4 + 2]);
        assert_eq!(file.tensor("rnn.weight_ih_l0").unwrap().shape(), [5, 3]);
        assert_eq!(file.tensor("rnn.bias_hh_l0").unwrap().shape(), [5]);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let checkpoint = checkpoint();
        let broken = |file: &str, bytes: &[u8]| {
            checkpoint.write(&path).unwrap();
            std::fs::write(path.join(file), bytes).unwrap();
            Checkpoint::read(&path).unwrap_err().to_string()
        };
        for file in [WEIGHTS, VOCABULARY, CONFIG, STATE, PROGRESS] {
            let mut bytes = std::fs::read(path.join(file)).unwrap_or_default();
            assert!(broken(file, b"short").contains(&format!("{file}: damaged: it has 5 bytes")));
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
                let error = broken(file, &bytes);
                assert!(error.contains(file) && error.contains("SHA-256"), "{error}");
            }
        }
        assert!(broken(MANIFEST, b"{}").contains("missing field"));
        assert!(broken(MANIFEST, br#"{"format":9,"bptt":"1","files":{}}"#).contains("format is 9"));
        assert!(
            broken(MANIFEST, br#"{"format":1,"bptt":"1","files":{}}"#).contains("does not list")
        );
    }

    #[test]
    fn weights_of_another_size_are_named() {
        let checkpoint = checkpoint();
        let size = |nhid| crate::model::ModelSize {
            hidden: nhid,
            ..checkpoint.config.model_size(4)
        };
        let bytes = checkpoint.weights.to_safetensors(&size(5)).unwrap();
        let error = Weights::from_safetensors(&bytes, &size(7)).unwrap_err();
        assert_eq!(error, "rnn.weight_ih_l0 is F32 [5, 3], expected F32 [7, 3]");
    }
}
