//! The measurements of a run: a [`Recorder`] watches it and becomes a [`RunReport`].
//!
//! Histograms are HdrHistograms of picoseconds with 3 significant digits, so that even a transfer
//! of 5 ns is recorded to 3 digits. Sums, minima and maxima are kept beside them and are exact.
//!
//! A [`WaitRecorder`] attributes every instant of a run to the bottleneck that it waits for. A
//! [`Timeline`] records a few steps in full detail.

mod columns;
mod distribution;
mod figures;
mod recorder;
mod requests;
mod sequences;
mod series;
mod serving;
mod summary;
mod timeline;
mod waits;

pub use columns::{RunColumn, STEP_COLUMNS, StepColumn, StepDraft, StepUnit, StepValue, step_columns};
pub use distribution::Timings;
pub use figures::{
    Figure, FigureUnit, FigureValue, compared_paths, figure_unit, figures, full_name, known_figures, rate, short_names,
    stand_in, swept_figures,
};
pub use recorder::{Histograms, Recorder, RunReport, SCHEMA};
pub(crate) use recorder::{lane_summaries, transfer_summaries};
pub use requests::{
    MOST_BINS, Pause, RequestRow, RequestTimings, RequestsReport, RequestsTimeline, ServingBin, ServingSeries,
    StepTokens, TIMELINE_REQUESTS, TierBin,
};
pub use sequences::{SequenceRow, TokenTimings};
pub use series::{Series, Step, StepValues, TierBytes};
pub use serving::RequestsRecorder;
#[cfg(test)]
pub(crate) use serving::synthetic;
pub use summary::{
    AlphaSummary, BoundSummary, Distribution, GoodputSummary, HitTokens, LaneSummary, LayoutSummary, MigrationSummary,
    MoveSummary, Named, RequestsSummary, SequencesSummary, StageAlpha, StoredSummary, Summary, TransferSummary,
    WaitsSummary,
};
pub use timeline::{Mark, Span, SpanKind, Timeline, TimelineTransfer};
pub use waits::{OTHERS, Wait, WaitRecorder};
