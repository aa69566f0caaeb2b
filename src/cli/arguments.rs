//! How values are read from the command line, and which ones a shell offers.

use crate::catalog;
use crate::strategy::NAMED;
use crate::units::parse_count;
use clap::Arg;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use std::ffi::OsStr;

/// A number of tokens, steps or the like: `1024`, `131_072`, `128k`.
pub(super) fn count(text: &str) -> Result<u32, String> {
    let count = parse_count(text, u32::MAX.into()).map_err(|error| error.to_string())?;
    u32::try_from(count).map_err(|error| error.to_string())
}

/// The same, but not 0.
pub(super) fn count_from_1(text: &str) -> Result<u32, String> {
    match count(text)? {
        0 => Err("'0' is too little: it must be more than 0".to_owned()),
        count => Ok(count),
    }
}

/// A seed: a whole number of 64 bits.
pub(super) fn seed(text: &str) -> Result<u64, String> {
    parse_count(text, u64::MAX).map_err(|error| error.to_string())
}

/// One of a few choices, each of a name, what it does, and a value. Upper and lower case are the
/// same.
pub(super) fn choice<T: Copy + Send + Sync + 'static>(
    choices: &'static [(&'static str, &'static str, T)],
) -> impl TypedValueParser<Value = T> {
    let names = choices.iter().map(|(name, about, _)| PossibleValue::new(*name).help(*about));
    PossibleValuesParser::new(names).try_map(|typed| {
        let found = choices.iter().find(|(name, ..)| name.eq_ignore_ascii_case(&typed));
        found.map(|(.., value)| *value).ok_or("it is none of the choices")
    })
}

/// Reads values as `parser` does, and offers `names` to a shell that completes them. Others are
/// read as well: whatever has a name here may also be the path of a file.
#[derive(Clone)]
pub(super) struct Offering<P> {
    parser: P,
    names: Vec<&'static str>,
}

impl<P: TypedValueParser> TypedValueParser for Offering<P> {
    type Value = P::Value;

    fn parse_ref(&self, command: &clap::Command, arg: Option<&Arg>, value: &OsStr) -> Result<Self::Value, clap::Error> {
        self.parser.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.names.iter().map(PossibleValue::new)))
    }
}

impl<P> Offering<P> {
    pub fn new(parser: P, names: Vec<&'static str>) -> Self {
        Self { parser, names }
    }
}

/// A name or path for which `names` are offered.
fn offering(names: Vec<&'static str>) -> Offering<clap::builder::StringValueParser> {
    Offering { parser: clap::builder::StringValueParser::new(), names }
}

fn of_files(files: &'static [catalog::Shipped]) -> Vec<&'static str> {
    files.iter().map(|file| file.name).collect()
}

pub(super) fn models() -> Vec<&'static str> {
    of_files(catalog::MODELS)
}

pub(super) fn memories() -> Vec<&'static str> {
    of_files(catalog::MEMORY_SYSTEMS)
}

/// The recorded traces and the generators: what `--trace` takes.
pub(super) fn traces() -> Vec<&'static str> {
    let recorded = catalog::TRACES.iter().map(|(name, _, _)| *name);
    recorded.chain(of_files(catalog::GENERATORS)).collect()
}

pub(super) fn runtimes() -> Vec<&'static str> {
    catalog::runtime_names()
}

pub(super) fn model() -> Offering<clap::builder::StringValueParser> {
    offering(models())
}

pub(super) fn memory() -> Offering<clap::builder::StringValueParser> {
    offering(memories())
}

pub(super) fn runtime() -> Offering<clap::builder::StringValueParser> {
    offering(runtimes())
}

pub(super) fn scenario() -> Offering<clap::builder::StringValueParser> {
    offering(of_files(catalog::SCENARIOS))
}

/// The logs of requests, and the scenarios.
fn request_logs() -> Vec<&'static str> {
    let logs = catalog::REQUEST_LOGS.iter().map(|(name, _, _)| *name);
    logs.chain(of_files(catalog::SCENARIOS)).collect()
}

pub(super) fn requests() -> Offering<clap::builder::StringValueParser> {
    offering(request_logs())
}

pub(super) fn sweep() -> Offering<clap::builder::StringValueParser> {
    offering(of_files(catalog::SWEEPS))
}

pub(super) fn generator() -> Offering<clap::builder::StringValueParser> {
    offering(of_files(catalog::GENERATORS))
}

pub(super) fn dram() -> Offering<clap::builder::StringValueParser> {
    offering(catalog::DRAM.iter().map(|(name, _, _)| *name).collect())
}

pub(super) fn link() -> Offering<clap::builder::StringValueParser> {
    offering(catalog::LINKS.iter().map(|(name, _, _)| *name).collect())
}

pub(super) fn strategy() -> Offering<clap::builder::StringValueParser> {
    offering(strategy_names())
}

pub(super) fn strategy_names() -> Vec<&'static str> {
    NAMED.iter().map(|(name, _, _)| *name).collect()
}

/// Reads values as `read` does and offers the names of strategies.
pub(super) fn strategies<F>(read: F) -> Offering<F> {
    Offering { parser: read, names: strategy_names() }
}

/// Every list of names that is offered where a path may stand as well.
pub(super) fn offered_beside_paths() -> Vec<Vec<&'static str>> {
    let mut lists: Vec<Vec<&str>> =
        [catalog::MODELS, catalog::MEMORY_SYSTEMS, catalog::SCENARIOS, catalog::SWEEPS, catalog::GENERATORS]
            .into_iter()
            .map(of_files)
            .collect();
    lists.push(traces());
    lists.push(runtimes());
    lists.push(request_logs());
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_people_write_them() {
        assert_eq!(count("128k"), Ok(131_072));
        assert_eq!(count("131_072"), Ok(131_072));
        assert!(count("5000M").is_err_and(|error| error.contains("4294967295")));
        assert!(count_from_1("0").is_err() && count("-1").is_err() && count("1.5").is_err());
        assert_eq!(seed("18446744073709551615"), Ok(u64::MAX));
    }
}
