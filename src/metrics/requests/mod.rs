//! What is kept of a run that serves requests, besides the common figures: what became of each
//! request, its distributions, and the engine over time.

mod report;
mod series;
mod timeline;
mod timings;

pub(super) use report::rows;
pub use report::{RequestRow, RequestsReport};
pub use series::{MOST_BINS, ServingBin, ServingSeries, StepTokens, TierBin};
pub use timeline::{Pause, RequestsTimeline, TIMELINE_REQUESTS};
pub use timings::RequestTimings;
