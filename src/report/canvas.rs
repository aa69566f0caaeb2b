//! A canvas for pictures that the plotting crate has no plot for, and for additions to its plots:
//! lines, boxes and text at positions in pixels.

use super::artifact::{Artifact, ReportError};
use super::scene::pictures;
use kuva::render::render::{PathData, Primitive, Scene, TextAnchor};

/// The size of the text of a picture, in pixels, as the plotting crate has it.
pub(super) const TEXT: u32 = 12;
/// The size of a picture's title.
pub(super) const TITLE: u32 = 18;

/// On which side of its place a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture that is being drawn.
pub(super) struct Canvas {
    scene: Scene,
}

impl Canvas {
    /// An empty picture of that size in pixels.
    pub fn new(width: f64, height: f64) -> Self {
        let mut scene = Scene::new(width, height);
        scene.font_family = Some("DejaVu Sans, Verdana, Liberation Sans, Arial, sans-serif".to_owned());
        scene.text_color = Some("black".to_owned());
        Self { scene }
    }

    /// A plot of the crate, to be drawn over.
    pub fn over(scene: Scene) -> Self {
        Self { scene }
    }

    pub fn width(&self) -> f64 {
        self.scene.width
    }

    pub fn height(&self) -> f64 {
        self.scene.height
    }

    /// Makes the picture larger, to the right and below.
    pub fn grow(&mut self, width: f64, height: f64) {
        self.scene.width = self.scene.width.max(width);
        self.scene.height = self.scene.height.max(height);
    }

    /// Text whose base line is at `y`.
    pub fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, size: u32, text: &str) {
        let anchor = match anchor {
            Anchor::Start => TextAnchor::Start,
            Anchor::Middle => TextAnchor::Middle,
            Anchor::End => TextAnchor::End,
        };
        let content = text.to_owned();
        self.scene.add(Primitive::Text { x, y, content, size, anchor, rotate: None, bold: false, color: None });
    }

    /// Text that reads upwards, around the middle of its base line.
    pub fn upward_text(&mut self, (x, y): (f64, f64), anchor: Anchor, size: u32, text: &str) {
        self.text((x, y), anchor, size, text);
        if let Some(Primitive::Text { rotate, .. }) = self.scene.elements.last_mut() {
            *rotate = Some(-90.0);
        }
    }

    /// Diagonal lines over a box, from its upper left corner: a fill that needs no colour.
    pub fn hatch(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str) {
        const APART: f64 = 9.0;
        let mut d = String::new();
        let mut along = APART / 2.0;
        while along < width + height {
            // Where the diagonal x + y = along enters the box and leaves it.
            let (from, to) = ((along - height).max(0.0), along.min(width));
            d += &format!("M {:.2} {:.2} L {:.2} {:.2} ", x + from, y + along - from, x + to, y + along - to);
            along += APART;
        }
        self.scene.add(Primitive::Path(Box::new(PathData {
            d: d.trim_end().to_owned(),
            fill: None,
            stroke: colour.into(),
            stroke_width: 1.5,
            opacity: None,
            stroke_dasharray: None,
        })));
    }

    /// A small triangle in the upper right corner of a box, whose corner is given.
    pub fn corner(&mut self, (x, y): (f64, f64), colour: &str) {
        const SIDE: f64 = 8.0;
        self.scene.add(Primitive::Path(Box::new(PathData {
            d: format!("M {:.2} {y:.2} L {x:.2} {y:.2} L {x:.2} {:.2} Z", x - SIDE, y + SIDE),
            fill: Some(colour.into()),
            stroke: "none".into(),
            stroke_width: 0.0,
            opacity: None,
            stroke_dasharray: None,
        })));
    }

    /// A straight line; `dashes` is an SVG dash pattern.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64, dashes: Option<&str>) {
        self.scene.add(Primitive::Line {
            x1: from.0,
            y1: from.1,
            x2: to.0,
            y2: to.1,
            stroke: colour.into(),
            stroke_width: width,
            stroke_dasharray: dashes.map(str::to_owned),
        });
    }

    /// A filled box, from its upper left corner.
    pub fn fill(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str) {
        self.scene.add(Primitive::Rect {
            x,
            y,
            width,
            height,
            fill: colour.into(),
            stroke: None,
            stroke_width: None,
            opacity: None,
        });
    }

    /// A small mark around a point: a filled square, a cross or a plus; more begin again.
    pub fn mark(&mut self, (x, y): (f64, f64), colour: &str, shape: usize) {
        const HALF: f64 = 3.5;
        match shape % 3 {
            0 => self.fill((x - HALF, y - HALF), (2.0 * HALF, 2.0 * HALF), colour),
            1 => {
                self.line((x - HALF, y - HALF), (x + HALF, y + HALF), colour, 2.0, None);
                self.line((x - HALF, y + HALF), (x + HALF, y - HALF), colour, 2.0, None);
            }
            _ => {
                self.line((x - HALF - 1.0, y), (x + HALF + 1.0, y), colour, 2.0, None);
                self.line((x, y - HALF - 1.0), (x, y + HALF + 1.0), colour, 2.0, None);
            }
        }
    }

    /// Filled polygons under everything else, the first at the bottom: their corners and colour.
    pub fn polygons_below<const N: usize>(&mut self, polygons: &[([(f64, f64); N], &str)]) {
        let path = |(corners, colour): &([(f64, f64); N], &str)| {
            let places: Vec<String> = corners.iter().map(|(x, y)| format!("{x:.2} {y:.2}")).collect();
            Primitive::Path(Box::new(PathData {
                d: format!("M {} Z", places.join(" L ")),
                fill: Some((*colour).into()),
                stroke: "none".into(),
                stroke_width: 0.0,
                opacity: None,
                stroke_dasharray: None,
            }))
        };
        self.scene.elements.splice(0..0, polygons.iter().map(path));
    }

    /// A box of white with a black edge.
    pub fn outline(&mut self, (x, y): (f64, f64), (width, height): (f64, f64)) {
        self.scene.add(Primitive::Rect {
            x,
            y,
            width,
            height,
            fill: "#ffffff".into(),
            stroke: Some("#000000".into()),
            stroke_width: Some(1.0),
            opacity: None,
        });
    }

    /// Every level text: its place and itself.
    #[cfg(test)]
    pub fn texts(&self) -> impl Iterator<Item = (f64, f64, &str)> {
        self.scene.elements.iter().filter_map(|element| match element {
            Primitive::Text { x, y, content, rotate: None, .. } => Some((*x, *y, content.as_str())),
            _ => None,
        })
    }

    /// Every text, level or upwards, as a box: left, top, right, bottom, and itself.
    #[cfg(test)]
    pub fn text_boxes(&self) -> Vec<([f64; 4], &str)> {
        fn boxed(element: &Primitive) -> Option<([f64; 4], &str)> {
            let Primitive::Text { x, y, content, size, anchor, rotate, .. } = element else { return None };
            let wide = super::lettering::width(content, *size);
            let before = match anchor {
                TextAnchor::Start => 0.0,
                TextAnchor::Middle => wide / 2.0,
                TextAnchor::End => wide,
            };
            // Capitals and parts below the base line, of their size.
            let (above, below) = (0.73 * f64::from(*size), 0.2 * f64::from(*size));
            let corners = match rotate {
                None => [x - before, y - above, x - before + wide, y + below],
                Some(_) => [x - above, y + before - wide, x + below, y + before],
            };
            Some((corners, content.as_str()))
        }
        self.scene.elements.iter().filter_map(boxed).collect()
    }

    /// The colour of the last box that was filled over that place.
    #[cfg(test)]
    pub fn filled_at(&self, (at, down): (f64, f64)) -> Option<String> {
        let covers = |element: &&Primitive| match element {
            Primitive::Rect { x, y, width, height, .. } => {
                (*x..x + width).contains(&at) && (*y..y + height).contains(&down)
            }
            _ => false,
        };
        let colour = |element: &Primitive| match element {
            Primitive::Rect { fill, .. } => Some(fill.to_svg_string()),
            _ => None,
        };
        self.scene.elements.iter().rfind(covers).and_then(colour)
    }

    /// The picture as `NAME.svg` and `NAME.png`.
    pub fn artifacts(self, name: &str) -> Result<[Artifact; 2], ReportError> {
        pictures(name, self.scene)
    }
}
