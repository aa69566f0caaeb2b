//! The `tiersim` binary; everything is in the library, but the panic hook, which is the whole
//! process's.

use std::panic;

fn main() -> std::process::ExitCode {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // A decoder's panic over a damaged trace becomes an error message.
        if !tiersim::workload::is_decoding() {
            usual(info);
        }
    }));
    tiersim::cli::main()
}
