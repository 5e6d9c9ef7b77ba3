//! Named f32 tensors as a safetensors file.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorInfo, TensorView};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json;

/// Most dimensions of a tensor. We know two.
const MAX_DIMENSIONS: usize = 8;
/// What stands in a header beside the tensors.
const METADATA: &str = "__metadata__";

/// Tensors by name: shape and values.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The tensors as the bytes of a file: the same for the same tensors.
pub fn serialize(tensors: &Tensors) -> Result<Vec<u8>, String> {
    let mut views = BTreeMap::new();
    for (name, (shape, values)) in tensors {
        let bytes = bytemuck::cast_slice(values);
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        views.insert(name, view.map_err(|e| e.to_string())?);
    }
    safetensors::serialize(views, None).map_err(|e| e.to_string())
}

/// Checks the header of a file.
pub fn open(bytes: &[u8]) -> Result<SafeTensors<'_>, String> {
    check_header(bytes)?;
    // That tensors lie one behind the other, from the first byte to the last, is left to it.
    SafeTensors::deserialize(bytes).map_err(|e| format!("not as safetensors are: {e}"))
}

/// The tensors of a header, still as JSON.
#[derive(Deserialize)]
struct Header<'a>(
    #[serde(borrow, deserialize_with = "json::distinct")] BTreeMap<String, &'a RawValue>,
);

/// Checks what the library lets pass, or does not name the tensor of: names that are there twice,
/// sizes that are not those of the data, data behind the end of the file (whose sizes it adds up
/// without looking at overflow).
fn check_header(bytes: &[u8]) -> Result<(), String> {
    let (length, rest) = bytes
        .split_first_chunk()
        .ok_or("too short for safetensors, which begin with the 8 bytes of the header's length")?;
    let length = u64::from_le_bytes(*length);
    let split = usize::try_from(length)
        .ok()
        .and_then(|at| rest.split_at_checked(at));
    let (header, data) = split.ok_or_else(|| {
        let behind = rest.len();
        format!("the header's length is given as {length} bytes, but {behind} are behind it")
    })?;
    let Header(tensors) = json::parse(header).map_err(|what| format!("the header: {what}"))?;
    for (name, info) in tensors.iter().filter(|(name, _)| *name != METADATA) {
        json::parse(info.get().as_bytes())
            .and_then(|info| check_info(&info, data.len()))
            .map_err(|what| format!("{name}: {what}"))?;
    }
    Ok(())
}

/// Checks the description of a tensor in a file with so many bytes of data.
fn check_info(info: &TensorInfo, data: usize) -> Result<(), String> {
    let TensorInfo {
        dtype,
        shape,
        data_offsets: (begin, end),
    } = info;
    let dimensions = shape.len();
    if dimensions > MAX_DIMENSIONS {
        return Err(format!(
            "shape has {dimensions} dimensions, at most {MAX_DIMENSIONS} are read"
        ));
    }
    if begin > end || *end > data {
        return Err(format!(
            "data_offsets [{begin}, {end}] are not in the {data} bytes of data"
        ));
    }
    let count = shape
        .iter()
        .try_fold(1usize, |count, size| count.checked_mul(*size));
    let bits = count.and_then(|count| count.checked_mul(dtype.bitsize()));
    let expected = end - begin;
    if bits.map(|bits| (bits / 8, bits % 8)) != Some((expected, 0)) {
        return Err(format!(
            "shape {shape:?} of {dtype:?} does not take {expected} bytes"
        ));
    }
    Ok(())
}

/// Every tensor of a file, each of which must be f32 and finite.
pub fn read(bytes: &[u8]) -> Result<Tensors, String> {
    let file = open(bytes)?;
    let names = file.names().into_iter();
    let read = names.map(|name| {
        let view = file.tensor(name).map_err(|e| format!("{name}: {e}"))?;
        let shape = view.shape().to_vec();
        let values = tensor(&file, name, &shape)?;
        Ok((name.to_owned(), (shape, values)))
    });
    read.collect()
}

/// The tensor `name`, which must be f32, of this shape, and finite.
pub fn tensor(file: &SafeTensors, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
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
