//! Plots of many runs, as data for the page's script: the same figure in several panels, and a
//! cloud of points.

use super::plots::{COLOURS, Line, Number, Plot, Plots, numbers};
use crate::report::grids::{LinesPanel, is_logarithmic};
use crate::report::scale::cut;

/// A figure over one axis, a panel for each setting. All panels have the same axes, scale and
/// legend.
#[derive(Clone, Debug)]
pub struct Facets {
    /// The label of the x axis.
    pub x_label: String,
    /// The label of the y axis, whose scale begins at 0.
    pub y_label: String,
    /// The panels. Lines of the same label look the same in all.
    pub panels: Vec<LinesPanel>,
}

/// Points over two measures, with their Pareto front.
#[derive(Clone, Debug)]
pub struct Cloud {
    /// The label of the x axis.
    pub x_label: String,
    /// The label of the y axis.
    pub y_label: String,
    /// Each point's name, for readers that point at it, and its place.
    pub points: Vec<(String, f64, f64)>,
    /// The corners of the front, from the left; may be empty.
    pub front: Vec<(f64, f64)>,
}

impl Facets {
    pub(super) fn plots(&self) -> Plots {
        let mut labels: Vec<&str> = Vec::new();
        for (label, _) in self.panels.iter().flat_map(|panel| &panel.lines) {
            if !labels.contains(&label.as_str()) {
                labels.push(label);
            }
        }
        let all: Vec<&[(f64, f64)]> =
            self.panels.iter().flat_map(|panel| &panel.lines).map(|(_, points)| &points[..]).collect();
        let ends = all
            .iter()
            .copied()
            .flatten()
            .fold((f64::MAX, f64::MIN), |(least, most), (x, _)| (least.min(*x), most.max(*x)));
        let cut = cut(&all);
        let note = cut.map_or_else(String::new, |cut| {
            let greatest = format!("at {} {}", self.x_label, rounded(cut.x));
            cut.note(&greatest, &format!("{} {}", self.y_label, rounded(cut.y))) + " “Whole” shows all."
        });
        let line = |(label, points): &(String, Vec<(f64, f64)>)| {
            let index = labels.iter().position(|known| known == label).unwrap_or(0);
            Line::new(label.clone(), (Some(index % COLOURS), index / COLOURS), numbers(points))
        };
        let plot = |(index, panel): (usize, &LinesPanel)| Plot {
            title: panel.title.clone(),
            x: self.x_label.clone(),
            y: self.y_label.clone(),
            log: is_logarithmic(ends.0, ends.1),
            snap: true,
            y_to: cut.map(|cut| Number(cut.end)),
            note: if index == 0 { note.clone() } else { String::new() },
            lines: panel.lines.iter().map(line).collect(),
            ..Plot::new(format!("facet{index}"))
        };
        Plots { shared: true, ..Plots::of(self.panels.iter().enumerate().map(plot).collect()) }
    }
}

impl Cloud {
    pub(super) fn plots(&self) -> Plots {
        let places: Vec<(f64, f64)> = self.points.iter().map(|(_, x, y)| (*x, *y)).collect();
        let xs = || places.iter().map(|(x, _)| *x);
        let mut points = Line::new("all points".to_owned(), (Some(5), 0), numbers(&places));
        points.names = self.points.iter().map(|(name, ..)| name.clone()).collect();
        let mut lines = vec![points];
        if !self.front.is_empty() {
            // Steps, not slopes: between two points, a larger first measure gains nothing until the
            // next point is reached.
            let mut steps: Vec<(f64, f64)> = Vec::new();
            for (x, y) in &self.front {
                steps.extend(steps.last().map(|(_, before)| (*x, *before)));
                steps.push((*x, *y));
            }
            lines.push(Line::new("Pareto front".to_owned(), (Some(0), 0), numbers(&steps)));
        }
        let plot = Plot {
            title: format!("{} against {}", self.y_label, self.x_label),
            x: self.x_label.clone(),
            y: self.y_label.clone(),
            log: is_logarithmic(xs().fold(f64::MAX, f64::min), xs().fold(f64::MIN, f64::max)),
            // A front shows absolute values, so its scale begins at 0; else the relative positions
            // of the points matter.
            fit: self.front.is_empty(),
            lines,
            ..Plot::new("cloud".to_owned())
        };
        Plots::of(vec![plot])
    }
}

fn rounded(value: f64) -> String {
    format!("{}", (value * 1e4).round() / 1e4)
}
