//! Recorded traces as `.kvs`: a header of fixed size, then the bits of each set, as they are in
//! memory.
//!
//! The format without compression and without dependencies: fast to read, large on disk.
//! `traces/README.md` describes it.

use super::header::HeaderFields;
use super::source::{ReadSeek, Recorded};
use super::{Provenance, SkipSource, StepSkips, TraceError, TraceHeader, TraceKind};
use crate::workload::tokens::{WORD_BITS, Word};
use std::io::{Seek, SeekFrom, Write};

/// Reads the `.kvs` format.
///
/// Little-endian: 8 bytes `KVSKIP01`; `u32` steps, layers, tokens before step 0, and skip ratio in
/// permille; then, for each step and in it for each layer, `ceil((tokens before step 0 + step) /
/// 8)` bytes in which bit j (byte j/8, the least significant first) is 1 where the KV of token j is
/// not read.
pub(super) struct KvsReader {
    path: String,
    input: Box<dyn ReadSeek + Send>,
    header: TraceHeader,
    read: usize,
    buffer: Vec<u8>,
}

const MAGIC: &[u8; 8] = b"KVSKIP01";
const HEADER: u64 = 24;

impl KvsReader {
    pub fn new(path: String, mut input: Box<dyn ReadSeek + Send>, length: u64) -> Result<Self, TraceError> {
        if length < HEADER {
            return Err(TraceError::NotATrace { path, found: format!("it is only {length} bytes long") });
        }
        let mut header = [0u8; HEADER as usize];
        input.read_exact(&mut header).map_err(|source| TraceError::Read { path: path.clone(), source })?;
        let field =
            |at: usize| u64::from(u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]));
        let fields = HeaderFields {
            steps: field(8),
            layers: field(12),
            prefill: field(16),
            skip_permille: Some(field(20)),
            kv_heads: 1,
            experts: None,
        };
        let header = TraceHeader::checked(&path, fields, Provenance::default())?;
        let a_layer: u64 = (0..header.steps).map(|step| header.context(step).div_ceil(8) as u64).sum();
        let expected = HEADER + header.layers as u64 * a_layer;
        if length != expected {
            return Err(TraceError::Length {
                path,
                actual: length,
                expected,
                steps: header.steps,
                layers: header.layers,
                prefill: header.prefill,
                what: if length < expected { "cut short" } else { "too long" },
            });
        }
        Ok(Self { path, input, header, read: 0, buffer: Vec::new() })
    }
}

impl Recorded for KvsReader {
    fn header(&self) -> &TraceHeader {
        &self.header
    }
}

impl SkipSource for KvsReader {
    fn next_step(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        self.buffer.resize(context.div_ceil(8), 0);
        for (layer, (set, count)) in skips.sets.iter_mut().zip(&mut skips.counts).enumerate() {
            self.input
                .read_exact(&mut self.buffer)
                .map_err(|source| TraceError::Read { path: self.path.clone(), source })?;
            let stray = match self.buffer.last() {
                Some(last) if !context.is_multiple_of(8) => last >> (context % 8) != 0,
                _ => false,
            };
            if stray {
                return Err(TraceError::StrayBit { path: self.path.clone(), step: self.read, layer, context });
            }
            set.clear();
            for (word, bytes) in set.words_mut().iter_mut().zip(self.buffer.chunks(WORD_BITS / 8)) {
                *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | Word::from(*byte));
            }
            *count = set.count();
        }
        self.read += 1;
        Ok(())
    }
}

/// Writes the `.kvs` format, step by step. It has no room for the provenance.
pub struct KvsWriter<W: Write + Seek> {
    output: W,
    header: TraceHeader,
    written: usize,
    skipped: u64,
    buffer: Vec<u8>,
}

impl<W: Write + Seek> KvsWriter<W> {
    /// Starts a file.
    ///
    /// # Errors
    /// [`TraceError::Write`], or [`TraceError::NoRoom`] for anything but skip sets of layers.
    pub fn new(mut output: W, header: TraceHeader) -> Result<Self, TraceError> {
        if header.kind != TraceKind::Skips {
            return Err(TraceError::NoRoom { format: ".kvs", what: "routing" });
        }
        if header.kv_heads > 1 {
            return Err(TraceError::NoRoom { format: ".kvs", what: "sets for each KV head" });
        }
        output.write_all(MAGIC)?;
        for field in [header.steps, header.layers, header.prefill, header.skip_permille.unwrap_or(0) as usize] {
            output.write_all(&(field as u32).to_le_bytes())?;
        }
        Ok(Self { output, header, written: 0, skipped: 0, buffer: Vec::new() })
    }

    /// Writes the next step.
    ///
    /// # Errors
    /// [`TraceError::Write`].
    pub fn write(&mut self, skips: &StepSkips) -> Result<(), TraceError> {
        let bytes = self.header.context(self.written).div_ceil(8);
        for set in &skips.sets {
            self.buffer.clear();
            self.buffer.extend(set.words().iter().flat_map(|word| word.to_le_bytes()).take(bytes));
            self.buffer.resize(bytes, 0);
            self.output.write_all(&self.buffer)?;
        }
        self.skipped += skips.counts.iter().map(|count| *count as u64).sum::<u64>();
        self.written += 1;
        Ok(())
    }

    /// Completes the file. Where the trace was not made for a certain skip ratio, the header gets
    /// the one that it has.
    ///
    /// # Errors
    /// [`TraceError::Write`].
    pub fn finish(mut self) -> Result<W, TraceError> {
        if self.header.skip_permille.is_none() {
            let tokens: u64 = (0..self.written).map(|step| self.header.context(step) as u64).sum();
            let all = (tokens * self.header.layers as u64).max(1);
            let permille = (1000 * self.skipped + all / 2) / all;
            self.output.seek(SeekFrom::Start(HEADER - 4))?;
            self.output.write_all(&(permille as u32).to_le_bytes())?;
            self.output.seek(SeekFrom::End(0))?;
        }
        self.output.flush()?;
        Ok(self.output)
    }
}
