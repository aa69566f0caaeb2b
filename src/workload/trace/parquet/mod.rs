//! Recorded traces as Parquet files, which pandas, DuckDB and pyarrow read and write.
//!
//! A file has a row for each layer of each step, in order: the columns `step`, `layer` and
//! `skipped`, whose cells are Roaring bitmaps of tokens, or `experts`, of experts. Where a layer
//! has several sets, `kv_head` or `token` says which one a row is. What the trace is (layers,
//! steps, tokens before step 0, provenance) is key-value metadata of the file. `traces/README.md`
//! describes the format.
//!
//! * `schema`: the columns and the metadata, written and checked.
//! * [`guard`]: what stands between the bytes of a file, which may be damaged or hostile, and the
//!   library that decodes them.
//! * `read`, `write`: a step at a time, in memory that one row group bounds.

mod guard;
mod integers;
mod read;
mod schema;
mod write;

pub use guard::is_decoding;
pub(super) use integers::read_integers;
pub(super) use read::ParquetReader;
pub use schema::Encoding;
pub(super) use schema::KINDS;
pub use write::ParquetWriter;
