//! A model as ONNX, for runtimes that know its standard operators
//! (<https://onnx.ai/onnx/operators/>).
//!
//! | input, output | shape | |
//! | --- | --- | --- |
//! | `tokens` | `[T, N]`, int64 | ids |
//! | `initial_state` | `[1, N, H]` | zeros at the beginning of a text |
//! | `logits` | `[T, N, V]` | of the token that follows each |
//! | `final_state` | `[1, N, H]` | the initial state of what comes next |
//!
//! T and N are free. The metadata holds the vocabulary, `tokenizer.json`, and its SHA-256.

use std::path::Path;

use super::protobuf::Message;
use crate::checkpoint::{Checkpoint, sha256, transpose};
use crate::error::{Error, Result};

/// The version of the standard operators.
const OPSET: i64 = 17;
/// The version of the file format that came with it.
const IR_VERSION: i64 = 8;
/// Protocol buffers end before 2 GiB.
const LIMIT: u64 = i32::MAX as u64;

/// `TensorProto.DataType`.
const FLOAT: i64 = 1;
const INT64: i64 = 7;

/// The bytes of a file, to be written to `path`.
///
/// # Errors
/// [`Error::ModelTooLarge`] from 2 GiB on.
pub fn model(checkpoint: &Checkpoint, path: &Path) -> Result<Vec<u8>> {
    let vocabulary = checkpoint.vocabulary.to_json().to_string();
    let parameters: usize = checkpoint.weights.iter().map(|(_, w)| w.len()).sum();
    check_size(parameters as u64 * 4 + vocabulary.len() as u64, path)?;
    // OperatorSetIdProto: domain = 1 (the standard one), version = 2.
    let opset = Message::new().string(1, "").int(2, OPSET);
    let level = checkpoint.vocabulary.level().tokens();
    let hash = sha256(vocabulary.as_bytes());
    let metadata = [
        ("tokenizer.json", vocabulary.as_str()),
        ("tokenizer.json.sha256", &hash),
        ("tokens", level),
    ];
    // StringStringEntryProto: key = 1, value = 2.
    let metadata = metadata.map(|(key, value)| Message::new().string(1, key).string(2, value));
    let bytes = Message::new()
        .int(1, IR_VERSION)
        .string(2, "bptt")
        .string(3, env!("CARGO_PKG_VERSION"))
        .message(7, graph(checkpoint))
        .message(8, opset)
        .messages(14, metadata)
        .into_bytes();
    check_size(bytes.len() as u64, path)?;
    Ok(bytes)
}

fn check_size(bytes: u64, path: &Path) -> Result<()> {
    match bytes {
        ..LIMIT => Ok(()),
        _ => Err(Error::ModelTooLarge {
            path: path.to_owned(),
            bytes,
            limit: LIMIT,
        }),
    }
}

/// e = E[tokens]; h = RNN(e); logits = h·Wa + ba.
fn graph(checkpoint: &Checkpoint) -> Message {
    let size = checkpoint.config.model_size(checkpoint.vocabulary.len());
    let (v, d, h) = (size.vocab, size.embedding, size.hidden);
    // AttributeProto: name = 1, i = 3, type = 20 (INT = 2).
    let hidden_size = Message::new().string(1, "hidden_size");
    let hidden_size = hidden_size.int(3, h as i64).int(20, 2);
    // The recurrent operator has a dimension of directions: one.
    let rnn = ["embedded", "Wx", "Wh", "b", "", "initial_state"];
    let nodes = [
        node("Gather", &["E", "tokens"], &["embedded"]),
        node("RNN", &rnn, &["directions", "final_state"]).message(5, hidden_size),
        node("Squeeze", &["directions", "direction_axis"], &["hidden"]),
        node("MatMul", &["hidden", "Wa"], &["products"]),
        node("Add", &["products", "ba"], &["logits"]),
    ];
    let shapes: [(&str, &[usize]); 6] = [
        ("E", &[v, d]),
        ("Wx", &[1, h, d]),
        ("Wh", &[1, h, h]),
        ("b", &[1, 2 * h]),
        ("Wa", &[h, v]),
        ("ba", &[v]),
    ];
    let second = checkpoint.weights.iter().find(|(name, _)| *name == "bh");
    let second = second.map_or(vec![0.0; h], |(_, bh)| bh.to_vec());
    let weights = checkpoint.weights.iter().filter_map(|(name, values)| {
        // bh has none: it stands behind b.
        let (_, shape) = shapes.iter().find(|(n, _)| *n == name)?;
        let values = match name {
            "Wx" | "Wh" => transpose(values, values.len() / h, h),
            // Of the input and of the state, one after the other.
            "b" => [values, &second].concat(),
            _ => values.to_vec(),
        };
        let bytes: Vec<u8> = values.iter().flat_map(|w| w.to_le_bytes()).collect();
        Some(tensor(name, FLOAT, shape, &bytes))
    });
    let axis = tensor("direction_axis", INT64, &[1], &1i64.to_le_bytes());
    let state = [Dim::Size(1), Dim::Free("N"), Dim::Size(h)];
    let (steps, streams) = (Dim::Free("T"), Dim::Free("N"));
    Message::new()
        .messages(1, nodes)
        .string(2, "rnn_language_model")
        .messages(5, weights)
        .message(5, axis)
        .message(11, value("tokens", INT64, &[steps, streams]))
        .message(11, value("initial_state", FLOAT, &state))
        .message(12, value("logits", FLOAT, &[steps, streams, Dim::Size(v)]))
        .message(12, value("final_state", FLOAT, &state))
}

/// NodeProto: input = 1, output = 2, name = 3, op_type = 4.
fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> Message {
    let node = inputs
        .iter()
        .fold(Message::new(), |n, name| n.string(1, name));
    let node = outputs.iter().fold(node, |n, name| n.string(2, name));
    node.string(3, operator).string(4, operator)
}

/// TensorProto: dims = 1, data_type = 2, name = 8, raw_data = 9 (little-endian).
fn tensor(name: &str, data_type: i64, shape: &[usize], data: &[u8]) -> Message {
    let dims = shape
        .iter()
        .fold(Message::new(), |t, d| t.int(1, *d as i64));
    dims.int(2, data_type).string(8, name).bytes(9, data)
}

/// A dimension of an input or an output.
#[derive(Clone, Copy)]
enum Dim {
    Size(usize),
    /// Any size, the same wherever this name stands.
    Free(&'static str),
}

/// ValueInfoProto: name = 1, type = 2. TypeProto: tensor_type = 1, of elem_type = 1 and shape = 2.
/// TensorShapeProto: dim = 1, of dim_value = 1 or dim_param = 2.
fn value(name: &str, data_type: i64, shape: &[Dim]) -> Message {
    let dim = |dim: &Dim| match dim {
        Dim::Size(size) => Message::new().int(1, *size as i64),
        Dim::Free(name) => Message::new().string(2, name),
    };
    let shape = Message::new().messages(1, shape.iter().map(dim));
    let tensor = Message::new().int(1, data_type).message(2, shape);
    let name = Message::new().string(1, name);
    name.message(2, Message::new().message(1, tensor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_protocol_buffers_cannot_hold_is_refused() {
        let path = Path::new("model.onnx");
        check_size((1 << 31) - 2, path).unwrap();
        let error = check_size((1 << 31) - 1, path).unwrap_err().to_string();
        assert!(
            error.starts_with("model.onnx would be 2147483647 bytes"),
            "{error}"
        );
    }
}
