//! What a run leaves, but for what a clock gives.

use serde_json::Value;

/// What a clock gives, and the length of lines that hold it.
const TIMING: [&str; 3] = ["seconds", "tokens_per_second", "log_bytes"];

/// A JSON object without what a clock gives.
pub fn timeless(json: &str) -> Result<Value, String> {
    let mut value: Value = serde_json::from_str(json).map_err(|e| format!("{json:?}: {e}"))?;
    for field in TIMING {
        value.as_object_mut().ok_or("no object")?.remove(field);
    }
    Ok(value)
}
