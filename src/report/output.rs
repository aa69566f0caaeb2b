use super::explanation::FILES as EXPLANATION;
use super::pictures::PICTURES;
use super::{several, timeline};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A file to be written, with its path relative to the folder of the results.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Relative path.
    pub path: PathBuf,
    /// Content.
    pub bytes: Vec<u8>,
}

impl Artifact {
    /// A file of that relative path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), bytes: bytes.into() }
    }
}

/// Why results cannot be written.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum ReportError {
    #[error("cannot write '{path}': {source}. Choose another folder with --out")]
    Write { path: String, source: std::io::Error },
    #[error("cannot make {what}: {message}")]
    Format { what: String, message: String },
}

impl ReportError {
    pub(super) fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Write { path: path.display().to_string(), source }
    }

    pub(super) fn format(what: impl Into<String>, message: impl ToString) -> Self {
        Self::Format { what: what.into(), message: message.to_string() }
    }
}

/// Creates `folder` if need be and makes sure that files can be written there, so that a long run does not end in vain.
///
/// # Errors
/// [`ReportError::Write`].
pub fn check_folder(folder: &Path) -> Result<(), ReportError> {
    fs::create_dir_all(folder).map_err(|source| ReportError::write(folder, source))?;
    temporary(folder).map(drop).map_err(|source| ReportError::write(folder, source))
}

/// Writes all artifacts under `folder`: each to a temporary name first, and when all of them are there, they become the files.
/// So a disk that fills leaves the earlier files as they were, of one run, and neither half a file nor a temporary one.
///
/// # Errors
/// [`ReportError::Write`]; no artifact is written then, unless one could not be renamed.
pub fn write(folder: &Path, artifacts: &[Artifact]) -> Result<(), ReportError> {
    let mut written: Vec<(_, PathBuf)> = Vec::with_capacity(artifacts.len());
    for artifact in artifacts {
        let path = folder.join(&artifact.path);
        let within = path.parent().unwrap_or(folder);
        if written.last().is_none_or(|(_, last)| last.parent() != path.parent()) {
            fs::create_dir_all(within).map_err(|source| ReportError::write(within, source))?;
        }
        let put = || {
            let mut file = temporary(within)?;
            file.write_all(&artifact.bytes)?;
            file.flush()?;
            // Closed here: a study writes more files than a process may have open.
            Ok(file.into_temp_path())
        };
        let temporary = put().map_err(|source| ReportError::write(&path, source))?;
        written.push((temporary, path));
    }
    for (temporary, path) in written {
        temporary.persist(&path).map_err(|error| ReportError::write(&path, error.error))?;
    }
    Ok(())
}

/// Writes a file that is too large to hold, as `put` says: to a temporary name first, as [`write()`] does.
///
/// # Errors
/// [`ReportError::Write`], and what `put` returns.
pub fn write_streamed<E: From<ReportError>>(
    path: &Path,
    put: impl FnOnce(&mut fs::File) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |source| ReportError::write(path, source);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let mut file = temporary(folder).map_err(failed)?;
    put(file.as_file_mut())?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Writes `artifacts` as [`write()`] does, and takes away the pictures of an earlier call that this one did not write: those in
/// `folder` whose names start with one of `kinds` and an underscore.
///
/// # Errors
/// [`ReportError::Write`].
pub fn replace(folder: &Path, artifacts: &[Artifact], kinds: &[&str]) -> Result<(), ReportError> {
    write(folder, artifacts)?;
    let written = |path: &Path| artifacts.iter().any(|artifact| folder.join(&artifact.path) == path);
    let ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let kind = kinds.iter().any(|kind| name.strip_prefix(kind).is_some_and(|rest| rest.starts_with('_')));
        kind && path.extension().is_some_and(|ending| ending == "svg" || ending == "png")
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for stale in entries.filter(ours).filter(|path| path.is_file() && !written(path)) {
        fs::remove_file(&stale).map_err(|source| ReportError::write(&stale, source))?;
    }
    Ok(())
}

/// Writes a run's `artifacts` as [`write()`] does, and takes away what an earlier run left in `folder`: histograms and
/// pictures that this one did not write, the explanation of that run, and the page beside `folder` that shows it among others.
///
/// # Errors
/// [`ReportError::Write`].
pub fn write_run(folder: &Path, artifacts: &[Artifact]) -> Result<(), ReportError> {
    write(folder, artifacts)?;
    let written = |path: &Path| artifacts.iter().any(|artifact| folder.join(&artifact.path) == path);
    let histograms = folder.join("histograms");
    let entries = fs::read_dir(&histograms).into_iter().flatten().flatten().map(|entry| entry.path());
    let of_runs = entries.filter(|path| path.extension().is_some_and(|extension| extension == "hgrm"));
    let pictures = PICTURES.iter().chain([&timeline::PICTURE]);
    let pictures = pictures.flat_map(|name| ["svg", "png"].map(|ending| folder.join(name).with_extension(ending)));
    let others = ["timeline.json"].iter().chain(&EXPLANATION).map(|name| folder.join(name));
    for stale in of_runs.chain(pictures).chain(others).filter(|path| path.is_file() && !written(path)) {
        fs::remove_file(&stale).map_err(|source| ReportError::write(&stale, source))?;
    }
    several::drop_stale(folder, artifacts)
}

fn temporary(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tiersim-").suffix(".tmp");
    // Results are for everyone to read, as far as the umask says; temporary files are private by default.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}
