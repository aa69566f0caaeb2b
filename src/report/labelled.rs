use crate::metrics::RunReport;

/// A run with its label in legends and tables.
#[derive(Clone, Copy)]
pub struct Labelled<'a> {
    /// The legend's text.
    pub label: &'a str,
    /// The run.
    pub run: &'a RunReport,
}
