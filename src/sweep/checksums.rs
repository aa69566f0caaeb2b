//! `checksums.json`: the expected checksums of a sweep's files, so that a damaged file is not read
//! as results.

use super::SweepError;
use crate::files::{Durability, Existing, write_atomically};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The name of the file.
const FILE: &str = "checksums.json";

/// The checksums of files in a folder, by their names within it. Files of earlier versions have
/// none.
#[derive(Debug)]
pub(super) struct Checksums {
    path: PathBuf,
    known: Mutex<BTreeMap<String, Entry>>,
}

/// The expected size and checksum of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// CRC-32, 8 hexadecimal digits.
    crc32: String,
    bytes: u64,
}

impl Entry {
    fn of(bytes: &[u8]) -> Self {
        Self { crc32: format!("{:08x}", crc32fast::hash(bytes)), bytes: bytes.len() as u64 }
    }
}

impl Checksums {
    /// Those of `folder`; none if it has no such file.
    pub fn read(folder: &Path) -> Result<Self, SweepError> {
        let path = folder.join(FILE);
        let known = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| SweepError::damaged(&path, error))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(SweepError::write(&path, error)),
        };
        Ok(Self { path, known: Mutex::new(known) })
    }

    /// Checks that `bytes` match the checksum of the file `name`, where it is known.
    pub fn check(&self, name: &str, path: &Path, bytes: &[u8]) -> Result<(), SweepError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(name) {
            Some(entry) if *entry != Entry::of(bytes) => {
                Err(SweepError::damaged(path, format!("its checksum is not the one in {FILE}")))
            }
            _ => Ok(()),
        }
    }

    /// Notes the checksum of the file `name`. The file of checksums depends on the files, not on
    /// the order in which they are noted.
    pub fn note(&self, name: &str, bytes: &[u8]) -> Result<(), SweepError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = Entry::of(bytes);
        if known.get(name) == Some(&entry) {
            return Ok(());
        }
        known.insert(name.to_owned(), entry);
        let text = serde_json::to_string_pretty(&*known).map_err(|error| SweepError::Encode(error.to_string()))?;
        write_atomically(&self.path, (text + "\n").as_bytes(), Durability::Machine, Existing::Replace)
            .map_err(|error| SweepError::write(&self.path, error))
    }
}
