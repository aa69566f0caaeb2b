//! Folders for results: one process writes to a folder at a time, and temporary files of killed
//! processes are removed.
//!
//! A [`Claim`] locks the folder itself, so no lock file is needed and a killed process leaves no
//! lock behind. Files appear [under temporary names](crate::files) first; a temporary file of a
//! running process is recognized by its own lock or by that of its folder.

use super::artifact::{HISTOGRAMS, ReportError};
use crate::files::{temporary, tidy};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Exclusive write access to a folder, until this is dropped.
#[derive(Clone, Debug)]
#[must_use = "other processes may write to the folder when this is dropped"]
pub struct Claim {
    /// `None` where the file system has no locks: going on is better than refusing every run.
    _lock: Option<Arc<File>>,
}

/// The folders that this process has locked, by canonical path: a second lock of one folder would
/// wait for the first.
static HELD: Mutex<Vec<(PathBuf, Weak<File>)>> = Mutex::new(Vec::new());

/// Creates `folder` if need be and claims it, so that a long run neither ends in vain nor mixes
/// with another one: files can be written there, no other process does so, and none of `files`
/// (names within it) is a folder. Removes the temporary files of killed processes. A process may
/// claim a folder several times.
///
/// # Errors
/// [`ReportError::Write`], [`ReportError::Locked`] and [`ReportError::IsFolder`].
pub fn claim<Name: AsRef<Path>>(folder: &Path, files: &[Name]) -> Result<Claim, ReportError> {
    let claim = hold(folder)?;
    temporary(folder).map_err(|source| ReportError::write(folder, source))?;
    no_folders(files.iter().map(|name| folder.join(name)))?;
    Ok(claim)
}

/// Checks that none of `files` is a folder, as a file cannot be renamed over a folder.
pub(super) fn no_folders(files: impl IntoIterator<Item = PathBuf>) -> Result<(), ReportError> {
    match files.into_iter().find(|path| path.is_dir()) {
        Some(path) => Err(ReportError::IsFolder { path: path.display().to_string() }),
        None => Ok(()),
    }
}

/// Creates and locks `folder`, and removes temporary files that nobody is writing.
pub(super) fn hold(folder: &Path) -> Result<Claim, ReportError> {
    let failed = |source| ReportError::write(folder, source);
    fs::create_dir_all(folder).map_err(failed)?;
    let path = fs::canonicalize(folder).map_err(failed)?;
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    held.retain(|(_, lock)| lock.strong_count() > 0);
    if let Some(lock) = held.iter().find(|(known, _)| *known == path).and_then(|(_, lock)| lock.upgrade()) {
        return Ok(Claim { _lock: Some(lock) });
    }
    // Some systems cannot open a folder.
    let Ok(opened) = File::open(&path) else { return Ok(Claim { _lock: None }) };
    match lock(&opened) {
        Err(TryLockError::WouldBlock) => return Err(ReportError::Locked { folder: folder.display().to_string() }),
        Err(TryLockError::Error(_)) => return Ok(Claim { _lock: None }),
        Ok(()) => {}
    }
    for folder in [&path, &path.join(HISTOGRAMS)] {
        tidy(folder);
    }
    let lock = Arc::new(opened);
    held.push((path, Arc::downgrade(&lock)));
    Ok(Claim { _lock: Some(lock) })
}

/// Locks a folder, waiting only as long as another process may take to replace one file.
fn lock(folder: &File) -> Result<(), TryLockError> {
    for _ in 0..ATTEMPTS {
        match folder.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            result => return result,
        }
    }
    folder.try_lock()
}

/// How often, and how far apart, a lock is tried.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_removed_but_not_what_is_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let left = [path.join(".tiersim-left.tmp"), path.join("histograms/.tiersim-left.tmp")];
        fs::create_dir(path.join("histograms")).unwrap();
        for leftover in &left {
            fs::write(leftover, "half").unwrap();
        }
        let others = path.join(".tiersim-notes.txt");
        fs::write(&others, "mine").unwrap();
        let writing = temporary(path).unwrap();
        let _claim = claim(path, &[] as &[&str]).unwrap();
        assert!(left.iter().all(|leftover| !leftover.exists()));
        assert!(writing.path().exists() && others.exists());
        let names = fs::read_dir(path).unwrap().count();
        assert_eq!(names, 3, "histograms, the notes and what is being written");
    }

    #[test]
    fn a_folder_has_one_writer() {
        let folder = tempfile::tempdir().unwrap();
        // As of another process.
        let other = File::open(folder.path()).unwrap();
        other.lock().unwrap();
        let error = claim(folder.path(), &[] as &[&str]).unwrap_err();
        assert!(error.to_string().contains("--out"), "{error}");
        drop(other);
        let first = claim(folder.path(), &[] as &[&str]).unwrap();
        let second = claim(folder.path(), &[] as &[&str]).unwrap();
        drop(first);
        let other = File::open(folder.path()).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(second);
        other.try_lock().unwrap();
    }

    #[test]
    fn a_folder_in_a_files_place_is_found_at_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("report.html")).unwrap();
        let error = claim(folder.path(), &["summary.json", "report.html"]).unwrap_err();
        assert!(matches!(error, ReportError::IsFolder { .. }), "{error}");
        assert!(error.to_string().contains("report.html"));
    }
}
