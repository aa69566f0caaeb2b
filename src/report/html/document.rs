use super::{NAME, STYLE, failed};
use crate::report::{Artifact, ReportError, Table};
use askama::Template;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// What a `report.html` that is not of single runs says.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    /// Its heading.
    pub title: &'a str,
    /// What was asked; may be empty.
    pub question: &'a str,
    /// What came out, a paragraph each.
    pub answer: &'a [String],
    /// The rest.
    pub sections: &'a [Section<'a>],
}

/// A part of a [`Document`]: a table and pictures under a heading.
#[derive(Clone, Debug, Default)]
pub struct Section<'a> {
    /// Its heading.
    pub title: &'a str,
    /// How to read it; may be empty.
    pub note: &'a str,
    /// A table.
    pub table: Option<&'a Table>,
    /// SVG pictures; the name of each says what it shows.
    pub pictures: Vec<&'a Artifact>,
}

#[derive(Template)]
#[template(path = "document.html", config = "src/report/html/askama.toml")]
struct DocumentView<'a> {
    title: &'a str,
    question: &'a str,
    answer: &'a [String],
    style: &'static str,
    sections: Vec<SectionView<'a>>,
}

struct SectionView<'a> {
    title: &'a str,
    note: &'a str,
    table: Option<&'a Table>,
    /// The name of each, and its bytes in base64: apart from the page, as identifiers and styles of pictures clash.
    pictures: Vec<(String, String)>,
}

/// `report.html`, all in one file.
///
/// # Errors
/// [`ReportError::Format`] where the page cannot be made; none of ours is such.
pub fn document<'a>(document: &Document<'a>) -> Result<Artifact, ReportError> {
    let Document { title, question, answer, sections } = *document;
    let picture = |picture: &&Artifact| {
        let name = picture.path.file_stem().map(|name| name.to_string_lossy().into_owned());
        (name.unwrap_or_default(), BASE64_STANDARD.encode(&picture.bytes))
    };
    let section = |section: &Section<'a>| SectionView {
        title: section.title,
        note: section.note,
        table: section.table,
        pictures: section.pictures.iter().map(picture).collect(),
    };
    let sections = sections.iter().map(section).collect();
    let view = DocumentView { title, question, answer, style: STYLE, sections };
    Ok(Artifact::new(NAME, view.render().map_err(failed)?))
}
