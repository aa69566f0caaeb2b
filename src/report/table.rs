use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, presets};

/// A column of a [`Table`].
#[derive(Clone, Debug)]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// Numbers stand to the right.
    pub number: bool,
}

impl Column {
    /// A column of text.
    #[must_use]
    pub fn text(name: &str) -> Self {
        Self { name: name.to_owned(), number: false }
    }

    /// A column of numbers.
    #[must_use]
    pub fn number(name: &str) -> Self {
        Self { name: name.to_owned(), number: true }
    }
}

/// A table for people, in plain text.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row, with a cell a column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The text, without styles or, for a terminal, with a bold heading.
    #[must_use]
    pub fn render(&self, styled: bool) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.columns.iter().map(|column| {
            let cell = Cell::new(&column.name).set_alignment(alignment(column));
            if styled { cell.add_attribute(Attribute::Bold) } else { cell }
        }));
        for row in &self.rows {
            let cells = row.iter().zip(&self.columns);
            table.add_row(cells.map(|(text, column)| Cell::new(text).set_alignment(alignment(column))));
        }
        if styled {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.to_string()
    }
}

fn alignment(column: &Column) -> CellAlignment {
    if column.number { CellAlignment::Right } else { CellAlignment::Left }
}
