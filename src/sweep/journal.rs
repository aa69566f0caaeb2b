//! The journal of an incomplete block of cells: a line for each finished row, with its checksum,
//! appended as rows arrive.

use super::{Row, SweepError};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A journal that rows are appended to.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    lines: Vec<u8>,
}

impl Journal {
    /// Opens the journal at `path`, new or with the rows that it has. A partial line at the end,
    /// cut off when a process or the machine stopped, is dropped.
    pub fn open(path: &Path) -> Result<(Self, Vec<Row>), SweepError> {
        let failed = |error| SweepError::write(path, error);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let (rows, whole) = read(&mut file).map_err(failed)?;
        file.set_len(whole).map_err(failed)?;
        file.seek(SeekFrom::Start(whole)).map_err(failed)?;
        Ok((Self { path: path.to_owned(), file, lines: Vec::new() }, rows))
    }

    /// The rows of the journal at `path`, while another process may be adding to it.
    pub fn peek(path: &Path) -> Result<Vec<Row>, SweepError> {
        let failed = |error| SweepError::write(path, error);
        let mut file = File::open(path).map_err(failed)?;
        Ok(read(&mut file).map_err(failed)?.0)
    }

    /// Adds a row, which is safe after the next [`sync`](Self::sync).
    pub fn add(&mut self, row: &Row) {
        let line = serde_json::to_string(row).unwrap_or_default();
        let checksum = crc32fast::hash(line.as_bytes());
        self.lines.extend_from_slice(format!("{checksum:08x} {line}\n").as_bytes());
    }

    /// Syncs the appended rows to the disk, so that they survive a crash of the machine.
    pub fn sync(&mut self) -> Result<(), SweepError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let put = |file: &mut File| {
            file.write_all(&self.lines)?;
            file.sync_data()
        };
        put(&mut self.file).map_err(|error| SweepError::write(&self.path, error))?;
        self.lines.clear();
        Ok(())
    }
}

/// The rows of all whole lines, and where these end.
fn read(file: &mut File) -> std::io::Result<(Vec<Row>, u64)> {
    let mut rows = Vec::new();
    let mut whole = 0;
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)?;
        match parse(&line) {
            Some(row) => rows.push(row),
            None => return Ok((rows, whole)),
        }
        whole += length as u64;
    }
}

fn parse(line: &[u8]) -> Option<Row> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (checksum, json) = line.split_once(' ')?;
    let same = u32::from_str_radix(checksum, 16).ok()? == crc32fast::hash(json.as_bytes());
    if same { serde_json::from_str(json).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_journal_keeps_its_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, rows) = Journal::open(&path).unwrap();
        assert!(rows.is_empty());
        for cell in 0..3 {
            journal.add(&Row::failed(cell, "x".repeat(50)));
        }
        journal.sync().unwrap();
        let whole = std::fs::read(&path).unwrap();
        for end in 0..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            let (mut journal, rows) = Journal::open(&path).unwrap();
            assert_eq!(rows.len(), whole[..end].iter().filter(|byte| **byte == b'\n').count());
            // New rows are appended after the last whole line.
            (rows.len() as u64..3).for_each(|cell| journal.add(&Row::failed(cell, "x".repeat(50))));
            journal.sync().unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
        // A disk that lost writes may leave zeros or any other bytes.
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(Journal::peek(&path).unwrap().len(), 1);
    }
}
