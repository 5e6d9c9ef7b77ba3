//! The command as a process.

use std::path::Path;
use std::process::Command;

/// `bptt` in `folder`.
pub fn bptt(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bptt"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("XDG_RUNTIME_DIR");
    command
}
