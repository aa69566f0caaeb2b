use crate::config::did_you_mean;
use crate::results::ConditionError;
use crate::simulation::FieldError;
use crate::sweep::SweepError;
use thiserror::Error;

/// Why there is no decision.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum DecisionError {
    #[error(transparent)]
    Sweep(#[from] SweepError),
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error("there is no choice: name one, such as --choose memory=a.ron,b.ron")]
    NoChoice,
    #[error(
        "the choices leave one possibility, so there is nothing to decide: name a second, such as --choose memory=a.ron,b.ron"
    )]
    OneChoice,
    #[error("'{name}' is both a choice and a circumstance: leave it out of --choose or of --given")]
    Both { name: String },
    #[error(
        "'{name}' is chosen, not met, so it is no circumstance: write --choose {name}=..., or one value for all with --{flag}"
    )]
    IsChoice { name: String, flag: &'static str },
    #[error("'{name}' is a part of '{whole}', which is chosen: only numbers of it may be circumstances")]
    PartOfChoice { name: String, whole: String },
    #[error("--best {name}: it is not among the choices: write --choose {name}=..., or one of {}.{}", known.join(", "), did_you_mean(name, known.iter().map(String::as_str)))]
    Best { name: String, known: Vec<String> },
    #[error("--best {name}: nothing else is chosen, so it is no inner choice: leave --best out")]
    AllBest { name: String },
    #[error(
        "--by {name}: there is no figure of that name.{meant} Use tpot, p99, tokens_per_s, ttft, cost, or a path in summary.json: {known}"
    )]
    Figure { name: String, meant: String, known: String },
    #[error("--by {name}: no run has the figure {path}: there is {known}.{hint}")]
    NoFigure { name: String, path: String, known: String, hint: &'static str },
    #[error(
        "--by cost: the memory system of {choice} has no price: write price: \"2.99 USD/h\" into its file, or --set memory.price=..."
    )]
    NoPrice { choice: String },
    #[error("prices are in {one} and in {other}: write all of them in one currency")]
    Currencies { one: String, other: String },
    #[error("there is no axis '{name}' in these results: use one of {}.{}", known.join(", "), did_you_mean(name, known.iter().map(String::as_str)))]
    NoAxis { name: String, known: Vec<String> },
    #[error("no axis of these results is a choice: there is {}; name one with --choose NAME", known.join(", "))]
    NoChoiceAxis { known: Vec<String> },
    #[error("this sweep is a sample of points, not a grid: a decision compares choices in the same circumstances")]
    Sample,
    #[error("{cells} runs are more than the {most} of a decision: take fewer values, or run a sweep and use --from")]
    TooMany { cells: u64, most: u64 },
    #[error("--fail-if {0}")]
    Condition(#[from] ConditionError),
    #[error("--within {within}: it is a share of at least 0 and less than 1, such as 5%")]
    Within { within: f64 },
    #[error("--tolerance {tolerance}: it is a share above 0 and less than 1, such as 2%")]
    Tolerance { tolerance: f64 },
}
