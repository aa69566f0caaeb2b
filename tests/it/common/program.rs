//! The program as a user starts it.

use assert_cmd::Command;
use std::path::{Path, PathBuf};

/// The program, for tests that need a process of their own rather than an [`assert_cmd::Command`].
pub fn binary() -> PathBuf {
    assert_cmd::cargo::cargo_bin("tiersim")
}

/// What `tiersim` prints with these arguments, in `folder`, when it succeeds.
pub fn stdout(folder: &Path, args: &[&str]) -> String {
    let output = tiersim(folder, args).assert().success().get_output().clone();
    String::from_utf8(output.stdout).unwrap()
}

/// What it says when it refuses them with exit code 2.
pub fn refused(folder: &Path, args: &[&str]) -> String {
    let output = tiersim(folder, args).assert().code(2).get_output().clone();
    String::from_utf8(output.stderr).unwrap()
}

/// `tiersim` with these arguments, in `folder`.
pub fn tiersim(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("tiersim").expect("the binary is built for its tests");
    command.current_dir(folder).args(args);
    command
}
