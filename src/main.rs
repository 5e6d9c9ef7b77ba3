//! The `bptt` command.

fn main() -> std::process::ExitCode {
    bptt::cli::main()
}
