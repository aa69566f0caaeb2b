//! The program as a user starts it.

use assert_cmd::Command;
use std::path::{Path, PathBuf};

/// The program, for tests that need a process of their own rather than an [`assert_cmd::Command`].
pub fn binary() -> PathBuf {
    assert_cmd::cargo::cargo_bin("tiersim")
}

/// `tiersim` with these arguments, in `folder`.
pub fn tiersim(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("tiersim").expect("the binary is built for its tests");
    command.current_dir(folder).args(args);
    command
}
