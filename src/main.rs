//! The `bptt` command.

#![deny(unsafe_code)]

fn main() -> std::process::ExitCode {
    quieten_mesa();
    bptt::cli::main()
}

/// Mesa's device-selection layer, which only reorders adapters, prints errors of its own where there
/// is no desktop session.
#[expect(unsafe_code, reason = "another thread could read the environment")]
fn quieten_mesa() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the process has no other thread yet that could read the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
