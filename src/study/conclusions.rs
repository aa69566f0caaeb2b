use super::{Finished, Setting};
use crate::memory::TransferClass;

/// What the table says, in words: a sentence a line. All figures are taken from the runs.
#[must_use]
pub fn conclusions(settings: &[Setting], finished: &[Finished]) -> Vec<String> {
    let mut gains = Vec::new();
    for pair in settings.iter().zip(finished).collect::<Vec<_>>().chunks(2) {
        if let [(_, baseline), (setting, best)] = pair
            && baseline.outcome.error.is_none()
            && best.outcome.error.is_none()
        {
            let gain = baseline.report.summary.simulated_ns / best.report.summary.simulated_ns - 1.0;
            gains.push((gain, *setting, *best, *baseline));
        }
    }
    gains.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (Some(most), Some(least)) = (gains.first(), gains.last()) else {
        return vec!["No setting was simulated to its end with both strategies.".to_owned()];
    };
    let name = |setting: &Setting| {
        format!("{} decoded tokens, {} % skipped", setting.scenario.decode(), setting.skip.percent())
    };
    let wins = gains.iter().filter(|(gain, ..)| *gain > 0.0).count();
    let mut lines = vec![format!(
        "{} is faster than {} in {wins} of {} settings: {} at most ({}), {} at least ({}).",
        most.1.strategy,
        most.3.report.summary.strategy,
        gains.len(),
        signed(most.0),
        name(most.1),
        signed(least.0),
        name(least.1),
    )];
    let worst = gains.iter().max_by(|a, b| over_bound(a.2).total_cmp(&over_bound(b.2)));
    if let Some((_, setting, best, _)) = worst {
        let moved = best.report.summary.migration.in_bytes + best.report.summary.migration.out_bytes;
        let read: u64 = [TransferClass::WeightRead, TransferClass::KvRead]
            .iter()
            .filter_map(|class| best.report.summary.transfers.get(class.name()))
            .flat_map(|class| class.bytes.0.iter().map(|(_, bytes)| *bytes))
            .sum();
        lines.push(format!(
            "It is furthest from the bound, {} above it, at {}: there migration moves {:.1} bytes for every 100 read.",
            signed(over_bound(best) - 1.0).trim_start_matches('+'),
            name(setting),
            100.0 * moved as f64 / read as f64,
        ));
    }
    lines
}

fn over_bound(run: &Finished) -> f64 {
    run.report.summary.bound.achieved_over_bound.unwrap_or(f64::NAN)
}

fn signed(share: f64) -> String {
    format!("{:+.1} %", 100.0 * share)
}
