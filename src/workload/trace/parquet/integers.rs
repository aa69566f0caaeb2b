//! Columns of integers of a Parquet file that is no trace, row by row.

use super::guard::{Source, damaged, guarded};
use super::read::IntegerColumn;
use super::schema::{check_column, check_group};
use crate::workload::trace::TraceError;
use crate::workload::trace::source::Input;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;
use std::sync::Arc;

/// Calls `take` with the number of each row and its cells in `columns`, of which the last may be
/// missing. False if the file lacks the column `mark`, which only such files have.
pub fn read_integers<const N: usize>(
    path: &str,
    input: Input,
    length: u64,
    mark: &str,
    columns: [&'static str; N],
    mut take: impl FnMut(u64, [Option<i64>; N]) -> Result<(), TraceError>,
) -> Result<bool, TraceError> {
    let source = Arc::new(Source { input });
    let metadata = guarded(|| ParquetMetaDataReader::new().parse_and_finish(source.as_ref())).map_err(damaged(path))?;
    let schema = metadata.file_metadata().schema_descr();
    let find = |name: &str| schema.columns().iter().position(|column| column.path().parts() == [name]);
    if find(mark).is_none() {
        return Ok(false);
    }
    let mut places = [None; N];
    for (index, (place, column)) in places.iter_mut().zip(columns).enumerate() {
        *place = find(column);
        match *place {
            Some(found) => check_column(path, column, "integers", &schema.column(found))?,
            None if index + 1 == N => {}
            None => return Err(TraceError::NoColumn { path: path.to_owned(), column, expected: "integers" }),
        }
    }
    let mut row = 0;
    for (index, group) in metadata.row_groups().iter().enumerate() {
        check_group(group, index, length).map_err(damaged(path))?;
        let open = |place: &Option<usize>| place.map(|column| IntegerColumn::open(&source, group, column)).transpose();
        let opened = places.iter().map(open).collect::<Result<Vec<_>, ParquetError>>();
        let mut opened = opened.map_err(damaged(path))?;
        for _ in 0..group.num_rows() {
            let mut cells = [None; N];
            for (cell, column) in cells.iter_mut().zip(&mut opened) {
                if let Some(column) = column {
                    *cell = column.next().map_err(damaged(path))?;
                }
            }
            take(row, cells)?;
            row += 1;
        }
    }
    Ok(true)
}
