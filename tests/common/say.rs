//! What a test says even though it passes.

use std::io::Write as _;

/// Writes a line to the terminal itself: what `eprintln!` writes is not shown for tests that pass.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
