//! Named f32 tensors as a safetensors file.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

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
    SafeTensors::deserialize(bytes).map_err(|e| e.to_string())
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
