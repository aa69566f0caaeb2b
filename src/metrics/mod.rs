//! What a run measures: a [`Recorder`] watches it and becomes a [`RunReport`].
//!
//! Histograms are HdrHistograms of picoseconds with 3 significant digits: a transfer of 5 ns keeps them. Sums, least and
//! greatest are kept apart and are exact.
//!
//! A [`WaitRecorder`] watches what a run waits for.

mod columns;
mod distribution;
mod figures;
mod recorder;
mod series;
mod summary;
mod timeline;
mod waits;

pub use columns::{RunColumn, STEP_COLUMNS, StepColumn, StepDraft, StepUnit, StepValue, step_columns};
pub use distribution::Timings;
pub use figures::{
    Figure, FigureUnit, FigureValue, compared_paths, figure_unit, figures, full_name, known_figures, rate, short_names,
    swept_figures,
};
pub use recorder::{Histograms, Recorder, RunReport, SCHEMA};
pub(crate) use recorder::{lane_summaries, transfer_summaries};
pub use series::{Series, Step, StepValues, TierBytes};
pub use summary::{
    AlphaSummary, BoundSummary, Distribution, LaneSummary, LayoutSummary, MigrationSummary, Named, StoredSummary,
    SublayerAlpha, Summary, TransferSummary, WaitsSummary,
};
pub use timeline::{Mark, Span, SpanKind, Timeline, TimelineTransfer};
pub use waits::{OTHERS, Wait, WaitRecorder};
