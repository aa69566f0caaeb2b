//! A sweep's results on disk: the folder that cells are written to, resumed from and read from.
//!
//! Cells are grouped into blocks of consecutive numbers. A block that is complete is one Parquet
//! file; the rows of an incomplete block are in a journal, from which an interrupted sweep resumes.
//! A manifest (`sweep.json`) records which sweep, which shard and which version of tiersim wrote
//! the folder, so that results of different sweeps are never mixed, and every file is checked
//! against its checksum when it is read.

use super::checksums::Checksums;
use super::journal::Journal;
use super::{Plan, Row, Shard, SweepConfig, SweepError, dataset};
use crate::catalog::open_trace;
use crate::files::{self, Durability, tidy, write_atomically};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// How many cell numbers a file of the dataset spans.
pub(super) const BLOCK: u64 = 4096;

/// The version of the layout of a folder.
const SCHEMA: u32 = 1;

const MANIFEST: &str = "sweep.json";
const CELLS: &str = "cells";
const JOURNAL: &str = "journal";

/// The manifest of a folder: `sweep.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Manifest {
    schema: u32,
    /// The version of tiersim that runs it: figures of different versions are not mixed.
    tiersim: String,
    /// Which part of the sweep this is; absent where it is all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shard: Option<Shard>,
    /// How many combinations there are.
    combinations: u64,
    /// The checksum (CRC-32) of every recorded trace that cells read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    traces: BTreeMap<String, u32>,
    sweep: SweepConfig,
}

impl Manifest {
    fn of(plan: &Plan, shard: Shard) -> Result<Self, SweepError> {
        Ok(Self {
            schema: SCHEMA,
            tiersim: env!("CARGO_PKG_VERSION").to_owned(),
            shard: (shard != Shard::ALL).then_some(shard),
            combinations: plan.cells(),
            traces: checksums(plan)?,
            sweep: plan.config().clone(),
        })
    }

    /// The part that differs, for an error message.
    fn difference(&self, other: &Self) -> Option<String> {
        if self.sweep.name != other.sweep.name {
            return Some(format!("it holds the sweep '{}'", self.sweep.name));
        }
        if self.tiersim != other.tiersim {
            return Some(format!("it was written by tiersim {}, this is {}", self.tiersim, other.tiersim));
        }
        if self.shard != other.shard {
            let named = |shard: Option<Shard>| {
                shard.map_or_else(|| "all of the sweep".to_owned(), |shard| format!("shard {shard}"))
            };
            return Some(format!("it holds {}, not {}", named(self.shard), named(other.shard)));
        }
        if self.traces != other.traces {
            return Some("a recorded trace has changed since".to_owned());
        }
        let tree = |manifest: &Self| serde_json::to_value(&manifest.sweep).unwrap_or_default();
        let (mine, theirs) = (tree(self), tree(other));
        let fields = mine.as_object().into_iter().flatten();
        let differing = fields.map(|(name, _)| name).find(|name| mine[name.as_str()] != theirs[name.as_str()]);
        differing.map(|name| format!("it holds a sweep '{}' with other {name}", self.sweep.name))
    }
}

/// The checksums of the recorded traces that a plan's cells may read.
fn checksums(plan: &Plan) -> Result<BTreeMap<String, u32>, SweepError> {
    let mut files = Vec::new();
    let base = serde_json::to_value(&plan.config().base).unwrap_or_default();
    recorded(&base, &mut files);
    plan.config().set.values().for_each(|value| recorded(value, &mut files));
    for (path, value) in plan.axes().iter().flat_map(|axis| &axis.levels).flat_map(|level| &level.assignments) {
        match value {
            Value::String(file) if path == "trace.file" => files.push(file.clone()),
            value => recorded(value, &mut files),
        }
    }
    files.sort();
    files.dedup();
    let mut checksums = BTreeMap::new();
    for file in files {
        let failed = |message: String| SweepError::Trace { file: file.clone(), message };
        let checksum = match crate::catalog::trace(&file) {
            Some(bytes) => crc32fast::hash(bytes),
            None => {
                open_trace(Path::new(&file)).map_err(|error| failed(error.to_string()))?;
                let mut hasher = crc32fast::Hasher::new();
                let mut reader = File::open(&file).map_err(|error| failed(error.to_string()))?;
                std::io::copy(&mut reader, &mut HashWriter(&mut hasher)).map_err(|error| failed(error.to_string()))?;
                hasher.finalize()
            }
        };
        checksums.insert(file, checksum);
    }
    Ok(checksums)
}

struct HashWriter<'a>(&'a mut crc32fast::Hasher);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The files of all recorded traces in a tree of fields.
fn recorded(tree: &Value, files: &mut Vec<String>) {
    if let Some(file) = tree.get("Recorded").and_then(|recorded| recorded.get("file")).and_then(Value::as_str) {
        files.push(file.to_owned());
    }
    match tree {
        Value::Object(fields) => fields.values().for_each(|value| recorded(value, files)),
        Value::Array(entries) => entries.iter().for_each(|value| recorded(value, files)),
        _ => {}
    }
}

/// A sweep's results on disk.
///
/// `sweep.json` is the manifest, `checksums.json` has a checksum of every file, `cells/` has a
/// Parquet file for each block of cells that is complete, and `journal/` the finished rows of
/// blocks that are not. Every byte of a complete sweep depends only on the sweep.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    shard: Shard,
    checksums: Checksums,
    /// Locked for as long as this process may write.
    _lock: Option<File>,
}

/// How a folder that already has results of the same sweep is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Complete results stay as they are; an unfinished sweep is an error.
    Keep,
    /// Missing cells are run.
    Resume,
}

impl Folder {
    /// Opens `path` for the results of a shard of `plan`: creates it, or resumes the results there.
    ///
    /// # Errors
    /// [`SweepError`] if it holds other files, another process is using it, or it cannot be
    /// written.
    pub fn take(path: &Path, plan: &Plan, shard: Shard, existing: Existing) -> Result<Self, SweepError> {
        let manifest = Manifest::of(plan, shard)?;
        let file = path.join(MANIFEST);
        if !file.exists() {
            if has_entries(&path.join(CELLS)) {
                return Err(SweepError::Foreign {
                    folder: shown(path),
                    message: "it has cells, but no sweep.json".to_owned(),
                });
            }
            fs::create_dir_all(path).map_err(|error| SweepError::write(path, error))?;
            let text =
                serde_json::to_string_pretty(&manifest).map_err(|error| SweepError::Encode(error.to_string()))?;
            match write_atomically(&file, format!("{text}\n").as_bytes(), Durability::Machine, files::Existing::Keep) {
                // Another process was here first.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                result => result.map_err(|error| SweepError::write(&file, error))?,
            }
        }
        let lock = File::open(&file).map_err(|error| SweepError::write(&file, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(SweepError::Locked { folder: shown(path) }),
            // A file system without locks: going on is better than refusing every sweep.
            Err(fs::TryLockError::Error(_)) => {}
        }
        let found = read_manifest(path)?;
        if found != manifest {
            let message = found.difference(&manifest).unwrap_or_else(|| "it holds another sweep".to_owned());
            return Err(SweepError::Foreign { folder: shown(path), message });
        }
        let checksums = Checksums::read(path)?;
        let folder = Self { path: path.to_owned(), shard, checksums, _lock: Some(lock) };
        let written = fs::read(&file).map_err(|error| SweepError::write(&file, error))?;
        folder.checksums.check(MANIFEST, &file, &written)?;
        folder.checksums.note(MANIFEST, &written)?;
        for within in [path.to_owned(), path.join(CELLS)] {
            tidy(&within);
        }
        let begun = has_entries(&path.join(JOURNAL)) || has_entries(&path.join(CELLS));
        if existing == Existing::Keep && begun && !folder.is_complete(plan)? {
            return Err(SweepError::Unfinished { folder: shown(path) });
        }
        for inner in [CELLS, JOURNAL] {
            fs::create_dir_all(path.join(inner)).map_err(|error| SweepError::write(path, error))?;
        }
        Ok(folder)
    }

    /// Opens the results in `path` to read them, finished or not.
    ///
    /// # Errors
    /// [`SweepError`] if there are none.
    pub fn open(path: &Path) -> Result<(Self, Plan), SweepError> {
        let manifest = read_manifest(path)?;
        let plan = Plan::new(manifest.sweep)?;
        let checksums = Checksums::read(path)?;
        let file = path.join(MANIFEST);
        let written = fs::read(&file).map_err(|error| SweepError::write(&file, error))?;
        checksums.check(MANIFEST, &file, &written)?;
        Ok((Self { path: path.to_owned(), shard: manifest.shard.unwrap_or(Shard::ALL), checksums, _lock: None }, plan))
    }

    /// Which part of the sweep it is.
    #[must_use]
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The cells of a block that belong here.
    pub(super) fn cells_of(&self, plan: &Plan, block: u64) -> Vec<u64> {
        let cells = block * BLOCK..((block + 1) * BLOCK).min(plan.cells());
        cells.filter(|cell| self.shard.owns(*cell) && plan.levels(*cell).is_some()).collect()
    }

    /// Whether every block has its file.
    ///
    /// # Errors
    /// [`SweepError`] if a file is damaged.
    pub fn is_complete(&self, plan: &Plan) -> Result<bool, SweepError> {
        for block in 0..plan.cells().div_ceil(BLOCK) {
            if !self.has(block) && !self.cells_of(plan, block).is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the block's file is there.
    pub(super) fn has(&self, block: u64) -> bool {
        self.part(block).is_file()
    }

    fn part(&self, block: u64) -> PathBuf {
        self.path.join(part_name(block))
    }

    fn journal_path(&self, block: u64) -> PathBuf {
        self.path.join(JOURNAL).join(format!("{block:08}"))
    }

    /// The journal of a block, with the rows that it has.
    pub(super) fn journal(&self, block: u64) -> Result<(Journal, Vec<Row>), SweepError> {
        Journal::open(&self.journal_path(block))
    }

    /// Writes the file of a block that is complete; its journal is no longer needed.
    pub(super) fn publish(&self, plan: &Plan, block: u64, rows: &[Row]) -> Result<(), SweepError> {
        let path = self.part(block);
        let bytes = dataset::encode(plan, rows)?;
        // The checksum first: whenever this process ends, a file that does not match its checksum
        // was cut off or damaged.
        self.checksums.note(&part_name(block), &bytes)?;
        write_atomically(&path, &bytes, Durability::Machine, files::Existing::Replace)
            .map_err(|error| SweepError::write(&path, error))?;
        let journal = self.journal_path(block);
        match fs::remove_file(&journal) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(SweepError::write(&journal, error)),
            _ => Ok(()),
        }
    }

    /// Removes the files that only an unfinished sweep has.
    pub(super) fn finish(&self) {
        // A journal folder that is not empty stays.
        let _ = fs::remove_dir(self.path.join(JOURNAL));
    }

    /// All finished rows with the `wanted` figures, in the order of their cells.
    ///
    /// # Errors
    /// [`SweepError`] if a file is damaged.
    pub fn rows(&self, plan: &Plan, wanted: impl Fn(&str) -> bool) -> Result<Vec<Row>, SweepError> {
        let mut rows = Vec::new();
        for block in 0..plan.cells().div_ceil(BLOCK) {
            rows.extend(self.rows_of(plan, block, &wanted)?);
        }
        Ok(rows)
    }

    /// The rows of a block.
    pub(super) fn rows_of(
        &self,
        plan: &Plan,
        block: u64,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<Row>, SweepError> {
        let path = self.part(block);
        if path.is_file() {
            let rows = dataset::decode(plan, &path, self.bytes_of(block)?, wanted)?;
            let expected = self.cells_of(plan, block);
            if !rows.iter().map(|row| row.cell).eq(expected.iter().copied()) {
                let found = format!("it has {} cells that are not the {} of this part", rows.len(), expected.len());
                return Err(SweepError::damaged(&path, found));
            }
            return Ok(rows);
        }
        let journal = self.journal_path(block);
        if !journal.is_file() {
            return Ok(Vec::new());
        }
        let mut rows = Journal::peek(&journal)?;
        rows.sort_by_key(|row| row.cell);
        rows.dedup_by_key(|row| row.cell);
        for row in &mut rows {
            row.figures.0.retain(|(name, _)| wanted(name));
        }
        Ok(rows)
    }

    /// The figures that rows have, taken from the first block with rows.
    pub(super) fn figures(&self, plan: &Plan) -> Result<Vec<String>, SweepError> {
        for block in 0..plan.cells().div_ceil(BLOCK) {
            if self.has(block) {
                let names = dataset::figures(plan, &self.part(block), self.bytes_of(block)?)?;
                if !names.is_empty() {
                    return Ok(names);
                }
            } else if self.journal_path(block).is_file() {
                let rows = Journal::peek(&self.journal_path(block))?;
                if let Some(row) = rows.iter().max_by_key(|row| row.figures.0.len()) {
                    return Ok(row.figures.0.iter().map(|(name, _)| name.clone()).collect());
                }
            }
        }
        Ok(Vec::new())
    }

    /// How many rows a block's file has, all of which can be read.
    pub(super) fn count(&self, plan: &Plan, block: u64) -> Result<u64, SweepError> {
        Ok(self.rows_of(plan, block, |_| true)?.len() as u64)
    }

    /// The bytes of a block's file, checked.
    fn bytes_of(&self, block: u64) -> Result<Vec<u8>, SweepError> {
        let path = self.part(block);
        let bytes = fs::read(&path).map_err(|error| SweepError::write(&path, error))?;
        self.checksums.check(&part_name(block), &path, &bytes)?;
        Ok(bytes)
    }
}

/// The name of a block's file, within the folder.
fn part_name(block: u64) -> String {
    format!("{CELLS}/part-{block:08}.parquet")
}

fn has_entries(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn read_manifest(folder: &Path) -> Result<Manifest, SweepError> {
    let file = folder.join(MANIFEST);
    let foreign = |message: String| SweepError::Foreign { folder: shown(folder), message };
    if !file.is_file() {
        return Err(SweepError::NoSweep { folder: shown(folder) });
    }
    let text = fs::read_to_string(&file).map_err(|error| SweepError::write(&file, error))?;
    let schema = serde_json::from_str::<Value>(&text).ok().and_then(|value| value["schema"].as_u64());
    if schema != Some(SCHEMA.into()) {
        let found = schema.map_or("none".to_owned(), |schema| schema.to_string());
        return Err(foreign(format!(
            "its sweep.json has schema {found}, but this version of tiersim reads schema {SCHEMA}"
        )));
    }
    serde_json::from_str(&text).map_err(|error| foreign(format!("its sweep.json cannot be read: {error}")))
}
