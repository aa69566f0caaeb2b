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

    /// The picture as `NAME.svg` and `NAME.png`.
    pub fn artifacts(self, name: &str) -> Result<[Artifact; 2], ReportError> {
        pictures(name, self.scene)
    }
}
