//! SVG as PNG: shapes first, then text.

use super::{lettering, shapes};
use png::{BitDepth, ColorType, Compression, Encoder, Filter};
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::roxmltree::Document;
use resvg::usvg::{Options, Tree};
use rustc_hash::FxHashMap;
use std::cell::Cell;

/// The white background that every chart begins with; the canvas is white already.
const BACKGROUND: &str = r#"<rect width="100%" height="100%" fill="white" />"#;

/// The picture `svg` with `scale` pixels for each of its own, on white.
///
/// # Errors
/// In words, what is wrong with it.
pub(super) fn png(svg: &str, scale: f32) -> Result<Vec<u8>, String> {
    let drawn = svg.replacen(BACKGROUND, "", 1);
    let document = Document::parse(&drawn).map_err(|error| error.to_string())?;
    let tree = Tree::from_xmltree(&document, &Options::default()).map_err(|error| error.to_string())?;
    let size = tree.size().to_int_size().scale_by(scale).ok_or("it has no size")?;
    let (width, height) = (size.width(), size.height());
    let Canvas { pixels, mut colours } = CANVAS.take();
    let mut pixels = pixels
        .filter(|pixels| (pixels.width(), pixels.height()) == (width, height))
        .or_else(|| Pixmap::new(width, height))
        .ok_or("it is too large")?;
    pixels.fill(Color::WHITE);
    shapes::draw(tree.root(), Transform::from_scale(scale, scale), &mut pixels.as_mut());
    lettering::draw(&document, scale, &mut pixels)?;
    let palette = index(pixels.data(), &mut colours);
    let mut file = Vec::with_capacity(32 << 10);
    let mut encoder = Encoder::new(&mut file, width, height);
    encoder.set_depth(BitDepth::Eight);
    if let Some(palette) = palette {
        encoder.set_color(ColorType::Indexed);
        encoder.set_palette(palette);
        // The fast compression packs zeros, which stand for a colour equal to the one before it.
        encoder.set_compression(Compression::Fast);
        encoder.set_filter(Filter::Sub);
    } else {
        // Everything is opaque on white, so that three of four bytes suffice.
        colours.resize(width as usize * height as usize * 3, 0);
        for (colour, pixel) in colours.chunks_exact_mut(3).zip(pixels.data().chunks_exact(4)) {
            colour.copy_from_slice(&pixel[..3]);
        }
        encoder.set_color(ColorType::Rgb);
        encoder.set_compression(Compression::Fast);
    }
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&colours))
        .map_err(|error| error.to_string())?;
    CANVAS.set(Canvas { pixels: Some(pixels), colours });
    Ok(file)
}

/// Sets `indices` to the number of each pixel's colour, and returns the colours, three bytes each;
/// `None` if there are more than 256. Most charts have about a hundred; with a palette they are a
/// third smaller and compressed in half the time.
fn index(pixels: &[u8], indices: &mut Vec<u8>) -> Option<Vec<u8>> {
    /// The number of pixels that are compared at once: most are equal to the one before.
    const RUN: usize = 8;
    let pixels: &[[u8; 4]] = pixels.as_chunks().0;
    let mut known: FxHashMap<[u8; 4], u8> = FxHashMap::default();
    let mut palette = Vec::new();
    // No pixel is transparent.
    let (mut run, mut number) = ([[0; 4]; RUN], 0);
    indices.clear();
    indices.resize(pixels.len(), 0);
    for (indices, pixels) in indices.chunks_mut(RUN).zip(pixels.chunks(RUN)) {
        if *pixels == run {
            // Background pixels mostly have their index already.
            if number != 0 {
                indices.fill(number);
            }
            continue;
        }
        let mut last = run[0];
        for (index, pixel) in indices.iter_mut().zip(pixels) {
            if *pixel != last {
                last = *pixel;
                number = match known.get(pixel) {
                    Some(number) => *number,
                    None => {
                        let number = u8::try_from(known.len()).ok()?;
                        known.insert(*pixel, number);
                        palette.extend_from_slice(&pixel[..3]);
                        number
                    }
                };
            }
            *index = number;
        }
        run = [last; RUN];
    }
    Some(palette)
}

/// The pixels of a picture, kept for the next one on this thread, which usually has the same size:
/// reusing memory saves the system from clearing new pages.
#[derive(Default)]
struct Canvas {
    pixels: Option<Pixmap>,
    colours: Vec<u8>,
}

thread_local! {
    static CANVAS: Cell<Canvas> = Cell::default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_palette_gives_every_pixel_back(runs in prop::collection::vec((0u16..400, 1usize..30), 0..300)) {
            let colour = |number: u16| [number as u8, (number >> 8) as u8, 7, 255];
            let pixels: Vec<u8> = runs.iter().flat_map(|(number, length)| colour(*number).repeat(*length)).collect();
            let mut numbers: Vec<u16> = runs.iter().map(|(number, _)| *number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            let mut indices = vec![9; 3];
            let palette = index(&pixels, &mut indices);
            prop_assert_eq!(palette.is_some(), numbers.len() <= 256);
            if let Some(palette) = palette {
                let back = |index: &u8| [&palette[3 * usize::from(*index)..][..3], &[255]].concat();
                prop_assert_eq!(indices.iter().flat_map(back).collect::<Vec<u8>>(), pixels);
            }
        }
    }
}
