//! The shapes of a picture. Most shapes of a chart are axis-aligned: its grid, its axes and their
//! ticks, boxes and fields. They are filled as rectangles, in a third of the time that drawing them
//! as paths takes; the rasterizer draws everything else.

use resvg::tiny_skia::{Color, Paint as Ink, PathSegment, PixmapMut, Point, Rect, Shader, Transform};
use resvg::usvg::{Group, LineCap, Node, Opacity, Paint, Path};

/// Draws what is in `group`, from the lowest to the highest.
pub(super) fn draw(group: &Group, transform: Transform, pixels: &mut PixmapMut<'_>) {
    for node in group.children() {
        let upright = match node {
            Node::Path(path) => upright(path, transform),
            _ => None,
        };
        match (node, upright) {
            (Node::Group(group), _) if !group.should_isolate() => {
                draw(group, transform.pre_concat(group.transform()), pixels);
            }
            (_, Some((rect, colour))) => {
                pixels.fill_rect(rect, &ink(colour), Transform::identity(), None);
            }
            (Node::Path(path), _) if stroke(path, transform, pixels).is_some() => {}
            _ => {
                // It is drawn from its own corner on.
                if let Some(bounds) = node.abs_layer_bounding_box() {
                    resvg::render_node(node, transform.pre_translate(bounds.x(), bounds.y()), pixels);
                }
            }
        }
    }
}

/// Draws `path` if it is a line of one colour: the rasterizer does not draw a single node without
/// height.
fn stroke(path: &Path, transform: Transform, pixels: &mut PixmapMut<'_>) -> Option<()> {
    let (stroke, bounds) = (path.stroke()?, path.data().bounds());
    let is_filled = path.fill().is_some() && bounds.width() > 0.0 && bounds.height() > 0.0;
    let colour = colour(stroke.paint(), stroke.opacity())?;
    if is_filled || !path.is_visible() {
        return None;
    }
    pixels.stroke_path(path.data(), &ink(colour), &stroke.to_tiny_skia(), transform, None);
    Some(())
}

/// The rectangle of pixels that `path` covers, and its colour, if it is only that.
fn upright(path: &Path, transform: Transform) -> Option<(Rect, Color)> {
    if !path.is_visible() || transform.has_skew() {
        return None;
    }
    let points = corners(path)?;
    let bounds = path.data().bounds();
    let (mut left, mut top, mut right, mut bottom) = (bounds.left(), bounds.top(), bounds.right(), bounds.bottom());
    let (paint, opacity) = match (path.stroke(), path.fill(), points) {
        (Some(stroke), _, 2) if stroke.dasharray().is_none() && stroke.linecap() == LineCap::Butt => {
            let half = stroke.width().get() / 2.0;
            if left == right {
                (left, right) = (left - half, right + half);
            } else {
                (top, bottom) = (top - half, bottom + half);
            }
            (stroke.paint(), stroke.opacity())
        }
        (None, Some(fill), 4) => (fill.paint(), fill.opacity()),
        _ => return None,
    };
    let mut ends = [Point::from_xy(left, top), Point::from_xy(right, bottom)];
    transform.map_points(&mut ends);
    // To a quarter of a pixel, as the rasterizer does: fewer shades compress better.
    let [start, end] = ends.map(|end| Point::from_xy((end.x * 4.0).round() / 4.0, (end.y * 4.0).round() / 4.0));
    Some((Rect::from_ltrb(start.x, start.y, end.x, end.y)?, colour(paint, opacity)?))
}

/// How many corners `path` has, if it is a line or a rectangle that stands upright: 2 or 4.
fn corners(path: &Path) -> Option<usize> {
    let mut corners = Vec::with_capacity(4);
    for segment in path.data().segments() {
        match segment {
            PathSegment::MoveTo(point) if corners.is_empty() => corners.push(point),
            PathSegment::LineTo(point) if corners.len() < 4 => corners.push(point),
            PathSegment::Close => {}
            _ => return None,
        }
    }
    let is_upright = |a: &Point, b: &Point| (a.x == b.x) != (a.y == b.y);
    let turns = |three: &[Point]| (three[0].x == three[1].x) != (three[1].x == three[2].x);
    let around = corners.iter().zip(corners.iter().cycle().skip(1));
    let all = around.into_iter().all(|(a, b)| is_upright(a, b)) && corners.windows(3).all(turns);
    (all && matches!(corners.len(), 2 | 4)).then_some(corners.len())
}

fn ink(colour: Color) -> Ink<'static> {
    Ink { shader: Shader::SolidColor(colour), anti_alias: true, ..Ink::default() }
}

fn colour(paint: &Paint, opacity: Opacity) -> Option<Color> {
    match paint {
        Paint::Color(colour) => {
            let mut colour = Color::from_rgba8(colour.red, colour.green, colour.blue, u8::MAX);
            colour.set_alpha(opacity.get());
            Some(colour)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use resvg::tiny_skia::Pixmap;
    use resvg::usvg::{Options, Tree};

    /// Lines, level, upright, slanted and dashed, and boxes, filled or not, some in a group that is
    /// moved and some cut off.
    fn shape() -> impl Strategy<Value = String> {
        let at = || (0u32..600).prop_map(|tenths| f64::from(tenths) / 10.0);
        (0u8..7, at(), at(), at(), at()).prop_map(|(kind, x, y, u, v)| match kind {
            0 => format!(r#"<line x1="{x}" y1="{y}" x2="{u}" y2="{y}" stroke="black"/>"#),
            1 => format!(r##"<line x1="{x}" y1="{y}" x2="{x}" y2="{v}" stroke="#cccccc" stroke-width="2"/>"##),
            2 => format!(r#"<path d="M {x} {y} L {u} {v} L {v} {x}" stroke="blue" stroke-width="2" fill="none"/>"#),
            3 => format!(r#"<path d="M {x} {y} L {u} {y}" stroke="red" stroke-width="2" stroke-dasharray="2 4" fill="none"/>"#),
            4 => format!(r#"<rect x="{x}" y="{y}" width="{u}" height="{v}" fill="green" fill-opacity="0.5"/>"#),
            5 => format!(r#"<rect x="{x}" y="{y}" width="{u}" height="{v}" fill="none" stroke="black"/>"#),
            _ => format!(
                r##"<clipPath id="a"><rect x="9" y="9" width="{u}" height="{v}"/></clipPath><g transform="translate(3.3,2)"><line x1="{x}" y1="{y}" x2="{u}" y2="{y}" stroke="black" stroke-width="3"/><g clip-path="url(#a)"><circle cx="{x}" cy="{y}" r="5" fill="olive"/></g></g>"##
            ),
        })
    }

    proptest! {
        /// Where an edge lies within a pixel, shades differ by up to a quarter for each of the
        /// edges of a shape.
        #[test]
        fn each_shape_is_where_the_rasterizer_puts_it(shape in shape()) {
            let svg = format!(r#"<svg xmlns="http://www.w3.org/2000/svg" width="70" height="70">{shape}</svg>"#);
            let tree = Tree::from_str(&svg, &Options::default()).unwrap();
            let scale = Transform::from_scale(1.5, 1.5);
            let [mut drawn, mut twin] = [(); 2].map(|()| Pixmap::new(105, 105).unwrap());
            for pixels in [&mut drawn, &mut twin] {
                pixels.fill(Color::WHITE);
            }
            draw(tree.root(), scale, &mut drawn.as_mut());
            resvg::render(&tree, scale, &mut twin.as_mut());
            for (index, (a, b)) in drawn.data().iter().zip(twin.data()).enumerate() {
                let pixel = index / 4;
                prop_assert!(a.abs_diff(*b) <= 130, "{a} and {b} at {}, {} of {shape}", pixel % 105, pixel / 105);
            }
            let off: u64 = drawn.data().iter().zip(twin.data()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
            let ink: u64 = twin.data().iter().map(|b| u64::from(u8::MAX - b)).sum();
            prop_assert!(off * 3 <= ink + 9_000, "{off} of {ink} in {shape}");
        }
    }
}
