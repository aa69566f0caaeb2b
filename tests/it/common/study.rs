//! The study, run once for all tests that read what it writes: it takes longer than any other run.

use super::program::tiersim;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// What `tiersim study` wrote.
pub struct Study {
    /// Its folder of results.
    pub folder: PathBuf,
    /// The tables that it printed.
    pub tables: String,
}

/// The study of this process; the first test that asks runs it while others wait.
pub static STUDY: LazyLock<Study> = LazyLock::new(|| {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("study");
    // What an earlier process left.
    if place.exists() {
        std::fs::remove_dir_all(&place).expect("the folder of an earlier study can be removed");
    }
    std::fs::create_dir_all(&place).expect("a folder below target/");
    let output = tiersim(&place, &["study", "--out", "results"]).assert().success().get_output().clone();
    Study { folder: place.join("results"), tables: String::from_utf8(output.stdout).expect("text") }
});
