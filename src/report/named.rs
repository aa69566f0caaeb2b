//! Points with names: every point is named, and no name lies on another, on a point, or on the line
//! to another's point.
//!
//! The names of points that crowd together stand in a list beside them, in the order of the points,
//! with a line to each. Any other name stands at the nearest free place around its point, with a
//! line where it is not beside it. Names that find no free place stand in a column to the right of
//! the plot.

use super::artifact::{Artifact, ReportError};
use super::canvas::{Anchor, Canvas, TEXT};
use super::chart::{TITLE_WIDTH, colour};
use super::labels::shortened;
use super::lettering::width;
use kuva::plot::ScatterPlot;
use kuva::render::layout::{ComputedLayout, Layout};
use kuva::render::plots::Plot;
use kuva::render::render::render_multiple;

/// Points with names.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// The name of the files, without an ending.
    pub name: String,
    pub title: String,
    pub x_label: String,
    pub y_label: String,
    pub points: Vec<(String, f64, f64)>,
}

/// The most characters of a name.
const CHARACTERS: usize = 64;
const RADIUS: f64 = 3.5;
/// The distances at which a name is tried, and the number of directions.
const DISTANCES: [f64; 20] = [
    7.0, 14.0, 22.0, 32.0, 44.0, 58.0, 74.0, 92.0, 114.0, 140.0, 170.0, 205.0, 240.0, 280.0, 320.0, 360.0, 410.0,
    460.0, 520.0, 580.0,
];
const DIRECTIONS: usize = 48;
/// A name so near needs no line to its point.
const BESIDE: f64 = 7.0;
/// The height of a name, and of a line of the column.
const TALL: f64 = 14.0;
const LEADER: &str = "#777777";

impl Named {
    /// The picture; its axes begin where the points do.
    pub fn artifacts(self) -> Result<[Artifact; 2], ReportError> {
        let name = self.name.clone();
        self.canvas().artifacts(&name)
    }

    fn canvas(self) -> Canvas {
        let ends = |of: fn(&(String, f64, f64)) -> f64| {
            let values = self.points.iter().map(of);
            let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), at| (least.min(at), most.max(at)));
            let margin = 0.08 * (most - least).max(1e-3 * most.abs());
            (least - margin, most + margin)
        };
        let (x, y) = (ends(|point| point.1), ends(|point| point.2));
        let plot = ScatterPlot::new()
            .with_data(self.points.iter().map(|(_, x, y)| (*x, *y)))
            .with_color(colour::BLUE)
            .with_size(RADIUS);
        let plots = vec![Plot::Scatter(plot)];
        let layout = Layout::auto_from_plots(&plots)
            .with_x_axis_min(x.0)
            .with_x_axis_max(x.1)
            .with_y_axis_min(y.0)
            .with_y_axis_max(y.1)
            .with_x_label(self.x_label)
            .with_y_label(self.y_label)
            .with_title(self.title)
            .with_title_wrap(TITLE_WIDTH)
            .with_width(900.0)
            .with_height(560.0);
        let axes = ComputedLayout::from_layout(&layout);
        let within = Area {
            left: axes.margin_left + 2.0,
            top: axes.margin_top + 2.0,
            right: axes.width - axes.margin_right - 2.0,
            bottom: axes.height - axes.margin_bottom - 2.0,
        };
        let labels: Vec<String> = self.points.iter().map(|(label, ..)| label.clone()).collect();
        let labels = shortened(&labels, CHARACTERS);
        let places: Vec<(f64, f64)> = self.points.iter().map(|(_, x, y)| (axes.map_x(*x), axes.map_y(*y))).collect();
        let widths: Vec<f64> = labels.iter().map(|label| width(label, TEXT)).collect();
        let mut canvas = Canvas::over(render_multiple(plots, layout));
        let boxes = Layouter::new(&places, &widths, within).placed(canvas.width());
        let most = |side: fn(&Area) -> f64| boxes.iter().map(|it| side(&it.area)).fold(0.0, f64::max);
        canvas.grow(most(|it| it.right) + 12.0, most(|it| it.bottom) + 12.0);
        for (place, at) in places.iter().zip(&boxes) {
            if distance(*place, at.end) > BESIDE + 1.0 {
                canvas.line(*place, at.end, LEADER, 0.75, None);
            }
        }
        for (label, Spot { area: at, .. }) in labels.iter().zip(&boxes) {
            canvas.text((at.left + MARGIN, at.bottom - 3.5), Anchor::Start, TEXT, label);
        }
        canvas
    }
}

/// Where a name stands, and where the line from its point ends.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spot {
    area: Area,
    end: (f64, f64),
}

/// The distance within which points form a crowd, and the size from which a crowd has a list of
/// names; so do two points at one position.
const CROWDED: f64 = 40.0;
const CROWD: usize = 4;
/// The margin around a name.
const MARGIN: f64 = 2.0;

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Area {
    fn meets(&self, other: &Self) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }

    fn is_within(&self, other: &Self) -> bool {
        self.left >= other.left && self.right <= other.right && self.top >= other.top && self.bottom <= other.bottom
    }

    /// The place of the box that is nearest to `at`.
    fn nearest(&self, at: (f64, f64)) -> (f64, f64) {
        (at.0.clamp(self.left, self.right), at.1.clamp(self.top, self.bottom))
    }

    /// Whether the straight line from one place to another meets the box (Liang and Barsky).
    fn is_crossed(&self, from: (f64, f64), to: (f64, f64)) -> bool {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let (mut enter, mut leave) = (0.0f64, 1.0f64);
        for (towards, room) in
            [(-dx, from.0 - self.left), (dx, self.right - from.0), (-dy, from.1 - self.top), (dy, self.bottom - from.1)]
        {
            if towards == 0.0 {
                if room < 0.0 {
                    return false;
                }
            } else if towards < 0.0 {
                enter = enter.max(room / towards);
            } else {
                leave = leave.min(room / towards);
            }
        }
        enter < leave
    }
}

fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
    (a.0 - b.0).hypot(a.1 - b.1)
}

/// Whether two straight lines between places cross.
fn cross(a: (f64, f64), b: (f64, f64), c: (f64, f64), d: (f64, f64)) -> bool {
    let side = |p: (f64, f64), q: (f64, f64), r: (f64, f64)| (q.0 - p.0) * (r.1 - p.1) - (q.1 - p.1) * (r.0 - p.0);
    side(a, b, c) * side(a, b, d) < 0.0 && side(c, d, a) * side(c, d, b) < 0.0
}

/// The cost of a crossing of two lines, in pixels of distance between a point and its name.
const CROSSING: f64 = 120.0;

/// Finds places for names, one after another.
struct Layouter<'a> {
    places: &'a [(f64, f64)],
    widths: &'a [f64],
    within: Area,
    boxes: Vec<Option<Spot>>,
}

impl<'a> Layouter<'a> {
    fn new(places: &'a [(f64, f64)], widths: &'a [f64], within: Area) -> Self {
        Self { places, widths, within, boxes: vec![None; places.len()] }
    }

    /// A box for each name; those that find no place among the points are in a column that begins
    /// at `column`. O(n^2) for n points.
    fn placed(mut self, column: f64) -> Vec<Spot> {
        let mut crowds = self.crowds();
        crowds.sort_by_key(|crowd| std::cmp::Reverse(crowd.len()));
        for crowd in crowds {
            self.place_list(crowd);
        }
        // Points with the most neighbours first, as they have the fewest free places.
        let neighbours = |index: &usize| {
            let place = self.places[*index];
            self.places.iter().filter(|other| distance(**other, place) < 60.0).count()
        };
        let mut order: Vec<usize> = (0..self.places.len()).filter(|index| self.boxes[*index].is_none()).collect();
        order.sort_by_cached_key(|index| std::cmp::Reverse(neighbours(index)));
        for index in order {
            self.boxes[index] = self.free_place(index);
        }
        let mut left: Vec<usize> = (0..self.places.len()).filter(|index| self.boxes[*index].is_none()).collect();
        // From the top, so that their lines do not cross.
        left.sort_by(|a, b| self.places[*a].1.total_cmp(&self.places[*b].1));
        for (row, index) in left.into_iter().enumerate() {
            let top = self.within.top + (TALL + MARGIN) * row as f64;
            let right = column + self.widths[index] + 2.0 * MARGIN;
            let area = Area { left: column, top, right, bottom: top + TALL };
            self.boxes[index] = Some(Spot { area, end: (column, top + TALL / 2.0) });
        }
        self.boxes.into_iter().flatten().collect()
    }

    /// Points that crowd together, directly or through others.
    fn crowds(&self) -> Vec<Vec<usize>> {
        let mut left: Vec<usize> = (0..self.places.len()).collect();
        let mut crowds = Vec::new();
        while let Some(first) = left.pop() {
            let mut crowd = vec![first];
            let mut next = 0;
            while let Some(member) = crowd.get(next).copied() {
                next += 1;
                let near = |other: &usize| distance(self.places[*other], self.places[member]) < CROWDED;
                let (joining, others): (Vec<usize>, Vec<usize>) = left.iter().partition(|other| near(other));
                crowd.extend(joining);
                left = others;
            }
            let at_one_place = crowd.iter().all(|member| distance(self.places[*member], self.places[first]) < RADIUS);
            if crowd.len() >= CROWD || (crowd.len() > 1 && at_one_place) {
                crowds.push(crowd);
            }
        }
        crowds
    }

    /// Puts the names of a crowd into a list beside it, if there is room for one.
    fn place_list(&mut self, mut crowd: Vec<usize>) {
        // In the order of the points from the top, and of those at one height the nearest to the
        // list first or last, so that few lines cross.
        crowd.sort_by(|a, b| {
            let (a, b) = (self.places[*a], self.places[*b]);
            a.1.total_cmp(&b.1).then(b.0.total_cmp(&a.0))
        });
        let bounds = crowd.iter().map(|index| self.places[*index]).fold((f64::MAX, f64::MIN, 0.0), |sum, at| {
            (at.0.min(sum.0), at.0.max(sum.1), sum.2 + at.1 / crowd.len() as f64)
        });
        let (first, last, middle) = bounds;
        let wide = crowd.iter().map(|index| self.widths[*index]).fold(0.0, f64::max) + 2.0 * MARGIN;
        let tall = TALL * crowd.len() as f64;
        let mut best: Option<(f64, Area, bool)> = None;
        for away in (1..30).map(|step| 15.0 * f64::from(step)) {
            for shift in (-30..=30).map(|step| 15.0 * f64::from(step)) {
                for right in [true, false] {
                    let left = if right { last + away + 10.0 } else { first - away - 10.0 - wide };
                    let top = middle - tall / 2.0 + shift;
                    let area = Area { left, top, right: left + wide, bottom: top + tall };
                    let cost = away + shift.abs() + if right { 0.0 } else { 20.0 };
                    if best.as_ref().is_none_or(|(least, ..)| cost < *least) && self.is_free(None, &area) {
                        best = Some((cost, area, right));
                    }
                }
            }
        }
        let Some((_, area, right)) = best else { return };
        for (row, index) in crowd.into_iter().enumerate() {
            let top = area.top + TALL * row as f64;
            let across = self.widths[index] + 2.0 * MARGIN;
            let left = if right { area.left } else { area.right - across };
            let end = if right { left } else { area.right };
            let area = Area { left, top, right: left + across, bottom: top + TALL };
            self.boxes[index] = Some(Spot { area, end: (end, top + TALL / 2.0) });
        }
    }

    fn free_place(&self, index: usize) -> Option<Spot> {
        let (x, y) = self.places[index];
        let (wide, tall) = (self.widths[index] + 2.0 * MARGIN, TALL);
        let candidates = DISTANCES.iter().flat_map(|away| {
            (0..DIRECTIONS).map(move |direction| {
                let turn = std::f64::consts::TAU * direction as f64 / DIRECTIONS as f64;
                let (dx, dy) = (turn.cos(), turn.sin());
                // The nearest place of the box is so far away, in that direction.
                let (at_x, at_y) = (x + away * dx, y + away * dy);
                let left = at_x - wide * (1.0 - dx) / 2.0;
                let top = at_y - tall * (1.0 - dy) / 2.0;
                Area { left, top, right: left + wide, bottom: top + tall }
            })
        });
        let free = candidates.into_iter().filter(|candidate| self.is_free(Some(index), candidate));
        // Lines that cross are hard to follow: a name farther away is better, if not by much.
        let cost = |candidate: &Area| {
            let end = candidate.nearest((x, y));
            let crossed = |(other, taken): (usize, &Option<Spot>)| {
                let theirs = self.places[other];
                taken.is_some_and(|taken| theirs != (x, y) && cross((x, y), end, theirs, taken.end))
            };
            let crossings = self.boxes.iter().enumerate().filter(|one| crossed(*one)).count();
            distance((x, y), end) + CROSSING * crossings as f64
        };
        let best = free.min_by(|a, b| cost(a).total_cmp(&cost(b)))?;
        Some(Spot { area: best, end: best.nearest((x, y)) })
    }

    /// Whether a name, or a list of names, may stand there: on no point, on no other name, and not
    /// on the line to another's point; nor may the line from its own point, where it has one, lead
    /// over a name.
    fn is_free(&self, index: Option<usize>, candidate: &Area) -> bool {
        let around = |at: &(f64, f64)| {
            let room = RADIUS + 0.5;
            Area { left: at.0 - room, top: at.1 - room, right: at.0 + room, bottom: at.1 + room }
        };
        let line = index.map(|index| (self.places[index], candidate.nearest(self.places[index])));
        let in_the_way = |(other, taken): (usize, &Spot)| {
            taken.area.meets(candidate)
                || line.is_some_and(|(from, to)| taken.area.is_crossed(from, to))
                || candidate.is_crossed(self.places[other], taken.end)
        };
        let taken = self.boxes.iter().enumerate().filter_map(|(other, taken)| Some((other, taken.as_ref()?)));
        candidate.is_within(&self.within)
            && !self.places.iter().any(|other| candidate.meets(&around(other)))
            && !taken.into_iter().any(in_the_way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(points: Vec<(String, f64, f64)>) -> Named {
        let text = String::new;
        Named { name: "points".to_owned(), title: text(), x_label: text(), y_label: text(), points }
    }

    /// Every name is there, whole, and within the picture; and none lies on another.
    fn check(points: Vec<(String, f64, f64)>) {
        let names: Vec<String> = points.iter().map(|(name, ..)| name.clone()).collect();
        let canvas = named(points).canvas();
        let boxes: Vec<(Area, &str)> = canvas
            .texts()
            .filter(|(_, _, text)| names.iter().any(|name| name == text))
            .map(|(x, y, text)| (Area { left: x, top: y - 9.0, right: x + width(text, TEXT), bottom: y + 2.5 }, text))
            .collect();
        assert_eq!(boxes.len(), names.len());
        let picture = Area { left: 0.0, top: 0.0, right: canvas.width(), bottom: canvas.height() };
        for (index, (one, name)) in boxes.iter().enumerate() {
            assert!(one.is_within(&picture), "{name}");
            for (other, theirs) in &boxes[..index] {
                assert!(!one.meets(other), "{name} on {theirs}");
            }
        }
    }

    #[test]
    fn many_points_at_one_place_are_all_named() {
        check((0..60).map(|index| (format!("DensityFirst+PreferHbm+Strategy{index}"), 0.5, 10.0)).collect());
    }

    #[test]
    fn a_single_point_is_named() {
        check(vec![("alone".to_owned(), 0.0, 0.0)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn names_never_meet(places in prop::collection::vec((0u8..12, 0u8..12, 3usize..40), 1..45)) {
            let named = |(index, (x, y, long)): (usize, &(u8, u8, usize))| {
                // Near one another, as strategies are.
                let at = |place: u8| f64::from(place % 4) + f64::from(place) * 0.02;
                (format!("{index}{}", "n".repeat(*long)), at(*x), at(*y))
            };
            check(places.iter().enumerate().map(named).collect());
        }
    }
}
