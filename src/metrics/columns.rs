//! The columns of `steps.csv` and `steps.parquet`: one table, which both writers, the reader of a
//! run's folder and the documentation are made from.
//!
//! A [`StepColumn`] has a name, a unit, a getter and, unless it follows from other columns, a
//! setter. A column of every tier stands once in the table; [`step_columns`] repeats it for each
//! tier of a run. To add a column, add a line to [`STEP_COLUMNS`] (and a field to
//! [`StepValues`](super::StepValues) or [`TierBytes`](super::TierBytes) that it gets and sets).

use super::series::{Step, StepValues, TierBytes};
use crate::units::{Bytes, SimTime};
use StepValue::{Real, Time, Whole};

/// The unit of a step column; it also determines how the column's values are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepUnit {
    /// A whole number of steps, counted from 0.
    Step,
    /// A whole number of tokens.
    Tokens,
    /// A whole number of sequences.
    Sequences,
    /// A whole number of pages.
    Pages,
    /// A whole number of bytes.
    Bytes,
    /// Nanoseconds with three decimals: exact to the picosecond.
    Nanoseconds,
    /// A share of one; not a number where there is none.
    Share,
}

/// The value of a column in one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StepValue {
    /// Counts and bytes.
    Whole(u64),
    /// A time.
    Time(SimTime),
    /// A share.
    Real(f64),
}

/// A step that is being read back, column by column.
#[derive(Clone, Debug, Default)]
pub struct StepDraft {
    /// The step's number as its row has it.
    pub step: u64,
    /// The values that do not belong to a tier.
    pub values: StepValues,
    /// The values of each tier, the fastest first.
    pub by_tier: Vec<TierBytes>,
}

/// A column of every step.
#[derive(Clone, Copy, Debug)]
pub struct StepColumn {
    /// Its name in files; for a column of every tier what follows the tier's name and `_`.
    pub name: &'static str,
    /// Whether each tier has one.
    pub per_tier: bool,
    /// Whether a run of one sequence whose prompt is given has none.
    pub of_batch: bool,
    /// Whether only a run whose migration is a cache has one.
    pub of_cache: bool,
    /// Its unit.
    pub unit: StepUnit,
    /// What it is, in a few words, for documentation.
    pub about: &'static str,
    /// Its value in a step, on a tier if each has one.
    pub get: fn(&Step<'_>, usize) -> StepValue,
    /// Puts a value that was read back in its place; `None` for what other columns determine.
    pub set: Option<fn(&mut StepDraft, usize, StepValue)>,
}

/// All columns, in the order of files. Columns of every tier that follow each other are repeated
/// together: all of the first tier, then all of the second.
#[rustfmt::skip]
pub const STEP_COLUMNS: [StepColumn; 16] = [
    column("step", StepUnit::Step, "number of the step, from 0",
        |it, _| Whole(it.step as u64), Some(|it, _, value| it.step = value.whole())),
    column("context_tokens", StepUnit::Tokens, "tokens in the KV cache before the step, of the longest sequence",
        |it, _| Whole(it.context as u64), Some(|it, _, value| it.values.context = value.whole() as usize)),
    of_batch("sequences", StepUnit::Sequences, "sequences that have begun and not ended",
        |it, _| Whole(it.sequences as u64), Some(|it, _, value| it.values.sequences = value.whole() as usize)),
    of_batch("decoding", StepUnit::Sequences, "sequences that decode a token each",
        |it, _| Whole(it.decoding as u64), Some(|it, _, value| it.values.decoding = value.whole() as usize)),
    of_batch("prompt_tokens", StepUnit::Tokens, "tokens of prompts that are computed",
        |it, _| Whole(it.prompt_tokens as u64), Some(|it, _, value| it.values.prompt_tokens = value.whole() as usize)),
    column("read_kv_tokens", StepUnit::Tokens, "tokens whose KV was read: the sum over layers",
        |it, _| Whole(it.read_kv_tokens), Some(|it, _, value| it.values.read_kv_tokens = value.whole())),
    column("alpha", StepUnit::Share, "share of the bytes read that came from HBM",
        |it, _| Real(it.alpha()), None),
    column("latency_ns", StepUnit::Nanoseconds, "time of the step",
        |it, _| Time(it.latency), Some(|it, _, value| it.values.latency = value.time())),
    column("bound_ns", StepUnit::Nanoseconds, "the lower bound on its time over all placements",
        |it, _| Time(it.bound), Some(|it, _, value| it.values.bound = value.time())),
    of_each_tier("read_bytes", StepUnit::Bytes, "weights and KV read from the tier",
        |it, tier| Whole(it.by_tier[tier].read.get()), Some(|it, tier, value| it.by_tier[tier].read = value.bytes())),
    of_each_tier("used_bytes", StepUnit::Bytes, "bytes in use on the tier at the end of the step",
        |it, tier| Whole(it.by_tier[tier].used.get()), Some(|it, tier, value| it.by_tier[tier].used = value.bytes())),
    column("migrated_in_bytes", StepUnit::Bytes, "migration to faster tiers that was issued",
        |it, _| Whole(it.migrated_in.get()), Some(|it, _, value| it.values.migrated_in = value.bytes())),
    column("migrated_out_bytes", StepUnit::Bytes, "migration to slower tiers that was issued",
        |it, _| Whole(it.migrated_out.get()), Some(|it, _, value| it.values.migrated_out = value.bytes())),
    column("late_tokens", StepUnit::Tokens, "tokens read at the source of an unfinished move",
        |it, _| Whole(it.late_tokens), Some(|it, _, value| it.values.late_tokens = value.whole())),
    of_cache("hit_pages", StepUnit::Pages, "pages of KV read from the first tier",
        |it, _| Whole(it.hit_pages), Some(|it, _, value| it.values.hit_pages = value.whole())),
    of_cache("missed_pages", StepUnit::Pages, "pages of KV read from other tiers",
        |it, _| Whole(it.missed_pages), Some(|it, _, value| it.values.missed_pages = value.whole())),
];

type Get = fn(&Step<'_>, usize) -> StepValue;
type Set = Option<fn(&mut StepDraft, usize, StepValue)>;

const fn column(name: &'static str, unit: StepUnit, about: &'static str, get: Get, set: Set) -> StepColumn {
    StepColumn { name, per_tier: false, of_batch: false, of_cache: false, unit, about, get, set }
}

const fn of_batch(name: &'static str, unit: StepUnit, about: &'static str, get: Get, set: Set) -> StepColumn {
    StepColumn { of_batch: true, ..column(name, unit, about, get, set) }
}

const fn of_cache(name: &'static str, unit: StepUnit, about: &'static str, get: Get, set: Set) -> StepColumn {
    StepColumn { of_cache: true, ..column(name, unit, about, get, set) }
}

const fn of_each_tier(name: &'static str, unit: StepUnit, about: &'static str, get: Get, set: Set) -> StepColumn {
    StepColumn { per_tier: true, ..column(name, unit, about, get, set) }
}

/// A column of a run's files: one of [`STEP_COLUMNS`], of a tier if each has one.
#[derive(Clone, Debug)]
pub struct RunColumn {
    /// Its name in files.
    pub name: String,
    /// What it is.
    pub column: &'static StepColumn,
    tier: usize,
}

/// The columns of the files of a run on `tiers`, in their order; those of the batch only where the
/// run is not `single`: one sequence whose prompt is given; those of a cache only where it has one.
#[must_use]
pub fn step_columns(tiers: &[String], single: bool, cached: bool) -> Vec<RunColumn> {
    let mut columns = Vec::new();
    let known: &'static [StepColumn] = &STEP_COLUMNS;
    for group in known.chunk_by(|one, next| one.per_tier && next.per_tier) {
        if group[0].per_tier {
            for (tier, of) in tiers.iter().enumerate() {
                let named = |column: &'static StepColumn| format!("{of}_{}", column.name);
                columns.extend(group.iter().map(|column| RunColumn { name: named(column), column, tier }));
            }
        } else if !(single && group[0].of_batch) && (cached || !group[0].of_cache) {
            columns.extend(group.iter().map(|column| RunColumn { name: column.name.to_owned(), column, tier: 0 }));
        }
    }
    columns
}

impl RunColumn {
    /// Its value in `step`.
    #[must_use]
    pub fn value(&self, step: &Step<'_>) -> StepValue {
        (self.column.get)(step, self.tier)
    }

    /// Whether [`read`](Self::read) has a place for its values.
    #[must_use]
    pub fn is_read_back(&self) -> bool {
        self.column.set.is_some()
    }

    /// Puts the value that `text` stands for into `draft`, which has an entry for each tier; `None`
    /// if the text is not one that [`StepValue`] displays in this column's unit.
    pub fn read(&self, text: &str, draft: &mut StepDraft) -> Option<()> {
        if let Some(set) = self.column.set {
            set(draft, self.tier, StepValue::read(text, self.column.unit)?);
        }
        Some(())
    }
}

impl StepValue {
    /// What `text` stands for in a column of that unit.
    fn read(text: &str, unit: StepUnit) -> Option<Self> {
        match unit {
            StepUnit::Step | StepUnit::Tokens | StepUnit::Sequences | StepUnit::Pages | StepUnit::Bytes => {
                text.parse().ok().map(Whole)
            }
            StepUnit::Nanoseconds => exact_ns(text).map(Time),
            StepUnit::Share => text.parse().ok().map(Real),
        }
    }

    /// As a whole number: of a time its picoseconds.
    #[must_use]
    pub fn whole(self) -> u64 {
        match self {
            Whole(whole) => whole,
            Time(time) => time.as_ps(),
            Real(real) => real as u64,
        }
    }

    /// As a number in the unit of its column.
    #[must_use]
    pub fn real(self) -> f64 {
        match self {
            Whole(whole) => whole as f64,
            Time(time) => time.as_ns(),
            Real(real) => real,
        }
    }

    fn bytes(self) -> Bytes {
        Bytes::new(self.whole())
    }

    fn time(self) -> SimTime {
        SimTime::from_ps(self.whole())
    }
}

/// As text files have it.
impl std::fmt::Display for StepValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Whole(whole) => whole.fmt(f),
            Time(time) => f.write_str(&time.exact_ns()),
            Real(real) => real.fmt(f),
        }
    }
}

/// The time that [`SimTime::exact_ns`] writes as `text`.
fn exact_ns(text: &str) -> Option<SimTime> {
    let (whole, part) = text.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    let ps = digits(whole)?.checked_mul(1_000)?.checked_add(digits(part).filter(|_| part.len() == 3)?)?;
    Some(SimTime::from_ps(ps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_picosecond() {
        for ps in [0, 7, 123_456_789_012, u64::MAX] {
            assert_eq!(exact_ns(&SimTime::from_ps(ps).exact_ns()), Some(SimTime::from_ps(ps)));
        }
        for text in ["", "1", "1.5", "1.5000", "-1.000", "+1.000", "1e3.000", "18446744073709552.000"] {
            assert_eq!(exact_ns(text), None, "{text}");
        }
    }

    /// A value of its own in every column comes back from the text of every column.
    #[test]
    fn every_column_reads_back_what_it_wrote() {
        let tiers = ["hbm", "external"].map(str::to_owned);
        let columns = step_columns(&tiers, false, true);
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let by_tier = ["hbm_read_bytes", "hbm_used_bytes", "external_read_bytes", "external_used_bytes"];
        assert_eq!(names[9..13], by_tier);
        let of_single = step_columns(&tiers, true, true);
        let of_single = of_single.iter().map(|column| column.name.as_str());
        assert!(of_single.eq(names.iter().copied().filter(|name| !names[2..5].contains(name))));
        assert_eq!(names[2..5], ["sequences", "decoding", "prompt_tokens"]);
        let uncached = step_columns(&tiers, false, false);
        assert!(uncached.iter().map(|column| column.name.as_str()).eq(names[..names.len() - 2].iter().copied()));
        assert_eq!(names[names.len() - 2..], ["hit_pages", "missed_pages"]);
        let values = StepValues {
            context: 11,
            sequences: 18,
            decoding: 19,
            prompt_tokens: 24,
            read_kv_tokens: 12,
            latency: SimTime::from_ps(13),
            bound: SimTime::from_ps(14),
            migrated_in: Bytes::new(15),
            migrated_out: Bytes::new(16),
            late_tokens: 17,
            hit_pages: 25,
            missed_pages: 26,
        };
        let tier = |first: u64| TierBytes { read: Bytes::new(first), used: Bytes::new(first + 1) };
        let step = Step { step: 10, values, by_tier: &[tier(20), tier(22)] };
        let mut draft = StepDraft { by_tier: vec![TierBytes::default(); 2], ..StepDraft::default() };
        for column in &columns {
            column.read(&column.value(&step).to_string(), &mut draft).unwrap();
        }
        assert_eq!((draft.step, draft.values, &draft.by_tier[..]), (10, step.values, step.by_tier));
        assert!(columns.iter().filter(|column| !column.is_read_back()).map(|column| &column.name).eq(["alpha"]));
    }

    /// `src/report/README.md` lists the columns as this table has them.
    #[test]
    fn the_columns_are_documented() {
        let readme = include_str!("../report/README.md");
        for column in STEP_COLUMNS {
            let name = if column.per_tier { format!("TIER_{}", column.name) } else { column.name.to_owned() };
            let row = format!("| `{name}` | {} |\n", column.about);
            assert!(readme.contains(&row), "src/report/README.md lacks the line {row}");
        }
    }
}
