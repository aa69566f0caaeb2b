//! Python interpreters with packages, for tests that read and write files with other programs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python that can import `modules`: the one that is there, or one in a virtual environment
/// below `target/`, into which pip installs `packages`. `None` where there is neither.
pub fn with(modules: &str, packages: &[&str]) -> Option<PathBuf> {
    let done = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let works = |python: &Path| done(Command::new(python).args(["-c", &format!("import {modules}")]));
    let plain = PathBuf::from("python3");
    if works(&plain) {
        return Some(plain);
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{}", packages.join("-")));
    let own = folder.join("bin/python");
    if !works(&own) {
        let made = done(Command::new(&plain).args(["-m", "venv"]).arg(&folder));
        let install = ["-m", "pip", "install", "--quiet", "--retries", "0", "--timeout", "10"];
        if !made || !done(Command::new(&own).args(install).args(packages)) {
            return None;
        }
    }
    works(&own).then_some(own)
}
