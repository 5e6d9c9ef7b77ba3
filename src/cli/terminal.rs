//! Writing to the terminal, or to what stands in for it. `println!` panics when nobody reads its
//! output any more (`bptt devices | head -1`); these do not.

use std::io::Write as _;

use crate::error::{Error, Result};

/// Writes to stdout at once.
///
/// # Errors
/// [`Error::Output`] with what the operating system said.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|source| Error::Output { source })
}

/// Writes a value as JSON to stdout.
///
/// # Errors
/// As [`print`].
pub fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(value);
    let json = json.map_err(|e| Error::Output { source: e.into() })?;
    print(&format!("{json}\n"))
}

/// Writes a line to stderr. What cannot be written there is not worth stopping for.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
