//! The `tiersim` binary; everything is in the library.

fn main() -> std::process::ExitCode {
    tiersim::cli::main()
}
