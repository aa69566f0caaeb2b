//! Why costs cannot be fitted on the rows that there are.

use crate::runs::RunsError;
use crate::validation::InvalidCase;
use thiserror::Error;

/// Why costs cannot be fitted on the rows that there are.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum CalibrationError {
    #[error(transparent)]
    Case(#[from] InvalidCase),
    #[error(transparent)]
    Runs(#[from] RunsError),
    #[error(
        "no row may be fitted on{}: mark at least two with 'fit' in the column 'use', or fit on all with --use all",
        of(groups)
    )]
    NoRows { groups: Vec<String> },
    #[error(
        "{what} of {first} and of {second}: a fit is of one machine and one runtime; choose rows with --group (there are {groups})"
    )]
    Several { what: &'static str, first: String, second: String, groups: String },
    #[error("case '{case}' {problem}: costs are fitted on runs that read everything from the first tier of memory")]
    Row { case: String, problem: String },
    #[error(
        "{rows} rows cannot determine {costs} costs ({names}): add measured runs of models whose layers have other sizes, or hold the cost of a stage with --per-stage"
    )]
    TooFewRows { rows: usize, costs: usize, names: String },
    #[error(
        "the rows cannot separate {names}: a stage reads from {least:.4} to {most:.4} MB in them, nearly the same, so that an error of 1 % in a measured time may become one of {condition:.0} % in a cost (condition number {condition:.0}, at most {limit:.0} is allowed). Add a run of a model whose layers are larger or smaller, or hold the cost of a stage with --per-stage"
    )]
    NotSeparable { names: String, condition: f64, limit: f64, least: f64, most: f64 },
    #[error("the fit is not physical: {reasons}. {remedy}")]
    NotPhysical { reasons: String, remedy: &'static str },
}

fn of(groups: &[String]) -> String {
    match groups {
        [] => String::new(),
        [group] => format!(" in the group '{group}'"),
        groups => format!(" in the groups '{}'", groups.join("', '")),
    }
}

/// What to do about a fit that is not physical.
pub(super) const REMEDY: &str = "Check the rows and the memory system's effective bandwidth (tiersim list --memory), \
    or hold the cost of a stage with --per-stage";
