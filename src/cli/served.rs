//! The tables and the sentences of runs that served requests.

use super::error::CliError;
use super::print;
use crate::metrics::{Distribution, Summary};
use crate::report::{Column, Labelled, Table, html};
use crate::runs::Finished;
use crate::units::SimTime;
use std::io::IsTerminal;

/// Prints what `finished` served; false if one of them served no requests.
pub(super) fn print_served(finished: &[Finished]) -> Result<bool, CliError> {
    let summaries: Vec<&Summary> = finished.iter().map(|run| &run.report.summary).collect();
    if summaries.iter().any(|summary| summary.requests.is_none()) {
        return Ok(false);
    }
    let styled = std::io::stdout().is_terminal();
    for summary in &summaries {
        let heading = if summaries.len() > 1 { format!("{}\n", summary.label()) } else { String::new() };
        print(&format!("{heading}{}\n", times(summary).render(styled)))?;
    }
    let labels: Vec<String> = summaries.iter().map(|summary| summary.label()).collect();
    let runs = labels.iter().zip(finished).map(|(label, run)| Labelled { label, run: &run.report });
    print(&html::answer(&runs.collect::<Vec<_>>()))?;
    Ok(true)
}

/// The times of requests.
fn times(summary: &Summary) -> Table {
    let mut columns = vec![Column::text("")];
    columns.extend(["mean", "p50", "p90", "p99", "max"].map(Column::number));
    let mut table = Table::new(columns);
    let Some(requests) = &summary.requests else { return table };
    for (name, times) in [
        ("TTFT", &requests.ttft_ns),
        ("TPOT", &requests.tpot_ns),
        ("end to end", &requests.e2e_ns),
        ("queueing", &requests.queueing_ns),
    ] {
        let cells = |times: &Distribution| {
            [times.mean, times.p50, times.p90, times.p99, times.max].map(|time| SimTime::from_ns(time).rounded())
        };
        let cells = times.as_ref().map_or_else(|| [(); 5].map(|()| "-".to_owned()), cells);
        table.row([vec![name.to_owned()], cells.to_vec()].concat());
    }
    table
}
