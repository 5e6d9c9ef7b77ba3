//! Writing to the terminal, or to what stands in for it. `println!` panics when nobody reads its
//! output any more (`bptt devices | head -1`); these do not.

use std::io::{IsTerminal, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::json;

use crate::error::{Error, Result};

/// How stderr is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line: the events of a run as in metrics.jsonl, notes, warnings, errors, and what
    /// --verbose or RUST_LOG asks for.
    Json,
}

/// Are notes left out?
static QUIET: AtomicBool = AtomicBool::new(false);
/// Is stderr written as JSON?
static JSON: AtomicBool = AtomicBool::new(false);

/// Sets how stderr is written, from now on.
pub fn set_up(quiet: bool, format: LogFormat) {
    QUIET.store(quiet, Ordering::Relaxed);
    JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// Is stderr written as JSON?
pub fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Is stderr a terminal on which a progress bar is welcome?
pub fn shows_progress() -> bool {
    std::io::stderr().is_terminal() && !is_json() && !QUIET.load(Ordering::Relaxed)
}

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

/// Writes a line to stderr, unless it is to be quiet. What cannot be written there is not worth
/// stopping for.
pub fn note(line: &str) {
    if QUIET.load(Ordering::Relaxed) {
        return;
    }
    if is_json() {
        event(&json!({ "event": "note", "text": line }));
    } else {
        write_line(&plain(line));
    }
}

/// A text without what moves a terminal's cursor or changes its colours, which the name of a tensor
/// or a character of a text could hold.
pub fn plain(text: &str) -> String {
    let moves = |c: char| c.is_control() && c != '\n' && c != '\t';
    text.replace(moves, "\u{fffd}")
}

/// Writes an event to stderr, as JSON.
pub fn event(event: &impl Serialize) {
    if let Ok(line) = serde_json::to_string(event) {
        write_line(&line);
    }
}

/// Writes a warning to stderr, in yellow on a terminal, also if it is to be quiet.
pub fn warn(text: &str) {
    if is_json() {
        return event(&json!({ "event": "warning", "text": text }));
    }
    let word = console::style("warning:").for_stderr().yellow().bold();
    write_line(&format!("{word} {text}"));
}

/// Writes an error to stderr, in red on a terminal.
pub fn complain(error: &Error) {
    if is_json() {
        event(&json!({ "event": "error", "text": error.to_string() }));
        return;
    }
    let word = console::style("error:").for_stderr().red().bold();
    write_line(&format!("{word} {}", plain(&error.to_string())));
}

fn write_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
