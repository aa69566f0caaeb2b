use crate::metrics::RunReport;

/// A run among others: what to call it in a legend.
#[derive(Clone, Copy)]
pub struct Labelled<'a> {
    /// The legend's text.
    pub label: &'a str,
    /// The run.
    pub run: &'a RunReport,
}
