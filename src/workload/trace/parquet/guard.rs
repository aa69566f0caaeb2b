//! What stands between the bytes of a file, which may be damaged or hostile, and the library that
//! decodes them.
//!
//! The library allocates what a page header announces and panics where one decoder takes for
//! granted what another should have checked. So each page is looked at before the library sees it
//! ([`Source`], [`Pages`]), and what it does with bytes of a file runs in [`guarded`], where a
//! panic is an error as any other.

use crate::workload::trace::TraceError;
use crate::workload::trace::source::Input;
use bytes::{Buf, Bytes};
use parquet::basic::{Encoding as PageEncoding, PageType};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use std::cell::Cell;
use std::io::BufRead;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

/// Turns an error of the library into the one that says that the file at `path` is damaged.
pub fn damaged(path: &str) -> impl Fn(ParquetError) -> TraceError {
    let path = path.to_owned();
    move |error| {
        let message = error.to_string();
        let message = message.strip_prefix("Parquet error: ").unwrap_or(&message).to_owned();
        TraceError::Parquet { path: path.clone(), message }
    }
}

/// The largest page that is read. Pages are about 1 MB in files of all writers; a page must hold at
/// least one cell, and a set of all tokens of the longest context takes 2 MB.
const MAX_PAGE: u64 = 64 << 20;

/// A file or memory as the library reads it. It looks at each page's header before the library
/// does, as the library makes room for as many bytes as a page says that it will be.
pub struct Source {
    pub input: Input,
}

impl Length for Source {
    fn len(&self) -> u64 {
        match &self.input {
            Input::File(file) => Length::len(file),
            Input::Memory(bytes) => bytes.len() as u64,
        }
    }
}

impl ChunkReader for Source {
    type T = Box<dyn BufRead>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let mut read: Self::T = match &self.input {
            Input::File(file) => Box::new(ChunkReader::get_read(file, start)?),
            Input::Memory(bytes) => {
                let rest = usize::try_from(start).ok().filter(|start| *start <= bytes.len());
                let start = rest.ok_or_else(|| ParquetError::EOF("an offset past the end of the file".to_owned()))?;
                Box::new(bytes.slice(start..).reader())
            }
        };
        if let Some(size) = page_size(read.fill_buf()?)
            && size > MAX_PAGE
        {
            return Err(ParquetError::General(format!("a page of {size} bytes: at most {MAX_PAGE} are read")));
        }
        Ok(read)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.len()) {
            return Err(ParquetError::EOF(format!("{length} bytes from byte {start} on, past the end of the file")));
        }
        match &self.input {
            Input::File(file) => ChunkReader::get_bytes(file, start, length),
            Input::Memory(bytes) => ChunkReader::get_bytes(bytes, start, length),
        }
    }
}

/// The size of a page when it is decompressed, from its header: a Thrift struct in the compact
/// protocol, whose first two fields are the page's type and that size. `None` where it is no such
/// struct, which the library will find out.
fn page_size(header: &[u8]) -> Option<u64> {
    /// The next field, an i32.
    const NEXT_I32: u8 = 0x15;
    let mut bytes = header.iter().copied();
    let mut field = || -> Option<u64> {
        if bytes.next()? != NEXT_I32 {
            return None;
        }
        let mut value = 0u64;
        for shift in (0..63).step_by(7) {
            let byte = bytes.next()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    };
    field()?;
    // Zigzag: the sign is the lowest bit. The library refuses negative sizes.
    Some(field()? >> 1)
}

/// The pages of a column of a row group, each looked at before the library decodes it: it makes
/// room for as many values as a dictionary says that it has.
pub struct Pages {
    pages: SerializedPageReader<Source>,
    rows: u64,
}

impl Pages {
    /// The pages of `column` in `group`.
    pub fn open(source: &Arc<Source>, group: &RowGroupMetaData, column: usize) -> Result<Self, ParquetError> {
        let rows = group.num_rows() as u64;
        let chunk = group.column(column);
        let pages = guarded(|| SerializedPageReader::new(Arc::clone(source), chunk, rows as usize, None))?;
        Ok(Self { pages, rows })
    }

    fn check(&self, page: &Page) -> Result<(), ParquetError> {
        let values = u64::from(page.num_values());
        let size = page.buffer().len() as u64;
        // A value of a dictionary takes four bytes at least, and there is no use for more of them
        // than rows.
        if page.page_type() == PageType::DICTIONARY_PAGE && (values > self.rows || values > size / 4) {
            return Err(ParquetError::General(format!("a dictionary of {values} values in {size} bytes")));
        }
        if values > self.rows {
            return Err(ParquetError::General(format!("a page of {values} cells in a row group of {}", self.rows)));
        }
        match page.encoding() {
            PageEncoding::PLAIN | PageEncoding::PLAIN_DICTIONARY | PageEncoding::RLE_DICTIONARY => Ok(()),
            // Their lengths cannot be checked before they are believed.
            other => Err(ParquetError::General(format!(
                "a page in the encoding {other}, which is not read: write the column in the encoding PLAIN or with a dictionary"
            ))),
        }
    }
}

impl Iterator for Pages {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        let page = self.pages.get_next_page()?;
        page.iter().try_for_each(|page| self.check(page))?;
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.pages.skip_next_page()
    }
}

thread_local! {
    /// Whether this thread is in [`guarded`] code, whose panics are errors.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread decodes bytes of a file, so that a panic becomes a [`TraceError`].
///
/// The library sets no panic hook, as a hook is the whole process's: the default one prints such a
/// panic although nothing is lost. A program that does not want that asks here in a hook of its
/// own, as the `tiersim` binary does.
#[must_use]
pub fn is_decoding() -> bool {
    GUARDED.get()
}

/// Runs `read`, in which the library decodes bytes of a file. A panic is the error that the file
/// contradicts itself; nothing that `read` used may be used again then.
pub fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    let outer = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(outer);
    result.unwrap_or_else(|_| Err(ParquetError::General("a page contradicts itself".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_decoder_is_an_error() {
        assert!(!is_decoding());
        let read = guarded(|| -> Result<(), ParquetError> {
            assert!(is_decoding());
            // As a panic, but not printed: nothing that the hook could be asked about.
            panic::resume_unwind(Box::new("index out of bounds"))
        });
        assert!(read.unwrap_err().to_string().contains("contradicts itself"));
        assert!(!is_decoding());
        assert_eq!(guarded(|| Ok(7)).unwrap(), 7);
    }
}
