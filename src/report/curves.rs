//! Curves: latency under load, with `curve.csv` and a picture a tier; tokens/s and TPOT against
//! batch.

use super::artifact::{Artifact, ReportError};
use super::chart::{Chart, Line, Panel, Stroke, colour};
use super::grids::is_logarithmic;
use crate::memory::MemorySystem;
use crate::replay::Curve;

/// The files of `tiersim curve`.
///
/// # Errors
/// [`ReportError`] if one cannot be made.
pub fn curve_files(system: &MemorySystem, curves: &[Curve]) -> Result<Vec<Artifact>, ReportError> {
    let mut files = vec![Artifact::new("curve.csv", rows(system, curves)?)];
    for tier in system.tier_ids() {
        let name = &system.tiers()[tier.index()].name;
        let of_tier = curves.iter().filter(|curve| curve.tier == tier).enumerate();
        let lines = of_tier.map(|(index, curve)| Line {
            label: format!("{} % reads", curve.read_share.percent()),
            colour: colour::ALL[index % colour::ALL.len()],
            stroke: [Stroke::Solid, Stroke::Dashed, Stroke::Dotted][index % 3],
            points: curve
                .points
                .iter()
                .filter_map(|point| Some((point.offered / 1e9, point.latency.distribution()?.mean)))
                .collect(),
        });
        let panel = Panel {
            title: format!("Loaded latency: {name} of {}", system.name()),
            x_label: "offered (GB/s)".to_owned(),
            y_label: "mean latency (ns)".to_owned(),
            lines: lines.collect(),
            ..Panel::default()
        };
        let chart = Chart { name: format!("loaded_latency_{name}"), title: String::new(), panels: vec![panel] };
        files.extend(chart.artifacts()?);
    }
    Ok(files)
}

/// A curve of [`batch_curves`]: its label, and for each batch its tokens/s and its TPOT in
/// nanoseconds.
pub type BatchCurve = (String, Vec<(f64, f64, f64)>);

/// Tokens/s and TPOT against batch, side by side, a line for each choice. Batches are placed by
/// their logarithm to the base of 2.
///
/// # Errors
/// [`ReportError`] if it cannot be drawn.
pub fn batch_curves(name: &str, curves: &[BatchCurve]) -> Result<[Artifact; 2], ReportError> {
    let panel = |title: &str, y_label: &str, of: fn(&(f64, f64, f64)) -> f64| Panel {
        title: title.to_owned(),
        x_label: "batch (sequences)".to_owned(),
        y_label: y_label.to_owned(),
        lines: curves
            .iter()
            .enumerate()
            .map(|(index, (label, points))| Line {
                label: label.clone(),
                colour: colour::EIGHT[index % colour::EIGHT.len()],
                stroke: [Stroke::Solid, Stroke::Dashed, Stroke::Dotted][index % 3],
                points: points.iter().map(|point| (point.0.log2(), of(point))).collect(),
            })
            .collect(),
        ..Panel::default()
    };
    let mut tpot = panel("Time between two tokens of a sequence", "TPOT (ms)", |point| point.2 / 1e6);
    let all = || tpot.lines.iter().flat_map(|line| &line.points).map(|(_, tpot)| *tpot);
    let (least, most) = all().fold((f64::MAX, f64::MIN), |(least, most), tpot| (least.min(tpot), most.max(tpot)));
    if is_logarithmic(least, most) {
        let decade = |tpot: f64| tpot.log10();
        tpot.y_decades = Some((10f64.powf(decade(least).floor()), 10f64.powf(decade(most).ceil())));
    }
    let panels = vec![panel("All sequences together", "tokens/s", |point| point.1), tpot];
    Chart { name: name.to_owned(), title: String::new(), panels }.artifacts_over_doublings()
}

fn rows(system: &MemorySystem, curves: &[Curve]) -> Result<Vec<u8>, ReportError> {
    let failed = |error: csv::Error| ReportError::format("curve.csv", error);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let columns = [
        "tier",
        "read_share",
        "load_percent",
        "offered_gb_per_s",
        "achieved_gb_per_s",
        "mean_ns",
        "p50_ns",
        "p90_ns",
        "p99_ns",
        "max_ns",
    ];
    writer.write_record(columns).map_err(failed)?;
    for curve in curves {
        for point in &curve.points {
            let Some(latency) = point.latency.distribution() else { continue };
            let numbers = [
                point.offered / 1e9,
                point.achieved / 1e9,
                latency.mean,
                latency.p50,
                latency.p90,
                latency.p99,
                latency.max,
            ];
            let mut row = vec![
                system.tiers()[curve.tier.index()].name.clone(),
                curve.read_share.to_string(),
                point.load.to_string(),
            ];
            row.extend(numbers.map(|number| format!("{number:.3}")));
            writer.write_record(&row).map_err(failed)?;
        }
    }
    writer.into_inner().map_err(|error| ReportError::format("curve.csv", error))
}
