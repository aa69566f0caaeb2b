//! Writes a trace in Parquet, a step at a time, in row groups of bounded size.

use super::schema::{Encoding, file_schema, metadata};
use crate::workload::TokenSet;
use crate::workload::trace::{StepSkips, TraceError, TraceHeader};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use roaring::RoaringBitmap;
use std::io::Write;
use std::sync::Arc;

/// Writes a Parquet trace, step by step.
pub struct ParquetWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    encoding: Encoding,
    written: usize,
    steps: Vec<i32>,
    layers: Vec<i32>,
    parts: Vec<i32>,
    parts_of_layer: usize,
    skipped: Vec<ByteArray>,
    /// The size of `skipped`.
    bytes: usize,
    /// With differences, the sets of the step before, by layer.
    before: Vec<TokenSet>,
}

/// A row group is written when its cells are so large: what a reader or writer holds is bounded by
/// it.
const ROW_GROUP: usize = 8 << 20;

impl<W: Write + Send> ParquetWriter<W> {
    /// The compression where none is asked for: a sixth smaller than zstd's own, and fast enough
    /// for long traces.
    pub const LEVEL: i32 = 9;
    /// The hardest compression.
    pub const MAX_LEVEL: i32 = 22;

    /// Starts a file, compressed as hard as `level` says, from 1 to [`MAX_LEVEL`](Self::MAX_LEVEL).
    ///
    /// # Errors
    /// [`TraceError`] if the header does not fit the format, or nothing can be written.
    pub fn new(output: W, header: &TraceHeader, encoding: Encoding, level: i32) -> Result<Self, TraceError> {
        if header.layers > usize::from(u16::MAX) {
            let limit = format!("at most {} can be written", u16::MAX);
            return Err(TraceError::TooLarge { field: "layers", value: header.layers, limit });
        }
        if header.parts() > usize::from(u16::MAX) {
            let limit = format!("at most {} can be written", u16::MAX);
            let field = if header.kv_heads > 1 { "kv_heads" } else { "tokens" };
            return Err(TraceError::TooLarge { field, value: header.parts(), limit });
        }
        let schema = file_schema(header)?;
        let by_column = |column_idx| SortingColumn { column_idx, descending: false, nulls_first: false };
        let skipped = || ColumnPath::from(header.kind.column());
        let properties = WriterProperties::builder()
            .set_created_by(format!("tiersim version {}", env!("CARGO_PKG_VERSION")))
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(level)?))
            .set_key_value_metadata(Some(metadata(header, encoding)))
            .set_sorting_columns(Some(vec![by_column(0), by_column(1)]))
            // Hardly two sets are equal, and the least of them in byte order means nothing.
            .set_column_dictionary_enabled(skipped(), false)
            .set_column_statistics_enabled(skipped(), EnabledStatistics::None)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .build();
        let file = SerializedFileWriter::new(output, schema, Arc::new(properties))?;
        let before = match encoding {
            Encoding::Sets => Vec::new(),
            Encoding::Differences => vec![TokenSet::new(header.range()); header.sets()],
        };
        Ok(Self {
            file,
            encoding,
            written: 0,
            steps: vec![],
            layers: vec![],
            parts: vec![],
            parts_of_layer: header.parts(),
            skipped: vec![],
            bytes: 0,
            before,
        })
    }

    /// Writes the next step.
    ///
    /// # Errors
    /// [`TraceError::WriteParquet`].
    pub fn write(&mut self, skips: &StepSkips) -> Result<(), TraceError> {
        for (row, set) in skips.sets.iter().enumerate() {
            let bitmap: RoaringBitmap = match self.encoding {
                Encoding::Sets => sorted(set.iter()),
                Encoding::Differences => {
                    let before = &mut self.before[row];
                    for (before, now) in before.words_mut().iter_mut().zip(set.words()) {
                        *before ^= now;
                    }
                    let bitmap = sorted(before.iter());
                    let shared = before.words().len().min(set.words().len());
                    before.words_mut()[..shared].copy_from_slice(&set.words()[..shared]);
                    bitmap
                }
            };
            let mut cell = Vec::with_capacity(bitmap.serialized_size());
            bitmap.serialize_into(&mut cell)?;
            self.bytes += cell.len();
            self.steps.push(self.written as i32);
            self.layers.push((row / self.parts_of_layer) as i32);
            self.parts.push((row % self.parts_of_layer) as i32);
            self.skipped.push(cell.into());
        }
        self.written += 1;
        if self.bytes >= ROW_GROUP { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<(), TraceError> {
        if self.steps.is_empty() {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        let mut column = 0;
        while let Some(mut writer) = group.next_column()? {
            match column {
                0 => writer.typed::<Int32Type>().write_batch(&self.steps, None, None)?,
                1 => writer.typed::<Int32Type>().write_batch(&self.layers, None, None)?,
                3 => writer.typed::<Int32Type>().write_batch(&self.parts, None, None)?,
                _ => writer.typed::<ByteArrayType>().write_batch(&self.skipped, None, None)?,
            };
            writer.close()?;
            column += 1;
        }
        group.close()?;
        self.steps.clear();
        self.layers.clear();
        self.parts.clear();
        self.skipped.clear();
        self.bytes = 0;
        Ok(())
    }

    /// Completes the file.
    ///
    /// # Errors
    /// [`TraceError::WriteParquet`].
    pub fn finish(mut self) -> Result<W, TraceError> {
        self.write_group()?;
        Ok(self.file.into_inner()?)
    }
}

/// A bitmap of tokens that come in order.
fn sorted(tokens: impl Iterator<Item = usize>) -> RoaringBitmap {
    RoaringBitmap::from_sorted_iter(tokens.map(|token| token as u32)).expect("a token set's tokens come in order")
}
