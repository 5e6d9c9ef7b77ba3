//! Weights of an `nn.Embedding`, `nn.RNN` and `nn.Linear` of PyTorch, as safetensors, that were
//! trained elsewhere.
//!
//! The names are those of [`crate::checkpoint`]'s weights: modules `encoder`, `rnn` and `decoder`.
//! Other names are renamed by prefix. All sizes are taken from the tensors.

use std::collections::BTreeMap;
use std::str::FromStr;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::checkpoint::{Weights, open};
use crate::model::ModelSize;
use crate::model::parameters::{SECOND_BIAS, specs};

/// What is supported, in errors.
const SUPPORTED: &str = "an nn.RNN with tanh, of one layer and one direction";

/// Names that begin with `old` begin with `new` instead.
#[derive(Debug, Clone, PartialEq)]
pub struct Rename {
    old: String,
    new: String,
}

impl FromStr for Rename {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((old, new)) if !old.is_empty() => Ok(Rename {
                old: old.to_owned(),
                new: new.to_owned(),
            }),
            _ => Err("expected OLD=NEW, the beginning of names and what to put there".to_owned()),
        }
    }
}

/// Weights of a file, and their sizes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Imported {
    /// The weights.
    pub weights: Weights,
    /// V, D, H and the biases of the weights; a batch and a window of 1.
    pub size: ModelSize,
    /// What was done to them, a line each.
    pub notes: Vec<String>,
}

/// Reads a safetensors file, for a model of one bias, the sum of PyTorch's two, or of `biases` = 2.
///
/// # Errors
/// What is wrong with which tensor, and what is supported.
pub fn read(bytes: &[u8], renames: &[Rename], biases: usize) -> Result<Imported, String> {
    let file = open(bytes)?;
    let tensors = PyTorch {
        names: canonical_names(&file, renames)?,
        file,
    };
    let size = ModelSize {
        biases,
        ..tensors.size()?
    };
    size.check().map_err(|e| e.to_string())?;
    let weights = Weights::from_pytorch(&size, |name, shape| tensors.values(name, shape))?;
    Ok(Imported {
        weights,
        size,
        notes: tensors.notes(biases),
    })
}

/// The names that tensors have here, with those that they have in the file.
fn canonical_names(
    file: &SafeTensors<'_>,
    renames: &[Rename],
) -> Result<BTreeMap<String, String>, String> {
    let mut names = BTreeMap::new();
    for name in file.names() {
        let rename = renames.iter().find(|r| name.starts_with(&r.old));
        let canonical = match rename {
            Some(Rename { old, new }) => format!("{new}{}", &name[old.len()..]),
            None => name.to_owned(),
        };
        if let Some(other) = names.insert(canonical.clone(), name.to_owned()) {
            return Err(format!("{other} and {name} would both be {canonical}"));
        }
    }
    for Rename { old, new } in renames {
        if !names.values().any(|name| name.starts_with(old)) {
            return Err(format!("--map {old}={new}: no tensor begins with {old}"));
        }
    }
    Ok(names)
}

/// The tensors of a file by their names here.
struct PyTorch<'a> {
    file: SafeTensors<'a>,
    names: BTreeMap<String, String>,
}

impl PyTorch<'_> {
    /// The sizes that the tensors have, if all are there that must be, and no others.
    fn size(&self) -> Result<ModelSize, String> {
        let expected = expected_names();
        let is_expected = |name: &&String| expected.contains(&name.as_str());
        if let Some(name) = self.names.keys().find(|name| !is_expected(name)) {
            return Err(surplus(name));
        }
        for name in expected {
            if !self.names.contains_key(name) && !name.contains("bias") {
                return Err(self.missing(name));
            }
        }
        let (vocab, embedding) = self.matrix("encoder.weight")?;
        let (rows, hidden) = self.matrix("rnn.weight_hh_l0")?;
        let gated = [("a GRU", 3), ("an LSTM", 4)];
        let is_of = |gates| rows > 0 && Some(rows) == hidden.checked_mul(gates);
        if let Some((cell, _)) = gated.iter().find(|(_, gates)| is_of(*gates)) {
            return Err(format!(
                "rnn.weight_hh_l0 is [{rows}, {hidden}], as of {cell}; supported is {SUPPORTED}"
            ));
        }
        Ok(ModelSize {
            vocab,
            embedding,
            hidden,
            ..ONE
        })
    }

    fn missing(&self, name: &str) -> String {
        let found: Vec<_> = self.names.keys().map(String::as_str).collect();
        let tied = match name {
            "decoder.weight" => "; if it is tied to encoder.weight, save a copy under this name",
            _ => "",
        };
        format!("{name} is missing; there are {}{tied}", found.join(", "))
    }

    fn view(&self, name: &str) -> Result<Option<TensorView<'_>>, String> {
        let Some(in_file) = self.names.get(name) else {
            return Ok(None);
        };
        let view = self.file.tensor(in_file);
        view.map(Some).map_err(|e| format!("{name}: {e}"))
    }

    /// Rows and columns.
    fn matrix(&self, name: &str) -> Result<(usize, usize), String> {
        let view = self.view(name)?.ok_or_else(|| self.missing(name))?;
        match *view.shape() {
            [rows, cols] => Ok((rows, cols)),
            ref shape => Err(format!("{name} is {shape:?}, expected rows and columns")),
        }
    }

    /// The values of a tensor that must have this shape; zeros for a bias that is not there.
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let Some(view) = self.view(name)? else {
            return Ok(vec![0.0; shape.iter().product()]);
        };
        let (dtype, found) = (view.dtype(), view.shape());
        if found != shape {
            return Err(format!("{name} is {dtype:?} {found:?}, expected {shape:?}"));
        }
        let mut values = Vec::with_capacity(shape.iter().product());
        // Exact for all types but F64, which is rounded.
        if !each_float(&view, |value| values.push(value as f32)) {
            return Err(format!(
                "{name} is {dtype:?}; supported are F32, F64, F16 and BF16"
            ));
        }
        match values.iter().position(|x| !x.is_finite()) {
            Some(at) => Err(format!("{name}: element {at} is {} as f32", values[at])),
            None => Ok(values),
        }
    }

    fn notes(&self, biases: usize) -> Vec<String> {
        let mut notes = Vec::new();
        for name in expected_names() {
            match self.view(name) {
                Ok(Some(view)) if view.dtype() != Dtype::F32 => {
                    notes.push(format!("{name}: {:?} converted to F32", view.dtype()));
                }
                Ok(None) => notes.push(format!("{name} is not there: taken as zeros")),
                _ => {}
            }
        }
        if biases == 1 && self.names.contains_key(SECOND_BIAS) {
            notes.push(format!(
                "{SECOND_BIAS} added to rnn.bias_ih_l0: one bias does for both"
            ));
        }
        notes
    }
}

/// The smallest model with every parameter there is.
const ONE: ModelSize = ModelSize {
    vocab: 1,
    embedding: 1,
    hidden: 1,
    batch: 1,
    time_steps: 1,
    biases: 2,
};

/// The names of all tensors, in the order of the table of parameters.
fn expected_names() -> Vec<&'static str> {
    specs(&ONE).iter().map(|spec| spec.pytorch).collect()
}

/// Why a tensor does not belong to the model.
fn surplus(name: &str) -> String {
    let layer = name.rsplit_once("_l").map(|(_, layer)| layer);
    let what = match layer {
        Some(layer) if layer.ends_with("_reverse") => "a second direction".to_owned(),
        Some(layer) if layer.parse::<usize>().is_ok_and(|layer| layer > 0) => {
            format!("layer {layer}, counted from 0")
        }
        Some("0") if name.contains("weight_hr") => "a projection, as of an LSTM".to_owned(),
        _ => {
            let names = expected_names().join(", ");
            return format!(
                "{name} is no tensor of this model, which has {names}; --map OLD=NEW renames prefixes"
            );
        }
    };
    format!("{name} is of {what}; supported is {SUPPORTED}")
}

/// Visits the elements of a tensor; false if they are not floating-point numbers that can be read.
pub(crate) fn each_float(view: &TensorView<'_>, mut visit: impl FnMut(f64)) -> bool {
    let data = view.data();
    match view.dtype() {
        Dtype::F32 => elements(data, |b| visit(f32::from_le_bytes(b).into())),
        Dtype::F64 => elements(data, |b| visit(f64::from_le_bytes(b))),
        Dtype::F16 => elements(data, |b| visit(f16::from_le_bytes(b).into())),
        Dtype::BF16 => elements(data, |b| visit(bf16::from_le_bytes(b).into())),
        _ => return false,
    }
    true
}

fn elements<const BYTES: usize>(data: &[u8], visit: impl FnMut([u8; BYTES])) {
    let (elements, _) = data.as_chunks::<BYTES>();
    elements.iter().copied().for_each(visit);
}

#[cfg(test)]
mod tests {
    use super::*;

    const V: usize = 5;
    const D: usize = 3;
    const H: usize = 4;

    /// A tensor: its type, shape, bytes.
    type Raw = (Dtype, Vec<usize>, Vec<u8>);

    fn f32s(shape: &[usize], value: f32) -> Raw {
        let data = value.to_le_bytes().repeat(shape.iter().product());
        (Dtype::F32, shape.to_vec(), data)
    }

    fn model() -> BTreeMap<String, Raw> {
        let tensors = [
            ("encoder.weight", f32s(&[V, D], 0.5)),
            ("rnn.weight_ih_l0", f32s(&[H, D], 0.25)),
            ("rnn.weight_hh_l0", f32s(&[H, H], 0.125)),
            ("rnn.bias_ih_l0", f32s(&[H], 1.0)),
            ("rnn.bias_hh_l0", f32s(&[H], 2.0)),
            ("decoder.weight", f32s(&[V, H], -1.0)),
            ("decoder.bias", f32s(&[V], -2.0)),
        ];
        tensors.map(|(name, raw)| (name.to_owned(), raw)).into()
    }

    fn file(tensors: &BTreeMap<String, Raw>) -> Vec<u8> {
        let view = |(name, (dtype, shape, data)): (&String, &'_ Raw)| {
            let view = TensorView::new(*dtype, shape.clone(), data).unwrap();
            (
                name.clone(),
                (view.dtype(), view.shape().to_vec(), data.clone()),
            )
        };
        let owned: Vec<_> = tensors.iter().map(view).collect();
        let views = owned.iter().map(|(name, (dtype, shape, data))| {
            (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }

    fn values(imported: &Imported, name: &str) -> Vec<f32> {
        let found = imported.weights.iter().find(|w| w.0 == name);
        found.unwrap().1.to_vec()
    }

    #[test]
    fn sizes_come_from_the_tensors_and_the_biases_are_summed() {
        let imported = read(&file(&model()), &[], 1).unwrap();
        let ModelSize {
            vocab,
            embedding,
            hidden,
            ..
        } = imported.size;
        assert_eq!((vocab, embedding, hidden), (V, D, H));
        assert_eq!(values(&imported, "b"), [3.0; H]);
        assert_eq!(imported.notes.len(), 1, "{:?}", imported.notes);
        assert!(imported.notes[0].contains("rnn.bias_hh_l0 added"));
    }

    #[test]
    fn both_biases_are_kept() {
        let imported = read(&file(&model()), &[], 2).unwrap();
        assert_eq!(imported.size.biases, 2);
        assert_eq!(values(&imported, "b"), [1.0; H]);
        assert_eq!(values(&imported, "bh"), [2.0; H]);
        assert_eq!(imported.notes, [""; 0]);
    }

    #[test]
    fn absent_biases_are_zeros_and_said() {
        let mut tensors = model();
        tensors.retain(|name, _| !name.contains("bias"));
        for biases in [1, 2] {
            let imported = read(&file(&tensors), &[], biases).unwrap();
            assert_eq!(values(&imported, "b"), [0.0; H]);
            assert_eq!(values(&imported, "ba"), [0.0; V]);
            assert_eq!(imported.notes.len(), 3, "{:?}", imported.notes);
        }
    }

    /// Each is a number, their sum is none.
    #[test]
    fn a_sum_that_overflows_is_named() {
        let mut tensors = model();
        for name in ["rnn.bias_ih_l0", "rnn.bias_hh_l0"] {
            tensors.insert(name.to_owned(), f32s(&[H], f32::MAX));
        }
        let error = read(&file(&tensors), &[], 1).unwrap_err();
        assert!(error.contains("rnn.bias_ih_l0 + rnn.bias_hh_l0"), "{error}");
        read(&file(&tensors), &[], 2).unwrap();
    }

    #[test]
    fn other_floats_are_converted_and_said() {
        let half = f16::from_f32(0.75).to_le_bytes().repeat(V);
        let brain = bf16::from_f32(0.75).to_le_bytes().repeat(V);
        let double = 0.75f64.to_le_bytes().repeat(V);
        for (dtype, data) in [
            (Dtype::F16, half),
            (Dtype::BF16, brain),
            (Dtype::F64, double),
        ] {
            let mut tensors = model();
            tensors.insert("decoder.bias".to_owned(), (dtype, vec![V], data));
            let imported = read(&file(&tensors), &[], 1).unwrap();
            assert_eq!(values(&imported, "ba"), [0.75; V]);
            let note = format!("decoder.bias: {dtype:?} converted");
            assert!(imported.notes.iter().any(|n| n.contains(&note)));
        }
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let nan = f32s(&[V], f32::NAN);
        let huge = (Dtype::F64, vec![V], 1e300f64.to_le_bytes().repeat(V));
        let ints = (Dtype::I32, vec![V], vec![0; 4 * V]);
        let cases: &[(&str, Option<Raw>, &str)] = &[
            ("encoder.weight", None, "encoder.weight is missing"),
            ("decoder.weight", None, "tied to encoder.weight"),
            (
                "encoder.weight",
                Some(f32s(&[V], 0.0)),
                "encoder.weight is [5]",
            ),
            (
                "decoder.weight",
                Some(f32s(&[V + 1, H], 0.0)),
                "decoder.weight is F32 [6, 4], expected [5, 4]",
            ),
            (
                "rnn.weight_ih_l0",
                Some(f32s(&[D, H], 0.0)),
                "rnn.weight_ih_l0 is F32 [3, 4], expected [4, 3]",
            ),
            ("rnn.weight_hh_l0", Some(f32s(&[4 * H, H], 0.0)), "an LSTM"),
            ("rnn.weight_hh_l0", Some(f32s(&[3 * H, H], 0.0)), "a GRU"),
            (
                "rnn.weight_hh_l0",
                Some(f32s(&[H + 1, H], 0.0)),
                "rnn.weight_hh_l0 is F32 [5, 4]",
            ),
            (
                "rnn.weight_ih_l1",
                Some(f32s(&[H, H], 0.0)),
                "rnn.weight_ih_l1 is of layer 1",
            ),
            (
                "rnn.weight_ih_l0_reverse",
                Some(f32s(&[H, D], 0.0)),
                "a second direction",
            ),
            ("rnn.weight_hr_l0", Some(f32s(&[H, D], 0.0)), "a projection"),
            (
                "head.weight",
                Some(f32s(&[H], 0.0)),
                "head.weight is no tensor of this model",
            ),
            ("decoder.bias", Some(nan), "decoder.bias: element 0 is NaN"),
            ("decoder.bias", Some(huge), "decoder.bias: element 0 is inf"),
            (
                "decoder.bias",
                Some(ints),
                "decoder.bias is I32; supported are F32",
            ),
        ];
        for (name, tensor, hint) in cases {
            let mut tensors = model();
            match tensor {
                Some(raw) => tensors.insert((*name).to_owned(), raw.clone()),
                None => tensors.remove(*name),
            };
            let error = read(&file(&tensors), &[], 1).unwrap_err();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn prefixes_are_renamed() {
        let renamed = |(name, raw): (String, Raw)| (format!("model.{name}"), raw);
        let tensors = model().into_iter().map(renamed).collect();
        let bytes = file(&tensors);
        assert!(read(&bytes, &[], 1).unwrap_err().contains("--map OLD=NEW"));
        let map = |text: &str| text.parse::<Rename>().unwrap();
        read(&bytes, &[map("model.=")], 1).unwrap();
        read(&bytes, &[map("model.rnn=rnn"), map("model.=")], 1).unwrap();
        let error = read(&bytes, &[map("model.="), map("net.=")], 1).unwrap_err();
        assert!(error.contains("no tensor begins with net."), "{error}");
        let both = [
            map("model.encoder=x"),
            map("model.decoder=x"),
            map("model.="),
        ];
        assert!(
            read(&bytes, &both, 1)
                .unwrap_err()
                .contains("would both be x.weight")
        );
        assert!("=x".parse::<Rename>().is_err() && "x".parse::<Rename>().is_err());
    }
}
