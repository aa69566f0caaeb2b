//! Writing files into a folder so that readers never see a mixture of two runs.
//!
//! Every file is first written under a temporary name; only when all of them are complete are they
//! renamed. The first artifact of a folder (its record, such as `summary.json`) is removed before
//! and renamed last, so that a folder has a record only if all its files belong together.

use super::artifact::{Artifact, ReportError};
use super::claim::{hold, no_folders};
use crate::files::{Durability, folder_of, stage, temporary};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Writes all artifacts under `folder`, so that it holds those of this call or of an earlier one
/// and never some of each.
///
/// All are written under temporary names first, so a full disk leaves the earlier files as they
/// were. The first artifact is the folder's record (such as `summary.json`), by which readers know
/// what is there: it is removed before the first file is replaced and is put in place after the
/// last one. A process that is killed in between leaves a folder without a record.
///
/// # Errors
/// [`ReportError`]; nothing is changed then, unless a file could not be renamed: the record is
/// missing in that case.
pub fn write(folder: &Path, artifacts: &[Artifact]) -> Result<(), ReportError> {
    put_in_place(folder, artifacts, Vec::new())
}

/// Writes `artifacts` as [`write()`] does, and removes the pictures of an earlier call that this
/// one does not write: those in `folder` whose names start with one of `kinds` and an underscore.
///
/// # Errors
/// As [`write()`].
pub fn replace(folder: &Path, artifacts: &[Artifact], kinds: &[&str]) -> Result<(), ReportError> {
    let ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let kind = kinds.iter().any(|kind| name.strip_prefix(kind).is_some_and(|rest| rest.starts_with('_')));
        kind && path.extension().is_some_and(|ending| ending == "svg" || ending == "png")
    };
    put_in_place(folder, artifacts, entries(folder).filter(ours).collect())
}

/// The paths of a folder's entries.
pub(super) fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// [`write()`], which also removes those of the `stale` files that are not written.
pub(super) fn put_in_place(folder: &Path, artifacts: &[Artifact], stale: Vec<PathBuf>) -> Result<(), ReportError> {
    // A single file is replaced atomically, whoever else writes to the folder.
    let single = artifacts.len() < 2 && stale.is_empty();
    let claim = hold(folder);
    let _claim = if single { claim.ok() } else { Some(claim?) };
    no_folders(artifacts.iter().map(|artifact| folder.join(&artifact.path)))?;
    let mut written: Vec<(_, PathBuf)> = Vec::with_capacity(artifacts.len());
    for artifact in artifacts {
        let path = folder.join(&artifact.path);
        let within = path.parent().unwrap_or(folder);
        if written.last().is_none_or(|(_, last)| last.parent() != path.parent()) {
            fs::create_dir_all(within).map_err(|source| ReportError::write(within, source))?;
        }
        let staged = stage(within, &artifact.bytes, Durability::Process);
        written.push((staged.map_err(|source| ReportError::write(&path, source))?, path));
    }
    let remove = |path: &Path| match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(ReportError::write(path, error)),
        _ => Ok(()),
    };
    if !single && let Some((_, record)) = written.first() {
        remove(record)?;
    }
    let is_written = |path: &PathBuf| written.iter().any(|(_, written)| written == path);
    for path in stale.iter().filter(|path| path.is_file() && !is_written(path)) {
        remove(path)?;
    }
    // The record last.
    let record = written.len().min(1);
    written.rotate_left(record);
    for (temporary, path) in written {
        temporary.persist(&path).map_err(|error| ReportError::write(&path, error.error))?;
    }
    Ok(())
}

/// Writes a file that is too large for memory through `put`, under a temporary name first, as
/// [`write()`] does.
///
/// # Errors
/// [`ReportError::Write`], [`ReportError::IsFolder`], and what `put` returns.
pub fn write_streamed<E: From<ReportError>>(
    path: &Path,
    put: impl FnOnce(&mut fs::File) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |source| ReportError::write(path, source);
    let folder = folder_of(path);
    no_folders([path.to_owned()])?;
    // Temporary files of killed processes are removed where no other process is writing.
    drop(hold(folder));
    fs::create_dir_all(folder).map_err(failed)?;
    let mut file = temporary(folder).map_err(failed)?;
    put(file.as_file_mut())?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifacts(text: &str) -> Vec<Artifact> {
        ["summary.json", "steps.csv", "histograms/a.hgrm"].map(|name| Artifact::new(name, text)).into()
    }

    #[test]
    fn the_record_is_removed_first_and_put_in_place_last() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        write(folder.path(), &artifacts("old")).unwrap();
        // Nothing is touched where a file cannot be put in place.
        fs::remove_file(folder.path().join("histograms/a.hgrm")).unwrap();
        fs::create_dir(folder.path().join("histograms/a.hgrm")).unwrap();
        assert!(matches!(write(folder.path(), &artifacts("new")), Err(ReportError::IsFolder { .. })));
        assert_eq!((read("summary.json"), read("steps.csv")), (Some("old".into()), Some("old".into())));
        fs::remove_dir(folder.path().join("histograms/a.hgrm")).unwrap();
        write(folder.path(), &artifacts("new")).unwrap();
        assert_eq!((read("summary.json"), read("histograms/a.hgrm")), (Some("new".into()), Some("new".into())));
        assert!(entries(folder.path()).all(|path| !path.to_string_lossy().ends_with(".tmp")));
    }
}
