//! The text of a picture, drawn letter by letter.
//!
//! A chart's text is short, in one font, and on top of everything else. The rasterizer could draw
//! it as paths, with the shaping of arbitrary scripts, in five times as many instructions. In
//! return, pairs of letters are not kerned ("To" is a little wider than in the SVG), combining
//! accents are not joined with their letters, and text is not clipped where shapes are.

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::roxmltree::{Document, Node};
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::str::FromStr;
use std::sync::LazyLock;
use svgtypes::Color;
use ttf_parser::{Face, GlyphId, OutlineBuilder};
use zeno::{Command, Mask, Origin, PathBuilder, Placement, Scratch, Vector};

/// DejaVu Sans 2.37 with its Latin, Greek and Cyrillic letters and symbols, so that text is the
/// same on every machine. Subset with `pyftsubset`; the licence is beside it.
static FONT: LazyLock<Face<'static>> = LazyLock::new(|| {
    Face::parse(include_bytes!("font/DejaVuSans.ttf"), 0).expect("the font that comes with tiersim is one")
});

/// A letter is drawn at the nearest quarter of a pixel, and a horizontal or vertical line of text
/// on whole pixels, so that most letters are drawn once and then copied.
const PHASES: f32 = 4.0;

/// The number of shades between paper and ink: with the other colours of a picture, mostly few
/// enough for a palette.
const SHADES: u8 = 15;

/// The nearest of the [`SHADES`].
fn shade(density: u8) -> u8 {
    let half = u16::from(u8::MAX) / 2;
    let shades = (u16::from(density) * u16::from(SHADES) + half) / u16::from(u8::MAX);
    shades as u8 * (u8::MAX / SHADES)
}

/// Draws all text of the picture `document` on `pixels`, of which there are `scale` for each of its
/// own.
///
/// # Errors
/// In words, what is wrong with it.
pub(super) fn draw(document: &Document<'_>, scale: f32, pixels: &mut Pixmap) -> Result<(), String> {
    let is_text = |node: &Node<'_, '_>| node.tag_name().name() == "text";
    document.descendants().filter(is_text).try_for_each(|node| {
        let label = Label::new(node, scale)?;
        LETTERS.with_borrow_mut(|letters| label.draw(letters, pixels));
        Ok(())
    })
}

/// How wide `text` is at that size, in pixels of the picture.
pub(super) fn width(text: &str, size: u32) -> f64 {
    glyphs(text).map(|glyph| f64::from(advance(glyph, size as f32))).sum()
}

/// How far the letter after `glyph` is from it.
fn advance(glyph: GlyphId, size: f32) -> f32 {
    f32::from(FONT.glyph_hor_advance(glyph).unwrap_or(0)) * scale_at(size)
}

/// Pixels of a unit of the font's own.
fn scale_at(size: f32) -> f32 {
    size / f32::from(FONT.units_per_em())
}

/// A line of text.
struct Label {
    text: String,
    size: f32,
    colour: [u8; 3],
    /// Where the start of its base line is, in pixels, and what a step along it and one down from
    /// it are.
    placed: Transform,
}

impl Label {
    fn new(node: Node<'_, '_>, scale: f32) -> Result<Self, String> {
        // As SVG has it, blanks of all kinds are one.
        let text = node.text().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        let size: f32 = number(node, "font-size")?.ok_or("text without a size")?;
        let mut placed = Transform::from_scale(scale, scale);
        let mut around: Vec<Node<'_, '_>> = node.ancestors().collect();
        around.reverse();
        for transform in around.iter().filter_map(|node| node.attribute("transform")) {
            let svgtypes::Transform { a, b, c, d, e, f } =
                svgtypes::Transform::from_str(transform).map_err(|error| format!("transform {transform}: {error}"))?;
            placed = placed.pre_concat(Transform::from_row(a as f32, b as f32, c as f32, d as f32, e as f32, f as f32));
        }
        let width: f32 = glyphs(&text).map(|glyph| advance(glyph, size)).sum();
        let before = match node.attribute("text-anchor") {
            Some("middle") => width / 2.0,
            Some("end") => width,
            _ => 0.0,
        };
        let (x, y) = (number(node, "x")?.unwrap_or(0.0), number(node, "y")?.unwrap_or(0.0));
        let fill = node.ancestors().find_map(|node| node.attribute("fill")).unwrap_or("black");
        let Color { red, green, blue, .. } = Color::from_str(fill).map_err(|error| format!("fill {fill}: {error}"))?;
        Ok(Self { text, size, colour: [red, green, blue], placed: placed.pre_translate(x - before, y) })
    }

    fn draw(&self, letters: &mut Letters, pixels: &mut Pixmap) {
        let Transform { sx, kx, ky, sy, .. } = self.placed;
        // A right angle is not quite one in floats.
        let phases = [sx, ky].map(|along| if along.abs() < 1e-6 { 1.0 } else { PHASES });
        let mut along = 0.0;
        for glyph in glyphs(&self.text) {
            let at = [self.placed.tx + sx * along, self.placed.ty + ky * along];
            along += advance(glyph, self.size);
            let [x, y] = [0, 1].map(|axis| (at[axis] * phases[axis]).round() / phases[axis]);
            let phase = [x - x.floor(), y - y.floor()];
            let key = (glyph, [self.size, sx, kx, ky, sy, phase[0], phase[1]].map(f32::to_bits));
            let Letters { scratch, known } = letters;
            let letter = known.entry(key).or_insert_with(|| {
                // In fonts y goes up.
                let turned = zeno::Transform { xx: sx, xy: -ky, yx: -kx, yy: sy, x: 0.0, y: 0.0 };
                Letter::new(glyph, self.size, turned, Vector::new(phase[0], -phase[1]), scratch)
            });
            blend(letter, (x.floor() as i32, y.floor() as i32), self.colour, pixels);
        }
    }
}

/// A letter as it is drawn: how dense its ink is, row by row from the top, and where that lies from
/// its place on the base line.
struct Letter {
    densities: Vec<u8>,
    placement: Placement,
}

impl Letter {
    fn new(glyph: GlyphId, size: f32, turned: zeno::Transform, phase: Vector, scratch: &mut Scratch) -> Self {
        let mut outline = Outline { commands: Vec::new(), scale: scale_at(size) };
        // A blank has none.
        let _ = FONT.outline_glyph(glyph, &mut outline);
        let mut mask = Mask::with_scratch(&outline.commands[..], scratch);
        // zeno places a mask from its bottom only if its size was asked for before.
        mask.origin(Origin::BottomLeft)
            .transform(Some(turned))
            .offset(phase)
            .render_offset(phase)
            .inspect(|_, _, _| ());
        let (mut densities, placement) = mask.render();
        densities.iter_mut().for_each(|density| *density = shade(*density));
        Self { densities, placement }
    }
}

/// The outline of a glyph at a size, as the font gives it curve by curve.
struct Outline {
    commands: Vec<Command>,
    scale: f32,
}

impl Outline {
    fn at(&self, x: f32, y: f32) -> Vector {
        Vector::new(x * self.scale, y * self.scale)
    }
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        let to = self.at(x, y);
        PathBuilder::move_to(&mut self.commands, to);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let to = self.at(x, y);
        PathBuilder::line_to(&mut self.commands, to);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let (control, to) = (self.at(x1, y1), self.at(x, y));
        PathBuilder::quad_to(&mut self.commands, control, to);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let (first, second, to) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        PathBuilder::curve_to(&mut self.commands, first, second, to);
    }

    fn close(&mut self) {
        PathBuilder::close(&mut self.commands);
    }
}

fn glyphs(text: &str) -> impl Iterator<Item = GlyphId> + '_ {
    // Control characters without a glyph, for line breaking and joining.
    let is_seen = |letter: &char| !matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}');
    text.chars().filter(is_seen).map(|letter| FONT.glyph_index(letter).unwrap_or_default())
}

fn number(node: Node<'_, '_>, attribute: &str) -> Result<Option<f32>, String> {
    let parse = |text: &str| text.parse().map_err(|_| format!("{attribute}=\"{text}\" is no number"));
    node.attribute(attribute).map(parse).transpose()
}

/// Blends `colour` into `pixels` with the coverage of `letter`, which is at `x` and `y`.
fn blend(letter: &Letter, (x, y): (i32, i32), colour: [u8; 3], pixels: &mut Pixmap) {
    let (width, height) = (pixels.width() as i32, pixels.height() as i32);
    let (left, top) = (x + letter.placement.left, y - letter.placement.top);
    let across = letter.placement.width.max(1) as usize;
    for (y, row) in (top..).zip(letter.densities.chunks_exact(across)) {
        for (x, &density) in (left..).zip(row) {
            if density > 0 && (0..width).contains(&x) && (0..height).contains(&y) {
                let first = 4 * (y as usize * width as usize + x as usize);
                for (below, above) in pixels.data_mut()[first..first + 3].iter_mut().zip(colour) {
                    let (density, mixed) = (u32::from(density), u32::from(above) * u32::from(density));
                    *below = ((mixed + u32::from(*below) * (255 - density) + 127) / 255) as u8;
                }
            }
        }
    }
}

/// The cache of drawn letters, by glyph, size, rotation and position within a pixel.
#[derive(Default)]
struct Letters {
    scratch: Scratch,
    known: FxHashMap<(GlyphId, [u32; 7]), Letter>,
}

thread_local! {
    static LETTERS: RefCell<Letters> = RefCell::default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use resvg::tiny_skia::Color as Paper;

    /// The picture of one text with these attributes: where its ink is, from left, top, right and
    /// bottom.
    fn ink(attributes: &str, text: &str) -> Result<[u32; 4], String> {
        let svg =
            format!(r#"<svg xmlns="http://www.w3.org/2000/svg" fill="black"><text {attributes}>{text}</text></svg>"#);
        let mut pixels = Pixmap::new(200, 200).unwrap();
        pixels.fill(Paper::WHITE);
        draw(&Document::parse(&svg).unwrap(), 2.0, &mut pixels)?;
        let inked = (0..).zip(pixels.pixels()).filter(|(_, pixel)| pixel.green() < 128);
        Ok(inked.fold([u32::MAX, u32::MAX, 0, 0], |[left, top, right, bottom], (index, _)| {
            let (x, y) = (index % 200, index / 200);
            [left.min(x), top.min(y), right.max(x), bottom.max(y)]
        }))
    }

    #[test]
    fn text_starts_is_centred_and_ends_where_it_says() {
        // H is 0.729 high and 0.752 wide, of which 0.1 to 0.65 is ink, as the font has it.
        assert_eq!(ink(r#"x="50" y="60" font-size="20""#, "H"), Ok([104, 91, 125, 119]));
        assert_eq!(ink(r#"x="50" y="60" font-size="20" text-anchor="end""#, "H"), Ok([74, 91, 95, 119]));
        let [left, top, right, bottom] = ink(r#"x="50" y="60" font-size="20" text-anchor="middle""#, "HHH").unwrap();
        assert_eq!((top, bottom), (91, 119));
        assert!((left + right).abs_diff(199) <= 1, "{left} to {right} around 100");
    }

    #[test]
    fn text_is_turned_around_its_place_and_moved_with_its_group() {
        let level = ink(r#"x="50" y="50" font-size="20""#, "HI.").unwrap();
        let [left, top, right, bottom] =
            ink(r#"x="50" y="50" font-size="20" transform="rotate(-90,50,50)""#, "HI.").unwrap();
        // What was to the right is above.
        assert_eq!([199 - bottom, left, 199 - top, right], level);
        let moved = ink(r#"x="45" y="40" font-size="20" transform="translate(5 10)""#, "HI.");
        assert_eq!(moved, Ok(level));
    }

    #[test]
    fn what_is_cut_off_or_has_no_ink_is_no_matter_and_what_is_no_number_is_said() {
        let size = r#"x="50" y="60" font-size="20""#;
        assert_eq!(ink(size, "H\n\tH "), ink(size, "H H"));
        assert_eq!(ink(size, "H\u{200b}\u{fe0f}H"), ink(size, "HH"));
        assert_eq!(ink(r#"x="50" y="60" font-size="20""#, " "), Ok([u32::MAX, u32::MAX, 0, 0]));
        assert!(ink(r#"x="98" y="2" font-size="20""#, "HHH").is_ok());
        assert_eq!(ink(r#"x="left" y="60" font-size="20""#, "H"), Err("x=\"left\" is no number".to_owned()));
        assert!(ink(r#"x="1" y="60" font-size="20" transform="spin(3)""#, "H").unwrap_err().contains("spin"));
    }

    #[test]
    fn shades_go_from_paper_to_ink() {
        assert_eq!([0, 8, 9, 127, 128, 254, 255].map(shade), [0, 0, 17, 119, 136, 255, 255]);
    }
}
