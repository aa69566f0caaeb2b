//! The columns and the key-value metadata of a trace in Parquet: what is written, and what is read.
//!
//! Other tools write the same columns in types of their own: integers of any width are read, and
//! cells that may be empty, as long as none is.

use crate::workload::trace::header::{ExpertsFields, HeaderFields};
use crate::workload::trace::{Provenance, TraceError, TraceHeader, TraceKind};
use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, RowGroupMetaData};
use parquet::schema::types::{ColumnDescPtr, Type};
use std::sync::Arc;

/// The version of the schema that is written and read.
const SCHEMA_VERSION: &str = "1";

/// The kinds of traces.
pub(in crate::workload::trace) const KINDS: &str =
    "it must be skips (tokens whose KV is not read; if not given) or experts (those that tokens are routed to)";

/// What the column `skipped` holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// The skipped tokens of the step.
    #[default]
    Sets,
    /// The tokens that are skipped in this step or in the one before but not in both, in that
    /// layer; in step 0 those skipped.
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

/// The columns of the files that are written.
pub fn file_schema(header: &TraceHeader) -> Result<Arc<Type>, ParquetError> {
    let column = |name: &str, kind: PhysicalType, logical: Option<LogicalType>| {
        Type::primitive_type_builder(name, kind)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    };
    let unsigned = |bit_width| Some(LogicalType::integer(bit_width, false));
    let mut fields = vec![
        column("step", PhysicalType::INT32, unsigned(32))?,
        column("layer", PhysicalType::INT32, unsigned(16))?,
        column(header.kind.column(), PhysicalType::BYTE_ARRAY, None)?,
    ];
    if header.parts() > 1 {
        fields.push(column(header.kind.part_column(), PhysicalType::INT32, unsigned(16))?);
    }
    let schema = Type::group_type_builder("trace").with_fields(fields).build()?;
    Ok(Arc::new(schema))
}

/// Whether `column` is plain and of a type that can be read as what is expected.
pub fn check_column(
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
pub fn check_group(group: &RowGroupMetaData, index: usize, length: u64) -> Result<(), ParquetError> {
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

/// The column of the sets, by what the file says that it holds.
pub fn kind_of(metadata: Option<&Vec<KeyValue>>) -> &'static str {
    let experts = |entry: &KeyValue| entry.key == "kind" && entry.value.as_deref() == Some("experts");
    if metadata.into_iter().flatten().any(experts) { "experts" } else { "skipped" }
}

/// What a file says of itself in its key-value metadata.
pub fn read_header(path: &str, metadata: Option<&Vec<KeyValue>>) -> Result<(TraceHeader, Encoding), TraceError> {
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
    let experts = match find("kind") {
        None | Some("skips") => None,
        Some("experts") => Some(ExpertsFields {
            experts: needed("experts")?,
            active: needed("active")?,
            tokens: number("tokens")?.unwrap_or(1),
        }),
        Some(other) => return Err(wrong("kind", other, KINDS)),
    };
    let fields = HeaderFields {
        layers: needed("layers")?,
        prefill: if experts.is_some() { 0 } else { needed("prefill_tokens")? },
        steps: needed("steps")?,
        skip_permille: number("skip_permille")?,
        kv_heads: number("kv_heads")?.unwrap_or(1),
        experts,
    };
    let text = |field: &str| find(field).map(str::to_owned);
    let provenance =
        Provenance { model: text("model"), source: text("source"), licence: text("licence"), made_by: text("made_by") };
    Ok((TraceHeader::checked(path, fields, provenance)?, encoding))
}

/// The key-value metadata of a file, for [`read_header`] to read.
pub fn metadata(header: &TraceHeader, encoding: Encoding) -> Vec<KeyValue> {
    let entry = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
    let mut entries = vec![
        entry("schema_version", SCHEMA_VERSION.to_owned()),
        entry("encoding", encoding.name().to_owned()),
        entry("layers", header.layers.to_string()),
    ];
    match header.kind {
        TraceKind::Skips => {
            entries.push(entry("prefill_tokens", header.prefill.to_string()));
            if header.kv_heads > 1 {
                entries.push(entry("kv_heads", header.kv_heads.to_string()));
            }
        }
        TraceKind::Experts(shape) => {
            entries.push(entry("kind", header.kind.name().to_owned()));
            entries.push(entry("experts", shape.experts.to_string()));
            entries.push(entry("active", shape.active.to_string()));
            if shape.tokens > 1 {
                entries.push(entry("tokens", shape.tokens.to_string()));
            }
        }
    }
    entries.push(entry("steps", header.steps.to_string()));
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
