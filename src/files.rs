//! Files that appear atomically: each is written under a temporary name in its own folder and then
//! renamed, so a reader finds the old file, the new one, or none, and never a part of one.
//!
//! Temporary files are locked while they are written. When a process is killed, its lock goes with
//! it, and [`tidy`] recognizes what it left behind by that. What a folder of several files needs
//! beyond this (one writer at a time, a record that is put in place last) is in
//! [`report`](crate::report).

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, TempPath};

/// What a file that was written survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The end of this process: the system writes it to the disk when it likes.
    Process,
    /// The end of the machine: it is on the disk when the call returns.
    Machine,
}

/// What is done where there is a file of that name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// The new file takes its place.
    Replace,
    /// It stays, and the call fails with [`std::io::ErrorKind::AlreadyExists`].
    Keep,
}

/// Writes a file so that it appears atomically, in a folder that exists.
///
/// # Errors
/// What the system reports; no part of the file is left then.
pub(crate) fn write_atomically(
    path: &Path,
    bytes: &[u8],
    durability: Durability,
    existing: Existing,
) -> std::io::Result<()> {
    let staged = stage(folder_of(path), bytes, durability)?;
    match existing {
        Existing::Replace => staged.persist(path),
        Existing::Keep => staged.persist_noclobber(path),
    }
    .map_err(|error| error.error)?;
    if durability == Durability::Machine {
        // The name as well; where a folder cannot be opened, the system sees to it.
        return File::open(folder_of(path)).and_then(|folder| folder.sync_all()).or(Ok(()));
    }
    Ok(())
}

/// Writes a file under a temporary name in `folder`; it is removed unless it is renamed. It is
/// closed: a study writes more files than a process may have open.
///
/// # Errors
/// What the system reports.
pub(crate) fn stage(folder: &Path, bytes: &[u8], durability: Durability) -> std::io::Result<TempPath> {
    let mut file = temporary(folder)?;
    file.write_all(bytes)?;
    file.flush()?;
    if durability == Durability::Machine {
        file.as_file().sync_all()?;
    }
    Ok(file.into_temp_path())
}

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What the names of temporary files begin and end with.
const TEMPORARY: (&str, &str) = (".tiersim-", ".tmp");

/// Removes the temporary files in `folder` whose writers were killed. The caller has locked the
/// folder. What cannot be removed stays: it is no reason to end.
pub(crate) fn tidy(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_temporary = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1) && path.is_file()
    };
    for path in entries.filter(is_temporary) {
        // While this lock is held, a process that has just created the file waits for it, and then
        // creates another.
        let unused = File::open(&path).ok().filter(|file| !matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
        if unused.is_some() {
            let _ = fs::remove_file(&path);
        }
    }
}

/// A new temporary file in `folder`, locked for as long as it is open.
pub(crate) fn temporary(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY.0).suffix(TEMPORARY.1);
    // Results are for everyone to read, as far as the umask says; temporary files are private by
    // default.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    loop {
        let file = builder.tempfile_in(folder)?;
        // A file system without locks has no process that would remove it either.
        let locked = file.as_file().lock().is_ok();
        if !locked || is_linked(file.as_file()) {
            return Ok(file);
        }
    }
}

/// Whether a file still has a name: another process may have taken it for a leftover before it was
/// locked.
#[cfg(unix)]
fn is_linked(file: &File) -> bool {
    file.metadata().is_ok_and(|found| std::os::unix::fs::MetadataExt::nlink(&found) > 0)
}

#[cfg(not(unix))]
fn is_linked(_: &File) -> bool {
    true
}
