use super::{Finished, STRATEGIES, Setting};
use crate::memory::TransferClass;
use ordered_float::OrderedFloat;

/// How much faster the second strategy of a setting is than the first.
struct Gain<'a> {
    share: f64,
    setting: &'a Setting,
    run: &'a Finished,
}

impl Gain<'_> {
    fn named(&self) -> String {
        format!("{} ({})", percent(self.share), self.place())
    }

    fn place(&self) -> String {
        format!("{} decoded tokens, {} % skipped", self.setting.scenario.decode(), self.setting.skip.percent())
    }

    fn over_bound(&self) -> f64 {
        self.run.report.summary.bound.achieved_over_bound.unwrap_or(f64::NAN)
    }
}

/// The study's conclusions, a sentence a line. All figures are taken from the runs.
#[must_use]
pub fn conclusions(settings: &[Setting], finished: &[Finished]) -> Vec<String> {
    let runs: Vec<(&Setting, &Finished)> = settings.iter().zip(finished).collect();
    let complete = |run: &Finished| run.error.is_none();
    let mut gains: Vec<Gain<'_>> = runs
        .chunks_exact(STRATEGIES.len())
        .filter(|pair| complete(pair[0].1) && complete(pair[1].1))
        .map(|pair| Gain {
            share: pair[0].1.report.summary.simulated_ns / pair[1].1.report.summary.simulated_ns - 1.0,
            setting: pair[1].0,
            run: pair[1].1,
        })
        .collect();
    gains.sort_by_key(|gain| OrderedFloat(-gain.share));
    let (Some(most), Some(least)) = (gains.first(), gains.last()) else {
        return vec!["No setting was simulated to its end with both strategies, so they are not compared.".to_owned()];
    };
    let losses: Vec<String> = gains.iter().filter(|gain| gain.share < 0.0).map(Gain::named).collect();
    let mut lines = vec![format!(
        "{} decodes faster than {} in {} of {} settings, by up to {}.",
        most.setting.strategy.label(),
        settings[0].strategy,
        gains.iter().filter(|gain| gain.share > 0.0).count(),
        gains.len(),
        most.named(),
    )];
    lines.push(if losses.is_empty() {
        format!("It loses in none; the least that it gains is {}.", least.named())
    } else {
        format!("It loses in {}: {}.", losses.len(), losses.join(", "))
    });
    if let Some(worst) = gains.iter().max_by_key(|gain| OrderedFloat(gain.over_bound())) {
        lines.push(format!(
            "It is furthest from the bound, {} above it, at {}: there migration moves {:.1} bytes for every 100 read.",
            percent(worst.over_bound() - 1.0).trim_start_matches('+'),
            worst.place(),
            100.0 * moved_over_read(worst.run),
        ));
    }
    lines
}

fn moved_over_read(run: &Finished) -> f64 {
    let summary = &run.report.summary;
    let read: u64 = [TransferClass::WeightRead, TransferClass::KvRead]
        .iter()
        .filter_map(|class| summary.transfers.get(class.name()))
        .flat_map(|class| class.bytes.0.iter().map(|(_, bytes)| *bytes))
        .sum();
    summary.migration.bytes() as f64 / read as f64
}

/// A share with its sign: `+12.3 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:+.1} %", 100.0 * share)
}
