//! SVG as PNG: the one place that knows the rasterizer.

use png::{BitDepth, ColorType, Compression, Encoder};
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{Options, Tree};
use std::cell::Cell;
use std::sync::LazyLock;

/// DejaVu Sans 2.37 with its Latin, Greek and Cyrillic letters, and signs: what names and units may have, on every machine the
/// same. Cut out with `pyftsubset`; the licence is beside it.
const FONT: &[u8] = include_bytes!("font/DejaVuSans.ttf");

static OPTIONS: LazyLock<Options<'_>> = LazyLock::new(|| {
    let mut options = Options { font_family: "DejaVu Sans".to_owned(), ..Options::default() };
    options.fontdb_mut().load_font_data(FONT.to_vec());
    options
});

/// The picture `svg` with `scale` pixels for each of its own, on white.
///
/// # Errors
/// In words, what is wrong with it.
pub(super) fn png(svg: &str, scale: f32) -> Result<Vec<u8>, String> {
    let tree = Tree::from_str(svg, &OPTIONS).map_err(|error| error.to_string())?;
    let size = tree.size().to_int_size().scale_by(scale).ok_or("it has no size")?;
    let (width, height) = (size.width(), size.height());
    let Canvas { pixels, mut colours } = CANVAS.take();
    let mut pixels = pixels
        .filter(|pixels| (pixels.width(), pixels.height()) == (width, height))
        .or_else(|| Pixmap::new(width, height))
        .ok_or("it is too large")?;
    pixels.fill(Color::WHITE);
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    // On white nothing shines through, so three of four bytes tell all.
    colours.resize(width as usize * height as usize * 3, 0);
    for (colour, pixel) in colours.chunks_exact_mut(3).zip(pixels.data().chunks_exact(4)) {
        colour.copy_from_slice(&pixel[..3]);
    }
    let mut file = Vec::with_capacity(64 << 10);
    let mut encoder = Encoder::new(&mut file, width, height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Fast);
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&colours))
        .map_err(|error| error.to_string())?;
    CANVAS.set(Canvas { pixels: Some(pixels), colours });
    Ok(file)
}

/// What a picture is drawn on. The next one is as large, as a rule, and memory that is there already need not be cleared by the system.
#[derive(Default)]
struct Canvas {
    pixels: Option<Pixmap>,
    colours: Vec<u8>,
}

thread_local! {
    static CANVAS: Cell<Canvas> = Cell::default();
}
