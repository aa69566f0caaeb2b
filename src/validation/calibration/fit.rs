//! The fit: which costs the rows can separate, and what they are.
//!
//! The coarsest model has two costs: a time per stage, and one reach of all that is read; and the
//! compute rate, where prefill was measured. It is refined as far as the rows allow: formats of
//! weights get a reach of their own, those with the most time first, then KV; then come a time per
//! sequence and one per step. A refinement is kept if there are as many rows as costs, if the
//! condition number stays within [`MOST_CONDITION`], if the new cost is a noticeable part of some
//! row's time, and if the result is physical: no time below 0, no reach above 1. A time per step is
//! kept only if there are more rows than costs, as it hides in the time per stage otherwise.
//!
//! Each equation is divided by its measured time, so that the squares of relative errors add up to
//! the least.

use super::design::{Cost, Design};
use super::error::{CalibrationError, REMEDY};
use super::least_squares::{Solution, solve};

/// The largest condition number of a fit. Two runs whose stages read amounts that differ by a tenth
/// have about 40; by a twentieth, 80; by a fortieth, 160.
pub(super) const MOST_CONDITION: f64 = 100.0;
/// A cost that is below this share of the time in every row gets no reach of its own.
const NOTICEABLE: f64 = 0.02;

/// Costs that the fit does not tell apart: a column of the fit.
pub(super) type Column = Vec<Cost>;

/// A fit.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    /// What has one value: the fixed times that are fitted, and groups of reads.
    pub columns: Vec<Column>,
    /// The value of each: seconds, the reciprocal of a reach, or that of the compute rate over
    /// [`Design::compute`].
    pub values: Vec<f64>,
    pub condition: f64,
}

impl Fit {
    /// The finest fit of `design` that its rows determine; `per_stage` is held, in seconds, where
    /// it is given.
    pub fn new(design: &Design, per_stage: Option<f64>) -> Result<Self, CalibrationError> {
        let mut columns = coarsest(design, per_stage);
        let fitter = Fitter { design, per_stage, left_out: None };
        let first = fitter.fit(&columns)?;
        let mut fits = vec![first];
        for cost in refinements(design) {
            let mut finer = columns.clone();
            for column in &mut finer {
                column.retain(|other| *other != cost);
            }
            finer.push(vec![cost]);
            if finer.iter().all(|column| !column.is_empty())
                && let Ok(fit) = fitter.fit(&finer)
            {
                columns = finer;
                fits.push(fit);
            }
        }
        // What is not physical yet may become so with the next cost.
        let is_last_wrong = |fits: &[Self]| fits.last().is_some_and(|fit| !fit.problems(design).is_empty());
        for cost in [Cost::PerSequence, Cost::PerStep].into_iter().filter(|cost| design.costs.contains(cost)) {
            let mut finer = columns.clone();
            finer.push(vec![cost]);
            let rows_left = cost != Cost::PerStep || design.rows.len() > finer.len();
            if rows_left
                && let Ok(fit) = fitter.fit(&finer)
                && (fit.problems(design).is_empty() || is_last_wrong(&fits))
                && fit.is_noticed(design, cost)
            {
                columns = finer;
                fits.push(fit);
            }
        }
        let coarsest = fits[0].clone();
        fits.into_iter().rev().find(|fit| fit.problems(design).is_empty()).ok_or_else(|| {
            CalibrationError::NotPhysical { reasons: coarsest.problems(design).join("; "), remedy: REMEDY }
        })
    }

    /// The same columns fitted again, where `simulated` are the times of the rows with the present
    /// values: what the simulator adds to the linear model stays with each row.
    pub fn again(
        &self,
        design: &mut Design,
        simulated: &[f64],
        per_stage: Option<f64>,
    ) -> Result<Self, CalibrationError> {
        for (row, time) in simulated.iter().enumerate() {
            let linear = self.time(design, row, per_stage);
            design.rows[row].ideal += time - linear;
        }
        let fit = Fitter { design, per_stage, left_out: None }.fit(&self.columns)?;
        match fit.problems(design) {
            problems if problems.is_empty() => Ok(fit),
            problems => Err(CalibrationError::NotPhysical { reasons: problems.join("; "), remedy: REMEDY }),
        }
    }

    /// Whether a fixed time is a noticeable part of some row's time.
    fn is_noticed(&self, design: &Design, cost: Cost) -> bool {
        let value = self.value(cost).unwrap_or(0.0);
        design.rows.iter().any(|row| (value * design.added(row, cost)).abs() >= NOTICEABLE * row.measured)
    }

    /// What is not physical about it.
    fn problems(&self, design: &Design) -> Vec<String> {
        let mut problems = Vec::new();
        for (column, value) in self.columns.iter().zip(&self.values) {
            let name = name_of(column);
            if column[0].is_fixed() {
                let of = match column[0] {
                    Cost::PerSequence => "a sequence",
                    Cost::PerStep => "a step",
                    _ => "a stage",
                };
                if *value < 0.0 {
                    problems.push(format!("{of} would take {:.1} us besides its reads", 1e6 * value));
                }
            } else if *value <= 0.0 {
                problems.push(format!("{name} would take less than no time"));
            } else if *value < 1.0 && column[0] != Cost::Compute {
                problems.push(format!(
                    "{name} would reach {:.3} of the memory's effective {:.1} GB/s",
                    1.0 / value,
                    design.bandwidth / 1e9
                ));
            }
        }
        problems
    }

    /// The value of a cost, or the one that `per_stage` holds.
    pub fn value(&self, cost: Cost) -> Option<f64> {
        let at = self.columns.iter().position(|column| column.contains(&cost))?;
        Some(self.values[at])
    }

    /// The time of a row, in seconds.
    pub fn time(&self, design: &Design, row: usize, per_stage: Option<f64>) -> f64 {
        let (fixed, coefficients) = equation(design, row, &self.columns, per_stage);
        fixed + coefficients.iter().zip(&self.values).map(|(a, x)| a * x).sum::<f64>()
    }

    /// The relative error at each row of the same fit on all other rows; `None` where these do not
    /// determine it.
    pub fn left_out(&self, design: &Design, per_stage: Option<f64>) -> Vec<Option<f64>> {
        let error = |row: usize| {
            let fit = Fitter { design, per_stage, left_out: Some(row) }.fit(&self.columns).ok()?;
            Some(fit.time(design, row, per_stage) / design.rows[row].measured - 1.0)
        };
        (0..design.rows.len()).map(error).collect()
    }
}

/// What a fit is made on.
struct Fitter<'a> {
    design: &'a Design,
    per_stage: Option<f64>,
    left_out: Option<usize>,
}

impl Fitter<'_> {
    fn fit(&self, columns: &[Column]) -> Result<Fit, CalibrationError> {
        let rows: Vec<usize> = (0..self.design.rows.len()).filter(|row| self.left_out != Some(*row)).collect();
        let names = || columns.iter().map(|column| name_of(column)).collect::<Vec<_>>().join(" from ");
        let too_few = || CalibrationError::TooFewRows {
            rows: rows.len(),
            costs: columns.len(),
            names: names().replace(" from ", ", "),
        };
        if rows.len() < columns.len() {
            return Err(too_few());
        }
        let (mut matrix, mut right) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for row in &rows {
            let measured = self.design.rows[*row].measured;
            let (fixed, coefficients) = equation(self.design, *row, columns, self.per_stage);
            matrix.push(coefficients.iter().map(|it| it / measured).collect::<Vec<_>>());
            right.push((measured - fixed) / measured);
        }
        for (at, column) in columns.iter().enumerate().filter(|(_, column)| !column[0].is_fixed()) {
            if matrix.iter().all(|row| row[at] < NOTICEABLE) {
                let names = format!("{} from the rest", name_of(column));
                return Err(self.not_separable(names, f64::INFINITY));
            }
        }
        let Solution { unknowns, condition } = solve(&matrix, &right).ok_or_else(too_few)?;
        if condition > MOST_CONDITION {
            return Err(self.not_separable(names(), condition));
        }
        Ok(Fit { columns: columns.to_vec(), values: unknowns, condition })
    }

    fn not_separable(&self, names: String, condition: f64) -> CalibrationError {
        let bytes = self.design.rows.iter().map(|row| row.stage_bytes / 1e6);
        let (least, most) = bytes.fold((f64::MAX, 0.0f64), |(least, most), it| (least.min(it), most.max(it)));
        CalibrationError::NotSeparable { names, condition, limit: MOST_CONDITION, least, most }
    }
}

/// The equation of a row: its time is the first plus the sum of the second times the values.
fn equation(design: &Design, row: usize, columns: &[Column], per_stage: Option<f64>) -> (f64, Vec<f64>) {
    let row = &design.rows[row];
    let mut fixed = row.ideal + per_stage.map_or(0.0, |time| time * design.added(row, Cost::PerStage));
    let coefficients = columns.iter().map(|column| {
        let sum = column.iter().map(|cost| design.added(row, *cost)).sum::<f64>();
        // With ideal costs the reciprocals of a reach and of the compute rate are 1, which is in
        // the ideal time.
        if !column[0].is_fixed() {
            fixed -= sum;
        }
        sum
    });
    let coefficients = coefficients.collect();
    (fixed, coefficients)
}

/// The cost of a stage unless it is held, one reach of everything, and the compute rate.
fn coarsest(design: &Design, per_stage: Option<f64>) -> Vec<Column> {
    let is_read = |cost: &Cost| matches!(cost, Cost::Weights(_) | Cost::Kv);
    let reads: Column = design.costs.iter().copied().filter(is_read).collect();
    let stage = per_stage.is_none().then(|| vec![Cost::PerStage]);
    let compute = design.compute.map(|_| vec![Cost::Compute]);
    stage.into_iter().chain([reads]).chain(compute).collect()
}

/// The costs that may get a reach of their own: formats, those with the most time first, but for
/// the one that keeps the reach of the rest (weights without a format or, failing these, the format
/// with the most time); then KV.
fn refinements(design: &Design) -> Vec<Cost> {
    let time = |cost: Cost| design.rows.iter().map(|row| design.added(row, cost) / row.measured).sum::<f64>();
    let mut formats: Vec<Cost> =
        design.costs.iter().copied().filter(|cost| matches!(cost, Cost::Weights(Some(_)))).collect();
    formats.sort_by(|a, b| time(*b).total_cmp(&time(*a)));
    let kv = design.costs.iter().copied().filter(|cost| *cost == Cost::Kv);
    let rest = usize::from(!design.costs.contains(&Cost::Weights(None)));
    formats.into_iter().skip(rest).chain(kv).collect()
}

/// What a column is called.
pub(super) fn name_of(column: &[Cost]) -> String {
    let weights = column.iter().filter(|cost| matches!(cost, Cost::Weights(_))).count();
    match column {
        [Cost::PerStage] => "the time per stage".to_owned(),
        [Cost::PerSequence] => "the time per sequence, in each stage".to_owned(),
        [Cost::PerStep] => "the time per step".to_owned(),
        [Cost::Compute] => "compute".to_owned(),
        [Cost::Weights(Some(format))] => format!("weights in {format}"),
        [Cost::Kv] => "KV".to_owned(),
        _ if weights == column.len() => "weights".to_owned(),
        _ => "all reads".to_owned(),
    }
}
