use super::{STYLE, failed};
use crate::report::ReportError;
use crate::report::index::Entry;
use askama::Template;

#[derive(Template)]
#[template(path = "list.html", config = "src/report/html/askama.toml")]
struct ListView<'a> {
    style: &'static str,
    count: usize,
    kinds: Vec<(&'a str, Vec<&'a Entry>)>,
    left_out: usize,
}

/// A page with a row for each of `entries`, which are in the order of their paths; so many more are
/// left out.
///
/// # Errors
/// [`ReportError::Format`] where the page cannot be made; none of ours is such.
pub(in crate::report) fn list(entries: &[Entry], left_out: usize) -> Result<String, ReportError> {
    let mut kinds: Vec<(&str, Vec<&Entry>)> = Vec::new();
    for entry in entries {
        match kinds.last_mut() {
            Some((kind, rows)) if *kind == entry.kind() => rows.push(entry),
            _ => kinds.push((entry.kind(), vec![entry])),
        }
    }
    ListView { style: STYLE, count: entries.len(), kinds, left_out }.render().map_err(failed)
}
