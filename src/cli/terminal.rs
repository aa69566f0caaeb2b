//! Output for a person at a terminal: curves of a run, and the switch that turns notes off.

use crate::metrics::RunReport;
use crate::units::SimTime;
use std::sync::atomic::{AtomicBool, Ordering};

static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on only results and errors are printed.
pub(super) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

pub(super) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// The width of a curve, in characters.
const WIDTH: usize = 60;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Token latency and alpha over the tokens of a run, a line each; nothing of a run without steps.
pub(super) fn curves(run: &RunReport) -> Vec<String> {
    let latency: Vec<f64> = run.series.steps().map(|step| step.latency.as_ns()).collect();
    let alpha: Vec<f64> = run.series.steps().map(|step| step.alpha()).filter(|alpha| alpha.is_finite()).collect();
    let time = |nanoseconds: f64| SimTime::from_ns(nanoseconds).rounded();
    let share = |share: f64| format!("{share:.3}");
    let line = |what: &str, values: &[f64], show: &dyn Fn(f64) -> String| {
        let (least, most) = extent(values)?;
        Some(format!("  {what:13} {}  {} to {}", curve(values, least, most), show(least), show(most)))
    };
    let name = if run.summary.is_single() { "token latency" } else { "step latency" };
    [line(name, &latency, &time), line("alpha", &alpha, &share)].into_iter().flatten().collect()
}

fn extent(values: &[f64]) -> Option<(f64, f64)> {
    let least = values.iter().copied().min_by(f64::total_cmp)?;
    let most = values.iter().copied().max_by(f64::total_cmp)?;
    Some((least, most))
}

/// A bar for each stretch of `values`: its greatest, so that no peak is lost.
fn curve(values: &[f64], least: f64, most: f64) -> String {
    let stretch = values.len().div_ceil(WIDTH).max(1);
    let greatest = values.chunks(stretch).filter_map(|part| part.iter().copied().max_by(f64::total_cmp));
    let bar = |value: f64| {
        // A value that hardly changes is drawn as a flat line.
        let part = if most - least > 0.01 * most.abs() { (value - least) / (most - least) } else { 0.0 };
        BARS[((part * BARS.len() as f64) as usize).min(BARS.len() - 1)]
    };
    greatest.map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_seen_and_flat_lines_are_low() {
        let mut values = vec![1.0; 6000];
        values[4321] = 3.0;
        let drawn = curve(&values, 1.0, 3.0);
        assert_eq!(drawn.chars().count(), WIDTH);
        assert_eq!(drawn.chars().position(|bar| bar == '█'), Some(43));
        assert_eq!(drawn.chars().filter(|bar| *bar == '▁').count(), WIDTH - 1);
        assert_eq!(curve(&[2.0, 2.0], 2.0, 2.0), "▁▁");
        assert_eq!(curve(&[0.0, 1.0, 2.0], 0.0, 2.0), "▁▅█");
    }
}
