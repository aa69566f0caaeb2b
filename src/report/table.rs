//! Tables for people, in plain text: for the terminal, for `table.md` and as the source of HTML
//! tables.
//!
//! Numbers are aligned to the right. On a terminal that is too narrow, a table of a few rows is
//! transposed, so that its lines do not wrap.

use crate::config::printable;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, presets};

/// A column of a [`Table`].
#[derive(Clone, Debug)]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// Whether it has numbers, which are aligned to the right.
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

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub(super) fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// How many columns it has.
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Adds a row, with a cell a column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The text, plain or, for a terminal, with a bold heading (unless `NO_COLOR` is set). A few
    /// rows that are wider than the terminal become columns.
    #[must_use]
    pub fn render(&self, terminal: bool) -> String {
        let arranged = self.lay(terminal);
        // The line under the heading has no escape codes for styles.
        let width = arranged.to_string().lines().nth(1).map(|line| line.chars().count());
        match arranged.width() {
            Some(room) if terminal && width > Some(room.into()) && self.rows.len() <= MOST_COLUMNS => {
                self.turned().lay(terminal).to_string()
            }
            _ => arranged.to_string(),
        }
    }

    fn lay(&self, terminal: bool) -> comfy_table::Table {
        let bold = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let mut table = comfy_table::Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.columns.iter().map(|column| {
            let cell = Cell::new(printable(&column.name)).set_alignment(alignment(column));
            if bold { cell.add_attribute(Attribute::Bold) } else { cell }
        }));
        for row in &self.rows {
            let cells = row.iter().zip(&self.columns);
            table.add_row(cells.map(|(text, column)| Cell::new(printable(text)).set_alignment(alignment(column))));
        }
        if bold {
            table.enforce_styling();
        } else if !terminal {
            table.force_no_tty();
        }
        table
    }

    /// Rows as columns: the first column's cells are the headings.
    fn turned(&self) -> Self {
        let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
        let heading = |column: usize| self.columns.get(column).map_or_else(String::new, |it| it.name.clone());
        let runs = self.rows.iter().map(|row| Column::number(&cell(row, 0)));
        let columns = [Column::text(&heading(0))].into_iter().chain(runs).collect();
        let mut turned = Self::new(columns);
        for column in 1..self.columns.len() {
            turned.row([heading(column)].into_iter().chain(self.rows.iter().map(|row| cell(row, column))));
        }
        turned
    }
}

/// The most rows that may become columns.
const MOST_COLUMNS: usize = 4;

fn alignment(column: &Column) -> CellAlignment {
    if column.number { CellAlignment::Right } else { CellAlignment::Left }
}
