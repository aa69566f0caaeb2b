//! A drawing as files: SVG, and PNG for programs that cannot show SVG.

use super::artifact::{Artifact, ReportError};
use super::raster::png;
use crate::config::printable_lines;
use kuva::backend::svg::SvgBackend;
use kuva::render::render::Scene;

/// Pixels of the PNG for each unit of the drawing.
const PNG_SCALE: f32 = 1.5;

/// The drawing, as `NAME.svg` and `NAME.png`.
pub(super) fn pictures(name: &str, scene: Scene) -> Result<[Artifact; 2], ReportError> {
    let svg = numbered_anew(&SvgBackend::new().render_scene(&scene));
    // XML has no control characters, but the names in legends and titles come from files.
    let svg = printable_lines(&svg).into_owned();
    let png = png(&svg, PNG_SCALE).map_err(|error| ReportError::format(format!("{name}.png"), error))?;
    Ok([Artifact::new(format!("{name}.svg"), svg), Artifact::new(format!("{name}.png"), png)])
}

/// The same drawing with its clip paths numbered from 0 in the order of their appearance. The
/// plotting crate counts them over the whole process, so that the numbers would depend on earlier
/// drawings and on threads.
fn numbered_anew(svg: &str) -> String {
    const PREFIX: &str = "kuva-clip-";
    let mut numbers: Vec<&str> = Vec::new();
    let mut text = String::with_capacity(svg.len());
    let mut parts = svg.split(PREFIX);
    text.push_str(parts.next().unwrap_or(""));
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let (number, rest) = part.split_at(end);
        let index = numbers.iter().position(|known| *known == number).unwrap_or_else(|| {
            numbers.push(number);
            numbers.len() - 1
        });
        text.push_str(PREFIX);
        text.push_str(&index.to_string());
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clip_paths_are_numbered_from_zero() {
        let svg = "<clipPath id=\"kuva-clip-17\"/><g clip-path=\"url(#kuva-clip-17)\"/><clipPath id=\"kuva-clip-3\"/>";
        let expected =
            "<clipPath id=\"kuva-clip-0\"/><g clip-path=\"url(#kuva-clip-0)\"/><clipPath id=\"kuva-clip-1\"/>";
        assert_eq!(numbered_anew(svg), expected);
    }
}
