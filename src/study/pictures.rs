use super::{Finished, Setting};
use crate::report::Labelled;
use crate::report::pictures::{MemoryPanel, alpha, latency_cdf, memory_in_use, token_latency};
use crate::report::{Artifact, ReportError};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// A picture to be drawn.
type Drawing<'a> = Box<dyn Fn() -> Result<[Artifact; 2], ReportError> + Send + Sync + 'a>;

/// The study's pictures, each as SVG and PNG:
/// * `mem_usage_1_1_4`: memory in use on each tier over the tokens, a panel a strategy;
/// * `alpha_1_1_4_best-ratio_skip40`: alpha over the tokens, of each run;
/// * `latency_1_1_4_skip40`: token latency of both strategies with the bound, of each setting;
/// * `latency_cdf_1_1_4_skip40`: the cumulative distribution of both.
///
/// # Errors
/// [`ReportError`] if one cannot be drawn.
pub fn pictures(settings: &[Setting], finished: &[Finished]) -> Result<Vec<Artifact>, ReportError> {
    let runs: Vec<(&Setting, &Finished)> =
        settings.iter().zip(finished).filter(|(_, run)| !run.report.series.is_empty()).collect();
    let mut drawings: Vec<Drawing<'_>> = Vec::new();
    for &(setting, run) in &runs {
        drawings.push(Box::new(move || {
            let name = format!("alpha_{}", setting.folder());
            let strategy = setting.strategy.label();
            let labelled = [Labelled { label: &strategy, run: &run.report }];
            alpha(&name, &format!("Alpha, {strategy}: {}", describe(setting)), &labelled)
        }));
    }
    for group in groups(&runs, |a, b| a.context == b.context && a.skip == b.skip) {
        let setting = group[0].0;
        let name = format!("{}_skip{}", setting.context, setting.skip.percent());
        let both = group.clone();
        let latency = format!("latency_{name}");
        drawings.push(Box::new(move || {
            labelled(&both, |runs| token_latency(&latency, &format!("Token latency: {}", describe(setting)), runs))
        }));
        let cdf = format!("latency_cdf_{name}");
        drawings.push(Box::new(move || {
            labelled(&group, |runs| latency_cdf(&cdf, &format!("Latency CDF: {}", describe(setting)), runs))
        }));
    }
    for group in groups(&runs, |a, b| a.context == b.context) {
        drawings.push(Box::new(move || memory(&group)));
    }
    let drawn: Vec<[Artifact; 2]> = drawings.into_par_iter().map(|draw| draw()).collect::<Result<_, ReportError>>()?;
    Ok(drawn.into_iter().flatten().collect())
}

/// Draws with runs that are called by their strategies.
fn labelled<T>(group: &[(&Setting, &Finished)], draw: impl FnOnce(&[Labelled<'_>]) -> T) -> T {
    let names: Vec<String> = group.iter().map(|(setting, _)| setting.strategy.label()).collect();
    let runs: Vec<Labelled<'_>> =
        group.iter().zip(&names).map(|((_, run), label)| Labelled { label, run: &run.report }).collect();
    draw(&runs)
}

fn memory(group: &[(&Setting, &Finished)]) -> Result<[Artifact; 2], ReportError> {
    let setting = group[0].0;
    let labels: Vec<String> =
        group.iter().map(|(setting, _)| format!("{} % skipped", setting.skip.percent())).collect();
    let mut panels: Vec<(String, Vec<Labelled<'_>>)> = Vec::new();
    for ((setting, run), label) in group.iter().zip(&labels) {
        let strategy = setting.strategy.label();
        let labelled = Labelled { label, run: &run.report };
        match panels.iter_mut().find(|(title, _)| *title == strategy) {
            Some((_, runs)) => runs.push(labelled),
            None => panels.push((strategy, vec![labelled])),
        }
    }
    let panels: Vec<MemoryPanel<'_>> =
        panels.iter().map(|(title, runs)| MemoryPanel { title, runs: runs.clone() }).collect();
    let title = format!("Memory in use: {}", tokens(setting));
    memory_in_use(&format!("mem_usage_{}", setting.context), &title, &panels)
}

pub(super) fn describe(setting: &Setting) -> String {
    format!("{}, {} % skipped", tokens(setting), setting.skip.percent())
}

fn tokens(setting: &Setting) -> String {
    format!("{} + {} tokens", setting.scenario.prefill(), setting.scenario.decode())
}

/// Runs that are alike, in the order of their first.
pub(super) fn groups<'a>(
    runs: &[(&'a Setting, &'a Finished)],
    alike: impl Fn(&Setting, &Setting) -> bool,
) -> Vec<Vec<(&'a Setting, &'a Finished)>> {
    let mut groups: Vec<Vec<(&Setting, &Finished)>> = Vec::new();
    for &run in runs {
        match groups.iter_mut().find(|group| alike(group[0].0, run.0)) {
            Some(group) => group.push(run),
            None => groups.push(vec![run]),
        }
    }
    groups
}
