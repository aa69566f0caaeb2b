//! The default folders of results, and the notes to the user when results replace others.

use super::error::CliError;
use crate::metrics::Summary;
use crate::report::{self, Artifact, Claim};
use crate::runs::{Finished, Job};
use crate::simulation::{Identity, Scenario, ScenarioConfig, differences, file_name};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The folder of all results that have no folder of their own.
const OUT: &str = "out";

/// The default folder of results of one kind (`runs`, `strategies`, ...), by what is run:
/// `out/runs/gh200+h200-pcie,prefill=32768`.
pub(super) fn default_folder(kind: &str, identity: &Identity) -> PathBuf {
    Path::new(OUT).join(kind).join(identity.folder())
}

/// The scenario's file before flags change it. `None` for a `summary.json`, which is not such a
/// file but the record of a run.
pub(super) fn written(scenario: &str) -> Option<Arc<ScenarioConfig>> {
    if Path::new(scenario).file_name().is_some_and(|name| name == "summary.json") {
        return None;
    }
    ScenarioConfig::load(scenario).ok().map(Arc::new)
}

/// The identity of what is run.
pub(super) fn identity(scenario: &Scenario) -> Identity {
    Identity::of(scenario.resolved(), scenario.written().map(Arc::as_ref))
}

/// A folder for each scenario by its strategy, below `out`. Strategies with the same file name get
/// a number.
pub(super) fn strategy_folders(out: &Path, scenarios: &[Scenario]) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::with_capacity(scenarios.len());
    for scenario in scenarios {
        let name = match scenario.requests() {
            Some(_) => scenario.strategy_name(),
            None => scenario.strategy().name(),
        };
        let name = file_name(&name);
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).map(|name| out.join(name));
        folders.extend(free.into_iter().find(|folder| !folders.contains(folder)));
    }
    folders
}

/// Claims the folders of `jobs`, and notes which of them hold the results of another configuration.
pub(super) fn prepare(jobs: &[Job<'_>]) -> Result<Vec<Claim>, CliError> {
    let names = report::run_file_names();
    let claims = jobs.iter().map(|job| report::claim(&job.folder, &names)).collect::<Result<_, _>>()?;
    jobs.iter().for_each(|job| note_replaced(&job.folder, "summary.json", job.scenario));
    Ok(claims)
}

/// Prints a note if the results in `folder`, of which `file` has the scenario, are of another
/// configuration.
pub(super) fn note_replaced(folder: &Path, file: &str, scenario: &Scenario) {
    if let Some(changes) = replaced(&folder.join(file), scenario) {
        note!("{} holds the results of another configuration, which are replaced: {changes}", folder.display());
    }
}

/// The most differences that a note lists.
const MOST_NOTED: usize = 3;

/// The differences between the scenario of `file` and `scenario`; `None` where there is no file, or
/// no difference.
fn replaced(file: &Path, scenario: &Scenario) -> Option<String> {
    let there = ScenarioConfig::load(file.to_str()?).ok()?;
    let trees = [&there, scenario.resolved()].map(|config| serde_json::to_value(config).unwrap_or_default());
    let mut changed = differences(&[&trees[0], &trees[1]]);
    changed.retain(|field| !field.path.ends_with("about"));
    if changed.is_empty() {
        return None;
    }
    let shown = |field: &crate::simulation::Difference| {
        format!("{} was {}, now {}", field.path, field.shown(0), field.shown(1))
    };
    let mut noted: Vec<String> = changed.iter().take(MOST_NOTED).map(shown).collect();
    if changed.len() > MOST_NOTED {
        noted.push(format!("{} more differences", changed.len() - MOST_NOTED));
    }
    Some(noted.join("; "))
}

/// The list of the runs that a page of several runs shows.
pub(super) fn shown(jobs: &[Job<'_>], finished: &[Finished]) -> Result<Artifact, CliError> {
    let name = |job: &Job<'_>| job.folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let runs: Vec<(String, &Summary)> =
        jobs.iter().zip(finished).map(|(job, run)| (name(job).unwrap_or_default(), &run.report.summary)).collect();
    Ok(report::shown_runs(&runs)?)
}

/// The pages of several runs beside the folders of `jobs`, where there are any.
pub(super) fn pages_beside(jobs: &[Job<'_>]) -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = jobs
        .iter()
        .filter_map(|job| Some(job.folder.parent()?.join("report.html")))
        .filter(|page| page.is_file())
        .collect();
    pages.dedup();
    pages
}

/// Prints a note for each of these pages that was removed, as it showed a run that was replaced.
pub(super) fn note_removed(pages: &[PathBuf]) {
    for page in pages.iter().filter(|page| !page.is_file()) {
        note!("{} showed a run that has been replaced: it is removed", page.display());
    }
}

/// Rewrites `out/index.html` if `written` lies below `out`.
pub(super) fn refresh_index(written: &Path) {
    // Where `out` is itself the folder of a result, it has no list of results.
    let is_result =
        ["summary.json", "sweep.json", "report.html"].iter().any(|file| Path::new(OUT).join(file).is_file());
    if is_below_out(written)
        && !is_result
        && let Err(error) = report::write_index(Path::new(OUT))
    {
        note!("the list of results is not up to date: {error}");
    }
}

fn is_below_out(path: &Path) -> bool {
    let here = std::env::current_dir().unwrap_or_default();
    let path = path.strip_prefix(&here).unwrap_or(path);
    let mut parts = path.components().filter(|part| *part != Component::CurDir);
    let in_out = parts.next() == Some(Component::Normal(OUT.as_ref()));
    let below: Vec<Component<'_>> = parts.collect();
    in_out && !below.is_empty() && below.iter().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_out_is_listed() {
        let below = |path: &str| is_below_out(Path::new(path));
        assert!(below("out/runs/study") && below("./out/x") && !below("out"));
        assert!(below(std::env::current_dir().unwrap().join("out/x").to_str().unwrap()));
        assert!(!below("elsewhere/out") && !below("/tmp/out") && !below("out/../x") && !below("outer/x"));
    }
}
