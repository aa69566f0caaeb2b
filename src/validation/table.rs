//! Reading a file of cases: CSV with the columns [`COLUMNS`], in any order.

use super::case::{COLUMNS, Case, Use};
use super::error::InvalidCase;
use super::measured::{Measured, Metric};
use crate::catalog::{self, FileKind};
use crate::config::{self, check_name, did_you_mean, typed};
use crate::simulation::Assignment;
use crate::units::parse_count;
use csv::StringRecord;
use std::collections::BTreeSet;
use std::path::Path;

/// A file of cases: its text, what messages call it, and the folder that its paths are relative to.
#[derive(Clone, Debug)]
pub struct CaseFile {
    text: String,
    origin: String,
    folder: Option<std::path::PathBuf>,
}

impl CaseFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`InvalidCase::File`] if it cannot be read.
    pub fn open(path: &Path) -> Result<Self, InvalidCase> {
        let text = config::read(path)?;
        let folder = path.parent().map(Path::to_owned);
        Ok(Self { text, origin: path.display().to_string(), folder })
    }

    /// A shipped file, whose names are those of the [`catalog`].
    #[must_use]
    pub fn shipped(file: &catalog::Shipped) -> Self {
        Self { text: file.text.to_owned(), origin: file.path.to_owned(), folder: None }
    }

    /// `name` as seen from the working directory: a shipped thing of that kind, or a path relative
    /// to the file.
    fn seen_from_here(&self, name: &str, shipped: &[catalog::Shipped]) -> String {
        match &self.folder {
            Some(folder) if !shipped.iter().any(|file| file.name == name) => {
                let path = folder.join(name);
                let is_path = name.ends_with(".ron") || path.is_file();
                if is_path { path.to_string_lossy().into_owned() } else { name.to_owned() }
            }
            _ => name.to_owned(),
        }
    }
}

/// Reads the cases of all `files`, in their order. Names are unique over all of them.
///
/// # Errors
/// [`InvalidCase`], naming file, line, column, value and remedy.
pub fn read(files: &[CaseFile]) -> Result<Vec<Case>, InvalidCase> {
    let mut cases = Vec::new();
    let mut names = BTreeSet::new();
    for file in files {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file.text.as_bytes());
        let unreadable = |error: csv::Error| InvalidCase::Csv {
            origin: file.origin.clone(),
            message: format!("{error}: the file must be CSV with the columns {}", COLUMNS.join(",")),
        };
        let columns = Columns::new(reader.headers().map_err(unreadable)?, &file.origin)?;
        let before = cases.len();
        let mut record = StringRecord::new();
        while reader.read_record(&mut record).map_err(unreadable)? {
            let line = record.position().map_or(0, csv::Position::line);
            let row = Row { record: &record, columns: &columns, file, line };
            let case = row.case()?;
            if !names.insert(case.name.clone()) {
                return Err(row.wrong("case", "another row has the same name: give each case its own".to_owned()));
            }
            cases.push(case);
        }
        if cases.len() == before {
            return Err(InvalidCase::NoCases { origin: file.origin.clone(), columns: COLUMNS.join(",") });
        }
    }
    Ok(cases)
}

/// Where each of [`COLUMNS`] stands in the rows of a file.
struct Columns {
    places: [usize; COLUMNS.len()],
    count: usize,
}

impl Columns {
    fn new(heading: &StringRecord, origin: &str) -> Result<Self, InvalidCase> {
        let found: Vec<&str> = heading.iter().map(str::trim).collect();
        let mut places = [0; COLUMNS.len()];
        for (place, name) in places.iter_mut().zip(COLUMNS) {
            let mut at = found.iter().enumerate().filter(|(_, known)| **known == name);
            *place = at.next().map(|(index, _)| index).ok_or_else(|| InvalidCase::NoColumn {
                origin: origin.to_owned(),
                missing: name,
                columns: COLUMNS.join(","),
            })?;
            if at.next().is_some() {
                return Err(InvalidCase::ColumnTwice { origin: origin.to_owned(), name: name.to_owned() });
            }
        }
        Ok(Self { places, count: found.len() })
    }
}

/// A row of a file.
struct Row<'a> {
    record: &'a StringRecord,
    columns: &'a Columns,
    file: &'a CaseFile,
    line: u64,
}

impl Row<'_> {
    fn case(&self) -> Result<Case, InvalidCase> {
        if self.record.len() != self.columns.count {
            return Err(InvalidCase::Csv {
                origin: format!("{}:{}", self.file.origin, self.line),
                message: format!(
                    "the row has {} fields, but the first line {}: quote a field that has a comma",
                    self.record.len(),
                    self.columns.count
                ),
            });
        }
        let runtime = self.text("runtime");
        Ok(Case {
            name: self.label("case")?,
            group: self.label("group")?,
            memory: self.named("memory", FileKind::Memory.shipped())?,
            runtime: (!runtime.is_empty()).then(|| self.file.seen_from_here(runtime, &[])),
            model: self.named("model", FileKind::Model.shipped())?,
            set: self.assignments()?,
            prefill_tokens: self.count("prefill_tokens", 0)?,
            decode_tokens: self.count("decode_tokens", 1)?,
            batch: self.count("batch", 1)?,
            measured: self.measured()?,
            source: self.source()?,
            usage: self.usage()?,
            origin: self.file.origin.clone(),
            line: self.line,
        })
    }

    fn text(&self, column: &str) -> &str {
        let index = COLUMNS.iter().position(|known| *known == column).map(|index| self.columns.places[index]);
        index.and_then(|index| self.record.get(index)).unwrap_or("").trim()
    }

    fn wrong(&self, column: &'static str, remedy: String) -> InvalidCase {
        let value = config::shortened(self.text(column), MOST_SHOWN).into_owned();
        InvalidCase::Value { origin: self.file.origin.clone(), line: self.line, column, value, remedy }
    }

    /// A name that reports show.
    fn label(&self, column: &'static str) -> Result<String, InvalidCase> {
        let text = self.text(column);
        if text.is_empty() {
            return Err(self.wrong(column, "it is empty: write a name".to_owned()));
        }
        check_name(text).map_err(|error| self.wrong(column, error.to_string()))?;
        Ok(text.to_owned())
    }

    fn named(&self, column: &'static str, shipped: &[catalog::Shipped]) -> Result<String, InvalidCase> {
        match self.text(column) {
            "" => Err(self.wrong(column, "it is empty: write a name or the path of a RON file".to_owned())),
            name => Ok(self.file.seen_from_here(name, shipped)),
        }
    }

    fn assignments(&self) -> Result<Vec<Assignment>, InvalidCase> {
        let pairs = self.text("set").split(';').map(str::trim).filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (path, value) = pair.split_once('=').ok_or_else(|| {
                    self.wrong("set", format!("'{pair}' has no '=': write PATH=VALUE;PATH=VALUE, as after --set"))
                })?;
                let (path, value) = (path.trim().to_owned(), typed(value.trim()));
                Ok(Assignment { path, value, asked: format!("set {pair}") })
            })
            .collect()
    }

    fn count(&self, column: &'static str, least: u64) -> Result<u32, InvalidCase> {
        let count =
            parse_count(self.text(column), u32::MAX.into()).map_err(|error| self.wrong(column, error.to_string()))?;
        if count < least {
            return Err(self.wrong(column, format!("write at least {least}")));
        }
        u32::try_from(count).map_err(|error| self.wrong(column, error.to_string()))
    }

    fn measured(&self) -> Result<Measured, InvalidCase> {
        let names = |all: &[(&'static str, f64)]| all.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let metrics: Vec<&str> = Metric::ALL.iter().map(|(name, _)| *name).collect();
        let metric: Metric = self.text("metric").parse().map_err(|()| {
            let meant = did_you_mean(self.text("metric"), metrics.iter().copied());
            self.wrong("metric", format!("use one of {}.{meant}", metrics.join(", ")))
        })?;
        let value: f64 = self
            .text("measured")
            .parse()
            .map_err(|_| self.wrong("measured", "it is no number: write a figure such as 9.53".to_owned()))?;
        if !value.is_finite() || value <= 0.0 {
            return Err(self.wrong("measured", "a measured figure is finite and more than 0".to_owned()));
        }
        let units = names(metric.units());
        Measured::new(metric, value, self.text("unit"))
            .ok_or_else(|| self.wrong("unit", format!("{metric} is measured in {}", units.join(", "))))
    }

    fn source(&self) -> Result<String, InvalidCase> {
        let text = self.text("source");
        config::check_shown(text).map_err(|error| self.wrong("source", error.to_string()))?;
        Ok(text.to_owned())
    }

    fn usage(&self) -> Result<Use, InvalidCase> {
        let found = Use::ALL.iter().find(|(name, _)| *name == self.text("use")).map(|(_, usage)| *usage);
        found.ok_or_else(|| {
            let known: Vec<&str> = Use::ALL.iter().map(|(name, _)| *name).collect();
            self.wrong("use", format!("write one of {}", known.join(", ")))
        })
    }
}

/// The longest value that a message shows.
const MOST_SHOWN: usize = 200;
