use super::header::{HeaderFields, RowOrder};
use super::recording::{Input, Recorded};
use super::{Provenance, SkipSource, StepSkips, TraceError, TraceHeader};
use crate::workload::TokenSet;
use crate::workload::tokens::{WORD_BITS, Word};
use bytes::{Buf, Bytes};
use parquet::basic::{
    Compression, ConvertedType, Encoding as PageEncoding, IntType, LogicalType, PageType, Repetition,
    Type as PhysicalType, ZstdLevel,
};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnDescPtr, ColumnPath, Type};
use roaring::RoaringBitmap;
use std::cell::Cell;
use std::io::{BufRead, Write};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Once};

/// The version of the schema that is written and read.
const SCHEMA_VERSION: &str = "1";

/// What the column `skipped` holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// The skipped tokens of the step.
    #[default]
    Sets,
    /// The tokens that are skipped in this step or in the one before but not in both, in that layer; in step 0 those skipped.
    Differences,
}

impl Encoding {
    const NAMES: [(&str, Self); 2] = [("sets", Self::Sets), ("differences", Self::Differences)];

    fn name(self) -> &'static str {
        match self {
            Self::Sets => "sets",
            Self::Differences => "differences",
        }
    }
}

/// What the library may find wrong and what it reads from are both damaged files: told as such.
fn damaged(path: &str) -> impl Fn(ParquetError) -> TraceError {
    let path = path.to_owned();
    move |error| {
        let message = error.to_string();
        let message = message.strip_prefix("Parquet error: ").unwrap_or(&message).to_owned();
        TraceError::Parquet { path: path.clone(), message }
    }
}

/// The largest page that is read. Pages are about 1 MB in files of all writers; a page must hold at least one cell, and a
/// set of all tokens of the longest context takes 2 MB.
const MAX_PAGE: u64 = 64 << 20;

/// A file or memory as the library reads it. It looks at each page's header before the library does, as the library makes
/// room for as many bytes as a page says that it will be.
struct Source {
    input: Input,
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

/// The size of a page when it is decompressed, from its header: a Thrift struct in the compact protocol, whose first two
/// fields are the page's type and that size. `None` where it is no such struct, which the library will find out.
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

/// The pages of a column of a row group, each looked at before the library decodes it: it makes room for as many values as
/// a dictionary says that it has.
struct Pages {
    pages: SerializedPageReader<Source>,
    rows: u64,
}

impl Pages {
    fn check(&self, page: &Page) -> Result<(), ParquetError> {
        let values = u64::from(page.num_values());
        let size = page.buffer().len() as u64;
        // A value of a dictionary takes four bytes at least, and there is no use for more of them than rows.
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

/// Runs what the library does with bytes of a file. It panics on some damaged files, where a decoder takes for granted what
/// another should have checked; that is an error as any other, and nothing to print. Nothing of what `read` used may be used again then.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                usual(info);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(outer);
    result.unwrap_or_else(|_| Err(ParquetError::General("a page contradicts itself".to_owned())))
}

/// Reads a Parquet trace, a step's rows at a time.
pub(super) struct ParquetReader {
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
    kv_head: Option<usize>,
}

/// The columns of a row group.
struct Group {
    left: u64,
    step: IntegerColumn,
    layer: IntegerColumn,
    skipped: Cells<ByteArrayType>,
    kv_head: Option<IntegerColumn>,
}

/// The cells of a row; `None` is an empty one.
struct Row {
    step: Option<i64>,
    layer: Option<i64>,
    skipped: Option<ByteArray>,
    kv_head: Option<i64>,
}

impl Group {
    fn next(&mut self) -> Result<Row, ParquetError> {
        self.left -= 1;
        Ok(Row {
            step: self.step.next()?,
            layer: self.layer.next()?,
            skipped: self.skipped.next()?,
            kv_head: match &mut self.kv_head {
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
        let columns = Columns {
            step: needed("step", "u32")?,
            layer: needed("layer", "u16")?,
            skipped: needed("skipped", "binary")?,
            kv_head: find("kv_head").map(|_| needed("kv_head", "u16")).transpose()?,
        };
        let (header, encoding) = read_header(&path, metadata.file_metadata().key_value_metadata())?;
        for (index, group) in metadata.row_groups().iter().enumerate() {
            check_group(group, index, length).map_err(damaged(&path))?;
        }
        let actual: u64 = metadata.row_groups().iter().map(|group| group.num_rows() as u64).sum();
        if actual != header.rows() {
            let (expected, steps, layers) = (header.rows(), header.steps, header.layers);
            return Err(TraceError::RowCount { path, actual, expected, steps, layers });
        }
        let order = RowOrder::new(header.layers);
        let before = vec![Vec::new(); header.layers];
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
            kv_head: match self.columns.kv_head {
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
        if let Some(head) = read.kv_head {
            let what = format!("'kv_head' is {head}, but sets for each KV head are not read yet: leave it empty");
            return Err(cell_error(what));
        }
        let step = read.step.ok_or_else(|| empty("step"))?;
        let layer = read.layer.ok_or_else(|| empty("layer"))?;
        let cell = read.skipped.ok_or_else(|| empty("skipped"))?;
        let (wanted_step, wanted_layer) = self.order.wanted();
        self.order.check(&self.path, step, layer)?;
        let wrong =
            |what| TraceError::Row { path: self.path.clone(), row, step: wanted_step, layer: wanted_layer, what };
        let bitmap = parse(cell.data()).map_err(|error| wrong(format!("'skipped' is no Roaring bitmap: {error}")))?;
        if let Some(token) = bitmap.max().filter(|token| *token as usize >= context) {
            return Err(wrong(format!("token {token} is skipped, but the context has only {context} tokens")));
        }
        set.clear();
        if self.encoding == Encoding::Sets {
            toggle(set.words_mut(), &bitmap);
            return Ok(bitmap.len() as usize);
        }
        // It grows with the context, not to what the header announces.
        let before = &mut self.before[wanted_layer];
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
        for layer in 0..self.header.layers {
            skips.counts[layer] = self.row(context, &mut skips.sets[layer])?;
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

/// Whether `column` is plain and of a type that can be read as what is expected.
fn check_column(
    path: &str,
    column: &'static str,
    expected: &'static str,
    found: &ColumnDescPtr,
) -> Result<(), TraceError> {
    let text = matches!(found.logical_type_ref(), Some(LogicalType::String | LogicalType::Json | LogicalType::Enum))
        || matches!(found.converted_type(), ConvertedType::UTF8 | ConvertedType::JSON | ConvertedType::ENUM);
    // Any integers will do: tools make 64-bit ones where nobody tells them otherwise.
    let integer = matches!(found.physical_type(), PhysicalType::INT32 | PhysicalType::INT64)
        && matches!(found.logical_type_ref(), None | Some(LogicalType::Integer(_)));
    let right = if expected == "binary" { found.physical_type() == PhysicalType::BYTE_ARRAY && !text } else { integer };
    if right && found.max_rep_level() == 0 && found.max_def_level() <= 1 {
        return Ok(());
    }
    let kind = found.logical_type_ref().map(|kind| format!(" ({kind:?})")).unwrap_or_default();
    let found = format!("type {}{kind}", found.physical_type());
    Err(TraceError::Column { path: path.to_owned(), column, found, expected })
}

/// Whether what a row group says of itself can be: the library takes some of it for granted.
fn check_group(group: &RowGroupMetaData, index: usize, length: u64) -> Result<(), ParquetError> {
    let wrong = |what: String| ParquetError::General(format!("row group {index}: {what}"));
    if group.num_rows() < 0 {
        return Err(wrong(format!("{} rows", group.num_rows())));
    }
    for column in group.columns() {
        if !matches!(column.compression(), Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_)) {
            let (name, compression) = (column.column_path(), column.compression());
            return Err(wrong(format!("column {name} is compressed with {compression}: write it with zstd or snappy")));
        }
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let end = start.checked_add(column.compressed_size());
        if start < 0 || column.compressed_size() < 0 || end.is_none_or(|end| end as u64 > length) {
            let (name, size) = (column.column_path(), column.compressed_size());
            return Err(wrong(format!("column {name} takes {size} bytes from byte {start} on, in a file of {length}")));
        }
        if column.num_values() != group.num_rows() && column.column_descr().max_rep_level() == 0 {
            let (name, values) = (column.column_path(), column.num_values());
            return Err(wrong(format!("column {name} has {values} cells for {} rows", group.num_rows())));
        }
    }
    Ok(())
}

fn read_header(path: &str, metadata: Option<&Vec<KeyValue>>) -> Result<(TraceHeader, Encoding), TraceError> {
    let find = |key: &str| {
        metadata.into_iter().flatten().find(|entry| entry.key == key).and_then(|entry| entry.value.as_deref())
    };
    const REMEDY: &str = "write it as key-value metadata of the file; see traces/README.md";
    let wrong = |field: &'static str, value: &str, limit: &str| TraceError::Header {
        path: path.to_owned(),
        field,
        value: format!("'{value}'"),
        limit: limit.to_owned(),
    };
    let number = |field: &'static str| -> Result<Option<u64>, TraceError> {
        find(field)
            .map(|text| text.trim().parse().map_err(|_| wrong(field, text, "it must be a whole number")))
            .transpose()
    };
    let needed = |field: &'static str| {
        number(field)?.ok_or_else(|| TraceError::NoField { path: path.to_owned(), field, remedy: REMEDY })
    };
    match find("schema_version") {
        Some(SCHEMA_VERSION) => {}
        Some(other) => return Err(wrong("schema_version", other, "this tiersim reads version 1")),
        None => {
            return Err(TraceError::NoField { path: path.to_owned(), field: "schema_version", remedy: REMEDY });
        }
    }
    let encoding = match find("encoding") {
        None => Encoding::default(),
        Some(text) => {
            let known = Encoding::NAMES.iter().find(|(name, _)| *name == text);
            known.ok_or_else(|| wrong("encoding", text, "it must be sets or differences"))?.1
        }
    };
    let fields = HeaderFields {
        layers: needed("layers")?,
        prefill: needed("prefill_tokens")?,
        steps: needed("steps")?,
        skip_permille: number("skip_permille")?,
    };
    let text = |field: &str| find(field).map(str::to_owned);
    let provenance =
        Provenance { model: text("model"), source: text("source"), licence: text("licence"), made_by: text("made_by") };
    Ok((TraceHeader::checked(path, fields, provenance)?, encoding))
}

/// How many rows are decoded at a time.
const BATCH: usize = 128;

/// The cells of a column of a row group, one by one; `None` is an empty cell.
struct Cells<T: DataType> {
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
        let rows = group.num_rows() as u64;
        let pages = guarded(|| SerializedPageReader::new(Arc::clone(source), chunk, rows as usize, None))?;
        let pages = Pages { pages, rows };
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
enum IntegerColumn {
    Unsigned(Cells<Int32Type>),
    Signed(Cells<Int32Type>),
    Long(Cells<Int64Type>),
}

impl IntegerColumn {
    fn open(source: &Arc<Source>, group: &RowGroupMetaData, column: usize) -> Result<Self, ParquetError> {
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

    fn next(&mut self) -> Result<Option<i64>, ParquetError> {
        Ok(match self {
            Self::Unsigned(cells) => cells.next()?.map(|value| i64::from(value as u32)),
            Self::Signed(cells) => cells.next()?.map(i64::from),
            Self::Long(cells) => cells.next()?,
        })
    }
}

/// Writes a Parquet trace, step by step.
pub struct ParquetWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    encoding: Encoding,
    written: usize,
    steps: Vec<i32>,
    layers: Vec<i32>,
    skipped: Vec<ByteArray>,
    /// The size of `skipped`.
    bytes: usize,
    /// With differences, the sets of the step before, by layer.
    before: Vec<TokenSet>,
}

/// A row group is written when its cells are so large: what a reader or writer holds is bounded by it.
const ROW_GROUP: usize = 8 << 20;

impl<W: Write + Send> ParquetWriter<W> {
    /// The compression where none is asked for: a sixth smaller than zstd's own, and fast enough for long traces.
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
        let column = |name: &str, kind: PhysicalType, logical: Option<LogicalType>| {
            Type::primitive_type_builder(name, kind)
                .with_repetition(Repetition::REQUIRED)
                .with_logical_type(logical)
                .build()
                .map(Arc::new)
        };
        let unsigned = |bit_width| Some(LogicalType::integer(bit_width, false));
        let schema = Type::group_type_builder("trace")
            .with_fields(vec![
                column("step", PhysicalType::INT32, unsigned(32))?,
                column("layer", PhysicalType::INT32, unsigned(16))?,
                column("skipped", PhysicalType::BYTE_ARRAY, None)?,
            ])
            .build()?;
        let by_column = |column_idx| SortingColumn { column_idx, descending: false, nulls_first: false };
        let skipped = || ColumnPath::from("skipped");
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
        let file = SerializedFileWriter::new(output, Arc::new(schema), Arc::new(properties))?;
        let before = match encoding {
            Encoding::Sets => Vec::new(),
            Encoding::Differences => vec![TokenSet::new(header.prefill + header.steps); header.layers],
        };
        Ok(Self { file, encoding, written: 0, steps: vec![], layers: vec![], skipped: vec![], bytes: 0, before })
    }

    /// Writes the next step.
    ///
    /// # Errors
    /// [`TraceError::WriteParquet`].
    pub fn write(&mut self, skips: &StepSkips) -> Result<(), TraceError> {
        for (layer, set) in skips.sets.iter().enumerate() {
            let bitmap: RoaringBitmap = match self.encoding {
                Encoding::Sets => sorted(set.iter()),
                Encoding::Differences => {
                    let before = &mut self.before[layer];
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
            self.layers.push(layer as i32);
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
                _ => writer.typed::<ByteArrayType>().write_batch(&self.skipped, None, None)?,
            };
            writer.close()?;
            column += 1;
        }
        group.close()?;
        self.steps.clear();
        self.layers.clear();
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

fn metadata(header: &TraceHeader, encoding: Encoding) -> Vec<KeyValue> {
    let entry = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
    let mut entries = vec![
        entry("schema_version", SCHEMA_VERSION.to_owned()),
        entry("encoding", encoding.name().to_owned()),
        entry("layers", header.layers.to_string()),
        entry("prefill_tokens", header.prefill.to_string()),
        entry("steps", header.steps.to_string()),
    ];
    entries.extend(header.skip_permille.map(|permille| entry("skip_permille", permille.to_string())));
    entries.extend(
        header
            .provenance
            .fields()
            .into_iter()
            .filter_map(|(key, value)| value.map(|value| entry(key, value.to_owned()))),
    );
    entries
}
