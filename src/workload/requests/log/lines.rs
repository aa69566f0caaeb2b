//! The lines of a log, one at a time.

use super::super::error::RequestsError;
use crate::config::open_regular;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// The longest line, in bytes: a Mooncake line of the longest prompt has a third of it.
const MAX_LINE: u64 = 1 << 20;

/// The lines of a file that are not blank, without their ends. A file may start with a byte order
/// mark, and lines may end with CR LF.
pub struct Lines {
    file: String,
    input: Box<dyn BufRead>,
    bytes: Vec<u8>,
    row: usize,
}

impl Lines {
    /// Opens a file.
    ///
    /// # Errors
    /// [`RequestsError::Read`].
    pub fn open(path: &Path) -> Result<Self, RequestsError> {
        let file = path.display().to_string();
        match open_regular(path) {
            Ok((opened, _)) => Ok(Self { file, input: Box::new(BufReader::new(opened)), bytes: Vec::new(), row: 0 }),
            Err(error) => Err(RequestsError::Read { file, message: error.to_string() }),
        }
    }

    /// Those of a text that is called `name` in messages.
    pub fn of(name: &str, text: &'static str) -> Self {
        Self { file: name.to_owned(), input: Box::new(text.as_bytes()), bytes: Vec::new(), row: 0 }
    }

    /// The path, as messages have it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The next line and its row, from 1; `None` at the end.
    ///
    /// # Errors
    /// [`RequestsError`] if it cannot be read, is too long, or is not UTF-8.
    pub fn next(&mut self) -> Result<Option<(usize, &str)>, RequestsError> {
        loop {
            self.bytes.clear();
            let read = self.input.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut self.bytes);
            let read =
                read.map_err(|error| RequestsError::Read { file: self.file.clone(), message: error.to_string() })?;
            if read == 0 {
                return Ok(None);
            }
            self.row += 1;
            if self.bytes.len() as u64 > MAX_LINE {
                return Err(self.wrong(format!("it has more than {MAX_LINE} bytes: a row is a line of its own")));
            }
            if self.row == 1 && self.bytes.starts_with(b"\xef\xbb\xbf") {
                self.bytes.drain(..3);
            }
            if !self.bytes.trim_ascii().is_empty() {
                break;
            }
        }
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => Ok(Some((self.row, text.trim()))),
            Err(_) => Err(self.wrong("it is not UTF-8: save the file as UTF-8 text".to_owned())),
        }
    }

    fn wrong(&self, message: String) -> RequestsError {
        RequestsError::Line { file: self.file.clone(), row: self.row, message }
    }
}
