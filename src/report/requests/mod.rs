//! The files of a run that serves requests, besides those of every run.
//!
//! | file | content |
//! | --- | --- |
//! | `requests.csv`, `requests.parquet` | a row for each request |
//! | `engine.csv`, `engine.parquet` | the engine over time, in at most 2000 stretches |
//! | `requests_timeline.json` | the first requests as a trace for ui.perfetto.dev |
//! | `batch`, `mem_usage`, `tokens`, `ttft_cdf`, ... | pictures |

mod engine;
mod pictures;
mod records;
mod trace;

pub(super) use engine::EngineFiles;
pub(super) use pictures::RequestPictures;
pub use pictures::request_pictures;
pub(super) use records::RequestFiles;
pub(super) use trace::RequestsTrace;
