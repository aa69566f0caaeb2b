//! Reads a trace in Parquet, a row at a time, in memory that a row group bounds.

use super::guard::{Pages, Source, damaged, guarded};
use super::schema::{Encoding, check_column, check_group, kind_of, read_header};
use crate::workload::TokenSet;
use crate::workload::tokens::{WORD_BITS, Word};
use crate::workload::trace::header::RowOrder;
use crate::workload::trace::source::{Input, Recorded};
use crate::workload::trace::{SkipSource, StepSkips, TraceError, TraceHeader};
use parquet::basic::{ConvertedType, IntType, LogicalType, Type as PhysicalType};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use roaring::RoaringBitmap;
use std::sync::Arc;

/// Reads a Parquet trace, a step's rows at a time.
pub struct ParquetReader {
    path: String,
    header: TraceHeader,
    encoding: Encoding,
    source: Arc<Source>,
    metadata: ParquetMetaData,
    columns: Columns,
    /// The row group that is read.
    group: Option<Group>,
    next_group: usize,
    order: RowOrder,
    /// With differences, the words of the sets of the step before, by layer.
    before: Vec<Vec<Word>>,
}

/// Where in the schema the columns are.
struct Columns {
    step: usize,
    layer: usize,
    skipped: usize,
    part: Option<usize>,
}

/// The columns of a row group.
struct Group {
    left: u64,
    step: IntegerColumn,
    layer: IntegerColumn,
    skipped: Cells<ByteArrayType>,
    part: Option<IntegerColumn>,
}

/// The cells of a row; `None` is an empty one.
struct Row {
    step: Option<i64>,
    layer: Option<i64>,
    skipped: Option<ByteArray>,
    part: Option<i64>,
}

impl Group {
    fn next(&mut self) -> Result<Row, ParquetError> {
        self.left -= 1;
        Ok(Row {
            step: self.step.next()?,
            layer: self.layer.next()?,
            skipped: self.skipped.next()?,
            part: match &mut self.part {
                Some(column) => column.next()?,
                None => None,
            },
        })
    }
}

impl ParquetReader {
    pub fn new(path: String, input: Input, length: u64) -> Result<Self, TraceError> {
        let source = Arc::new(Source { input });
        let metadata =
            guarded(|| ParquetMetaDataReader::new().parse_and_finish(source.as_ref())).map_err(damaged(&path))?;
        let schema = metadata.file_metadata().schema_descr();
        let find = |name: &str| schema.columns().iter().position(|column| column.path().parts() == [name]);
        let needed = |column: &'static str, expected: &'static str| {
            let found = find(column).ok_or_else(|| TraceError::NoColumn { path: path.clone(), column, expected })?;
            check_column(&path, column, expected, &schema.column(found))?;
            Ok::<usize, TraceError>(found)
        };
        let (step, layer) = (needed("step", "u32")?, needed("layer", "u16")?);
        let key_values = metadata.file_metadata().key_value_metadata();
        // Without a header, a file that has not even the sets is no trace of either kind.
        let kind = kind_of(key_values);
        let skipped = needed(kind, "binary")?;
        let (header, encoding) = read_header(&path, key_values)?;
        let column = header.kind.part_column();
        let part = match find(column) {
            None if header.parts() == 1 => None,
            _ => Some(needed(column, "u16")?),
        };
        let columns = Columns { step, layer, skipped, part };
        for (index, group) in metadata.row_groups().iter().enumerate() {
            check_group(group, index, length).map_err(damaged(&path))?;
        }
        let actual: u64 = metadata.row_groups().iter().map(|group| group.num_rows() as u64).sum();
        if actual != header.rows() {
            let (expected, steps, layers) = (header.rows(), header.steps, header.layers);
            return Err(TraceError::RowCount { path, actual, expected, steps, layers });
        }
        let order = RowOrder::new(&header);
        let before = vec![Vec::new(); header.sets()];
        Ok(Self { path, header, encoding, source, metadata, columns, group: None, next_group: 0, order, before })
    }

    /// The columns of the row group that holds the next row.
    fn group(&mut self) -> Result<&mut Group, TraceError> {
        while self.group.as_ref().is_none_or(|group| group.left == 0) {
            let index = self.next_group;
            self.next_group += 1;
            if index >= self.metadata.num_row_groups() {
                let message = format!("it ends after row {}", self.order.row);
                return Err(TraceError::Parquet { path: self.path.clone(), message });
            }
            self.group = Some(self.open_group(index).map_err(damaged(&self.path))?);
        }
        Ok(self.group.as_mut().expect("a row group was opened above"))
    }

    fn open_group(&self, index: usize) -> Result<Group, ParquetError> {
        let group = self.metadata.row_group(index);
        Ok(Group {
            left: group.num_rows() as u64,
            step: IntegerColumn::open(&self.source, group, self.columns.step)?,
            layer: IntegerColumn::open(&self.source, group, self.columns.layer)?,
            skipped: Cells::open(&self.source, group, self.columns.skipped)?,
            part: match self.columns.part {
                Some(column) => Some(IntegerColumn::open(&self.source, group, column)?),
                None => None,
            },
        })
    }

    /// Reads the next row into `set` and returns how many tokens it skips.
    fn row(&mut self, context: usize, set: &mut TokenSet) -> Result<usize, TraceError> {
        let row = self.order.row;
        let read = self.group()?.next();
        let read = read.map_err(damaged(&self.path))?;
        let cell_error = |what: String| TraceError::Cell { path: self.path.clone(), row, what };
        let empty = |column: &str| cell_error(format!("'{column}' is empty"));
        let step = read.step.ok_or_else(|| empty("step"))?;
        let layer = read.layer.ok_or_else(|| empty("layer"))?;
        let column = self.header.kind.column();
        let cell = read.skipped.ok_or_else(|| empty(column))?;
        let (wanted_step, wanted_layer) = self.order.wanted();
        self.order.check(&self.path, step, layer, read.part)?;
        let wrong =
            |what| TraceError::Row { path: self.path.clone(), row, step: wanted_step, layer: wanted_layer, what };
        let bitmap = parse(cell.data()).map_err(|error| wrong(format!("'{column}' is no Roaring bitmap: {error}")))?;
        if let Some(token) = bitmap.max().filter(|token| *token as usize >= context) {
            return Err(wrong(self.header.kind.stray(token as usize, context)));
        }
        set.clear();
        if self.encoding == Encoding::Sets {
            toggle(set.words_mut(), &bitmap);
            return Ok(bitmap.len() as usize);
        }
        // It grows with the context, not to what the header announces.
        let before = &mut self.before[(row % self.header.sets() as u64) as usize];
        before.resize(context.div_ceil(WORD_BITS), 0);
        toggle(before, &bitmap);
        set.words_mut()[..before.len()].copy_from_slice(before);
        Ok(set.count())
    }
}

impl Recorded for ParquetReader {
    fn header(&self) -> &TraceHeader {
        &self.header
    }
}

impl SkipSource for ParquetReader {
    fn next_step(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        for row in 0..self.header.sets() {
            skips.counts[row] = self.row(context, &mut skips.sets[row])?;
        }
        Ok(())
    }
}

/// A bitmap from all of `cell`.
fn parse(mut cell: &[u8]) -> std::io::Result<RoaringBitmap> {
    let bitmap = RoaringBitmap::deserialize_from(&mut cell)?;
    if !cell.is_empty() {
        return Err(std::io::Error::other(format!("{} bytes follow its end", cell.len())));
    }
    Ok(bitmap)
}

/// Toggles the tokens of `bitmap`, all of which must be in the range of `words`.
fn toggle(words: &mut [Word], bitmap: &RoaringBitmap) {
    let mut tokens = [0u32; 256];
    let mut iter = bitmap.iter();
    loop {
        let some = iter.next_many(&mut tokens);
        for token in &*some {
            let token = *token as usize;
            words[token / WORD_BITS] ^= 1 << (token % WORD_BITS);
        }
        if some.is_empty() {
            return;
        }
    }
}

/// How many rows are decoded at a time.
const BATCH: usize = 128;

/// The cells of a column of a row group, one by one; `None` is an empty cell.
pub(super) struct Cells<T: DataType> {
    reader: ColumnReaderImpl<T>,
    optional: bool,
    levels: Vec<i16>,
    values: Vec<T::T>,
    /// The next cell, and the next value among those that are not empty.
    cell: usize,
    value: usize,
    cells: usize,
}

impl<T: DataType> Cells<T> {
    fn open(source: &Arc<Source>, group: &RowGroupMetaData, column: usize) -> Result<Self, ParquetError> {
        let chunk = group.column(column);
        let pages = Pages::open(source, group, column)?;
        let description = chunk.column_descr_ptr();
        Ok(Self {
            optional: description.max_def_level() > 0,
            reader: ColumnReaderImpl::new(description, Box::new(pages)),
            levels: Vec::new(),
            values: Vec::new(),
            cell: 0,
            value: 0,
            cells: 0,
        })
    }

    fn next(&mut self) -> Result<Option<T::T>, ParquetError> {
        if self.cell == self.cells {
            self.levels.clear();
            self.values.clear();
            let levels = self.optional.then_some(&mut self.levels);
            let (reader, cells) = (&mut self.reader, &mut self.values);
            let (cells, values, _) = guarded(|| reader.read_records(BATCH, levels, None, cells))?;
            if cells == 0 || values > self.values.len() {
                return Err(ParquetError::EOF("a column ends before its row group does".to_owned()));
            }
            (self.cell, self.value, self.cells) = (0, 0, cells);
        }
        let empty = self.optional && self.levels.get(self.cell).is_none_or(|level| *level == 0);
        self.cell += 1;
        if empty {
            return Ok(None);
        }
        let value = self.values.get_mut(self.value).map(std::mem::take);
        self.value += 1;
        value.map(Some).ok_or_else(|| ParquetError::EOF("a column has fewer values than cells".to_owned()))
    }
}

/// A column of integers of any width.
pub(super) enum IntegerColumn {
    Unsigned(Cells<Int32Type>),
    Signed(Cells<Int32Type>),
    Long(Cells<Int64Type>),
}

impl IntegerColumn {
    pub(super) fn open(source: &Arc<Source>, group: &RowGroupMetaData, column: usize) -> Result<Self, ParquetError> {
        let description = group.column(column).column_descr();
        let unsigned =
            matches!(description.logical_type_ref(), Some(LogicalType::Integer(IntType { is_signed: false, .. })))
                || description.converted_type() == ConvertedType::UINT_32;
        Ok(match description.physical_type() {
            PhysicalType::INT64 => Self::Long(Cells::open(source, group, column)?),
            _ if unsigned => Self::Unsigned(Cells::open(source, group, column)?),
            _ => Self::Signed(Cells::open(source, group, column)?),
        })
    }

    pub(super) fn next(&mut self) -> Result<Option<i64>, ParquetError> {
        Ok(match self {
            Self::Unsigned(cells) => cells.next()?.map(|value| i64::from(value as u32)),
            Self::Signed(cells) => cells.next()?.map(i64::from),
            Self::Long(cells) => cells.next()?,
        })
    }
}
