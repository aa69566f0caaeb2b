//! `report.html`: one file that opens from disk and needs no network.
//!
//! [`page`] renders it for any number of runs: the question, the answer and a table first; then
//! plots in which a reader can point at values, zoom and hide lines; percentiles and lanes; last,
//! each run's whole resolved configuration. Every run has one in its folder. Runs of one [`Group`]
//! share axes; a page of several groups shows the chosen one.
//!
//! The figures and tables are in the page itself, from a template (`page.html`). The plotting
//! module (`plots.js`) draws the plots from series that are thinned to the minimum and maximum of
//! each stretch; `page.js` makes them from the page's data. All pages have one style, `page.css`.

mod assets;
mod cells;
mod document;
mod engine;
mod facets;
mod placement;
mod plots;
mod question;
mod served;
mod winners;
mod words;

pub use assets::{PLOTS, STYLE};
pub use cells::{CellAxis, CellFigure, CellNumber, Cells, First};
pub use document::{BarTable, Document, HeatTable, Part, Section, document};
pub use facets::{Cloud, Facets};
pub use placement::placement_bar;
pub use question::{question, title};
pub use winners::{Circumstances, Winners, WinnersAxis, WinnersCell};
pub use words::{answer, sentence};

use super::artifact::{Artifact, ReportError};
use super::exporter::Exporter;
use super::groups::{GROUP_COLUMNS, group_cells, have_groups};
use super::labelled::Labelled;
use super::layout::placement_rows;
use super::numbers::{bytes, bytes_in, dash, percent, time};
use crate::memory::TransferClass;
use crate::metrics::{Distribution, LaneSummary, RunReport, Timings, rate};
use askama::Template;
use assets::{SCRIPTS, Script};
use served::Extra;

/// The name of the file.
const NAME: &str = "report.html";

/// The content of a page.
pub struct Page<'a> {
    /// Its heading, also the window's title.
    pub title: &'a str,
    /// The question, in a sentence; none is shown where it is empty.
    pub question: &'a str,
    /// The answer, a paragraph a line; [`answer`] writes it from the figures of the runs.
    pub answer: &'a str,
    /// The runs.
    pub groups: &'a [Group<'a>],
}

/// Runs that are compared with each other, on the same axes. The others are measured against the
/// first.
pub struct Group<'a> {
    /// The common setting of its runs; may be empty where there is only one group.
    pub title: &'a str,
    /// The runs, distinguished by their labels in legends and tables.
    pub runs: &'a [Labelled<'a>],
}

/// A page of runs side by side.
///
/// # Errors
/// As [`page`].
pub fn comparison(title: &str, question: &str, answer: &str, runs: &[Labelled<'_>]) -> Result<Artifact, ReportError> {
    page(&Page { title, question, answer, groups: &[Group { title: "", runs }] })
}

/// `report.html`.
///
/// # Errors
/// [`ReportError::Format`] if the template fails, which valid input never causes.
pub fn page(page: &Page<'_>) -> Result<Artifact, ReportError> {
    rendered(page, false)
}

/// The page, with a hint at `tiersim explain` if it is that of one run in its folder.
fn rendered(page: &Page<'_>, explainable: bool) -> Result<Artifact, ReportError> {
    let runs: usize = page.groups.iter().map(|group| group.runs.len()).sum();
    let most = plots::most_points(runs);
    let lanes: usize = page.groups.iter().flat_map(|group| group.runs).map(|run| run.run.summary.lanes.0.len()).sum();
    let all = || page.groups.iter().flat_map(|group| group.runs).map(|run| &run.run.summary);
    let (timed, batch) = (all().any(|run| run.ttft_ns.is_some()), all().any(|run| !run.is_single()));
    let serves = page.groups.iter().all(|group| served::all_serve(group.runs));
    let groups: Vec<GroupView> = page
        .groups
        .iter()
        .map(|group| GroupView::new(group, lanes, (timed, batch, serves)))
        .collect::<Result<_, _>>()?;
    let data: Vec<plots::Plots> = page.groups.iter().map(|group| plots_of(group, most)).collect();
    let view = PageView {
        title: page.title,
        question: page.question,
        said: page.answer,
        answer: page.answer.lines().filter(|line| !line.trim().is_empty()).collect(),
        style: STYLE,
        scripts: &SCRIPTS,
        sources: assets::sources(&SCRIPTS),
        data: in_script(&data)?,
        classes: classes(page),
        several: groups.len() > 1,
        // One run's configuration is shown; those of many are folded, as they would fill the page.
        open: runs == 1,
        explainable,
        explained: if serves { "explain.md" } else { "explain.html" },
        groups,
    };
    Ok(Artifact::new(NAME, view.render().map_err(failed)?))
}

fn plots_of(group: &Group<'_>, most: usize) -> plots::Plots {
    let of = if served::all_serve(group.runs) { engine::engine_plots } else { plots::plots };
    of(group.title, group.runs, most)
}

/// The classes of transfers that a page has a key for.
fn classes(page: &Page<'_>) -> Vec<(usize, &'static str)> {
    let runs = || page.groups.iter().flat_map(|group| group.runs);
    let used = |class: &TransferClass| runs().any(|run| run.run.summary.transfers.get(class.name()).is_some());
    let shown = TransferClass::ALL.into_iter().filter(|class| class.is_shown(used(class)));
    shown.map(|class| (class.index(), class.name())).collect()
}

/// A value as JSON within a script element, where text ends at anything that looks like a closing
/// tag.
fn in_script(value: &impl serde::Serialize) -> Result<String, ReportError> {
    Ok(serde_json::to_string(value).map_err(failed)?.replace('<', "\\u003c"))
}

pub(super) fn failed(error: impl ToString) -> ReportError {
    ReportError::format(NAME, error)
}

/// `report.html` of a run.
pub(super) struct RunPage;

impl Exporter for RunPage {
    fn names(&self) -> Vec<String> {
        vec![NAME.to_owned()]
    }

    fn export(&self, run: &RunReport) -> Result<Vec<Artifact>, ReportError> {
        let label = run.summary.label();
        let runs = [Labelled { label: &label, run }];
        let groups = [Group { title: "", runs: &runs }];
        let (title, question) = (title(&runs), question(&runs));
        let page = Page { title: &title, question: &question, answer: &answer(&runs), groups: &groups };
        Ok(vec![rendered(&page, true)?])
    }
}

/// The data of the template.
#[derive(Template)]
#[template(path = "page.html", config = "src/report/html/askama.toml")]
struct PageView<'a> {
    title: &'a str,
    question: &'a str,
    /// The answer once more, in one piece, for lists of results.
    said: &'a str,
    answer: Vec<&'a str>,
    style: &'static str,
    scripts: &'static [Script],
    /// The scripts that its policy allows.
    sources: String,
    data: String,
    classes: Vec<(usize, &'static str)>,
    several: bool,
    open: bool,
    explainable: bool,
    /// The file that explains it.
    explained: &'static str,
    groups: Vec<GroupView>,
}

/// A run's label and the cells of its row.
type Row = (String, Vec<String>);

struct GroupView {
    title: String,
    /// The simulated scenario: once where it is the same for all runs.
    settings: Vec<String>,
    /// The first table.
    results: Vec<Row>,
    /// The columns of the first table, after the run's label.
    result_columns: Vec<&'static str>,
    /// Whether any run of the page decodes several sequences, or computes prompts.
    batch: bool,
    /// Whether all runs of the page serve requests.
    serves: bool,
    /// More tables of such runs.
    extras: Vec<Extra>,
    /// A row for each group of sequences of each run, where a run has several groups.
    sequences: Vec<Row>,
    /// The layout of each run's bytes, as bars; empty where no run has one.
    placement: String,
    /// For each distribution its name and a row a run.
    percentiles: Vec<(String, Vec<Row>)>,
    /// For each lane its name, and its load in each run.
    lanes: Vec<(String, Vec<LaneView>)>,
    /// The number of lanes that are not folded.
    lanes_shown: usize,
    /// How many lanes are left out, for the size of the page.
    lanes_left_out: usize,
    /// For each run its label and its scenario as JSON.
    configurations: Vec<(String, String)>,
    several: bool,
}

struct LaneView {
    label: String,
    utilization: String,
    carried: String,
    /// For each class that it carried: its index, its name, and its share of the lane's capacity,
    /// in percent.
    parts: Vec<(usize, &'static str, String)>,
}

/// The columns of the first table, after the run's label: of several sequences TPOT in the place of
/// the latency of a token, and TTFT where prompts take time.
fn result_columns(batch: bool, timed: bool) -> Vec<&'static str> {
    let latency =
        if batch { ["TPOT p50", "TPOT p99", "TPOT p99.9"] } else { ["token p50", "token p99", "token p99.9"] };
    let to_first: &[&str] = if timed { &["TTFT p50", "TTFT p99"] } else { &[] };
    let before = ["simulated time", "tokens/s", "against first", "over bound", "alpha"];
    let after = ["moved", "late tokens", "peak in fastest tier"];
    before.iter().chain(&latency).chain(to_first).chain(&after).copied().collect()
}

/// The columns of percentiles, after the name of the distribution.
const PERCENTILES: [&str; 9] = ["count", "mean", "min", "p50", "p90", "p99", "p99.9", "p99.99", "max"];

/// The most groups of sequences, over all runs, that a page lists.
const GROUPS_OF_A_PAGE: usize = 200;
/// The most lanes that are shown without unfolding.
const LANES_SHOWN: usize = 32;
/// The most lanes of a page over all its runs; a row takes some 300 bytes.
const LANES_OF_A_PAGE: usize = 3_000;

impl GroupView {
    fn new(
        group: &Group<'_>,
        lanes_of_page: usize,
        (timed, batch, serves): (bool, bool, bool),
    ) -> Result<Self, ReportError> {
        let runs = group.runs;
        let configuration = |run: &Labelled<'_>| {
            let text = serde_json::to_string_pretty(&run.run.summary.scenario).map_err(failed)?;
            Ok((run.label.to_owned(), text))
        };
        let cells = |run: &Labelled<'_>| {
            if serves { served::cells(run.run) } else { result(run.run, runs[0].run, timed) }
        };
        let mut lanes = lanes(runs);
        let all = lanes.len();
        if lanes_of_page > LANES_OF_A_PAGE {
            lanes.truncate(LANES_SHOWN);
        }
        Ok(Self {
            title: group.title.to_owned(),
            settings: words::settings(runs),
            results: runs.iter().map(|run| (run.label.to_owned(), cells(run))).collect(),
            result_columns: if serves { served::COLUMNS.into() } else { result_columns(batch, timed) },
            serves,
            extras: if serves { served::extras(runs) } else { Vec::new() },
            batch,
            sequences: sequences(runs),
            placement: placement(runs)?,
            percentiles: percentiles(runs),
            lanes_shown: LANES_SHOWN,
            lanes_left_out: all - lanes.len(),
            lanes,
            configurations: runs.iter().map(configuration).collect::<Result<_, ReportError>>()?,
            several: runs.len() > 1,
        })
    }

    fn sequence_columns(&self) -> &'static [&'static str] {
        &GROUP_COLUMNS
    }

    fn percentile_columns(&self) -> &'static [&'static str] {
        &PERCENTILES
    }
}

/// The rows of the table of groups: the run and the number of the group, then its cells.
fn sequences(runs: &[Labelled<'_>]) -> Vec<Row> {
    if !have_groups(runs) {
        return Vec::new();
    }
    let of_run = |run: &Labelled<'_>| {
        let name = |number: usize| {
            if runs.len() > 1 { format!("{}, group {number}", run.label) } else { format!("group {number}") }
        };
        let groups = run.run.summary.sequences.iter().enumerate();
        groups.map(|(number, group)| (name(number), group_cells(group))).collect::<Vec<_>>()
    };
    runs.iter().flat_map(of_run).take(GROUPS_OF_A_PAGE).collect()
}

fn result(run: &RunReport, first: &RunReport, timed: bool) -> Vec<String> {
    let summary = &run.summary;
    let took = time(summary.simulated_ns);
    let to_first = |pick: fn(&Distribution) -> f64| summary.ttft_ns.as_ref().map_or_else(dash, |it| time(pick(it)));
    let mut cells = vec![
        if summary.complete { took } else { format!("{took} for {}, incomplete", words::steps(summary)) },
        summary.tokens_per_s.map_or_else(dash, rate),
        summary.time_against(&first.summary).map_or_else(dash, |ratio| format!("{ratio:.4}")),
        summary.bound.achieved_over_bound.map_or_else(dash, |ratio| format!("{ratio:.4}")),
        summary.alpha.mean.map_or_else(dash, |alpha| format!("{alpha:.4}")),
        words::quantile(summary, |latency| latency.p50),
        words::quantile(summary, |latency| latency.p99),
        words::quantile(summary, |latency| latency.p999),
        bytes_in(summary.size_style(), summary.migration.bytes()),
        summary.migration.late_tokens.to_string(),
        summary.peak_bytes.0.first().map_or_else(dash, |(_, peak)| bytes_in(summary.size_style(), *peak)),
    ];
    if timed {
        cells.splice(8..8, [to_first(|times| times.p50), to_first(|times| times.p99)]);
    }
    cells
}

/// The bars of each run's layout.
fn placement(runs: &[Labelled<'_>]) -> Result<String, ReportError> {
    let rows = placement_rows(runs);
    if rows.is_empty() { Ok(String::new()) } else { placement_bar(&rows) }
}

/// What a person waits for.
const FIRST: [&str; 5] = ["TPOT", "TTFT", "end-to-end time", "queueing", "time between tokens"];

/// For each distribution that any run has, each run's figures.
fn percentiles(runs: &[Labelled<'_>]) -> Vec<(String, Vec<Row>)> {
    let mut rows: Vec<(String, Vec<Row>)> = Vec::new();
    for run in runs {
        for (name, timings) in run.run.histograms.named() {
            let row = (run.label.to_owned(), figures(timings));
            let name = plots::spoken(&name, runs);
            match rows.iter_mut().find(|(known, _)| *known == name) {
                Some((_, rows)) => rows.push(row),
                None => rows.push((name, vec![row])),
            }
        }
    }
    // What a person waits for comes first.
    rows.sort_by_key(|(name, _)| !FIRST.contains(&name.as_str()));
    rows
}

fn figures(timings: &Timings) -> Vec<String> {
    let Some(figures) = timings.distribution() else { return vec![dash(); PERCENTILES.len()] };
    let p9999 = timings.at(0.9999).as_ns();
    let times = [figures.mean, figures.min, figures.p50, figures.p90, figures.p99, figures.p999, p9999, figures.max];
    std::iter::once(timings.count().to_string()).chain(times.map(time)).collect()
}

/// For each lane that any run has, its load in each.
fn lanes(runs: &[Labelled<'_>]) -> Vec<(String, Vec<LaneView>)> {
    let mut rows: Vec<(String, Vec<LaneView>)> = Vec::new();
    for run in runs {
        // Runs on one memory system have the same lanes in the same order, so that no search among
        // thousands of lanes is needed.
        for (index, (name, lane)) in run.run.summary.lanes.0.iter().enumerate() {
            let view = LaneView::new(run.label, lane);
            let place = match rows.get(index) {
                Some((known, _)) if known == name => Some(index),
                _ => rows.iter().position(|(known, _)| known == name),
            };
            match place {
                Some(place) => rows[place].1.push(view),
                None => rows.push((name.clone(), vec![view])),
            }
        }
    }
    rows
}

impl LaneView {
    fn new(label: &str, lane: &LaneSummary) -> Self {
        let part = |class: TransferClass| {
            let carried = *lane.bytes_by_class.get(class.name())?;
            let share = 100.0 * lane.utilization * carried as f64 / lane.bytes as f64;
            (carried > 0).then(|| (class.index(), class.name(), format!("{share:.2}")))
        };
        Self {
            label: label.to_owned(),
            utilization: percent(lane.utilization),
            carried: bytes(lane.bytes),
            parts: TransferClass::ALL.into_iter().filter_map(part).collect(),
        }
    }
}
