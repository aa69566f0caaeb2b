//! The cells of a sweep: their runs one by one, in memory that they share.
//!
//! Cells whose attention skips the same tokens share one copy of their skip sets; cells that fit a
//! generator to the same trace fit it once. [`run_cells`] runs some cells of a plan without a
//! folder, for questions that a person waits for; [`execute`](super::execute) runs all of them into
//! one.

use super::axis::{Axis, REPEAT};
use super::shared::Shared;
use super::{Plan, Row, SweepError};
use crate::runs::{Cancel, Pool, Progress, Resources, Silent};
use crate::simulation::{Scenario, ScenarioConfig};
use crate::units::Bytes;
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

/// The most that skip sets for several cells may take.
const MOST_SHARED: Bytes = Bytes::new(2 << 30);

/// Runs `cells` of a plan, numbered as in [`Plan::levels`], in the order in which they are listed,
/// as many at a time as `resources` allow. `ended` is called with each row, on the thread that ran
/// it. Cells that the plan leaves out are skipped. The rows do not depend on the number of threads.
///
/// # Errors
/// [`SweepError`] if threads cannot be started, a cell needs more memory than there is, or `cancel`
/// was set.
pub fn run_cells(
    plan: &Plan,
    cells: impl IntoIterator<Item = u64>,
    resources: Resources,
    cancel: &Cancel,
    ended: &(dyn Fn(Row) + Sync),
) -> Result<(), SweepError> {
    let cells: Vec<(u64, Vec<usize>)> = cells.into_iter().filter_map(|cell| Some((cell, plan.levels(cell)?))).collect();
    let all = cells.len() as u64;
    let runner = Cells::new(plan, resources, cells.len(), cancel)?;
    let limit = runner.pool.memory();
    runner.pool.map(cells, |(cell, levels)| match runner.run(cell, &levels) {
        Some(Ok(row)) => {
            ended(row);
            Ok(())
        }
        Some(Err(needed)) => Err(SweepError::MemoryLimit { cells: 1, needed, limit }),
        None => Err(SweepError::Interrupted { done: 0, cells: all }),
    })?;
    Ok(())
}

/// The rows of all cells of a plan, by cell, run with the longest first.
///
/// # Errors
/// As [`run_cells`].
pub fn run_all(
    plan: &Plan,
    resources: Resources,
    cancel: &Cancel,
    ended: &(dyn Fn() + Sync),
) -> Result<Vec<Row>, SweepError> {
    let mut cells: Vec<(u64, Vec<usize>)> =
        (0..plan.cells()).filter_map(|cell| Some((cell, plan.levels(cell)?))).collect();
    Order::new(plan).sort(&mut cells);
    let rows = Mutex::new(Vec::new());
    run_cells(plan, cells.into_iter().map(|(cell, _)| cell), resources, cancel, &|row| {
        rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
        ended();
    })?;
    let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|row: &Row| row.cell);
    Ok(rows)
}

/// The row of each of these scenarios, in their order. Scenarios that a sweep would not have, such
/// as those between its cells.
///
/// # Errors
/// [`SweepError`] as of [`run_cells`].
pub fn run_configs(
    configs: Vec<ScenarioConfig>,
    resources: Resources,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Vec<Row>, SweepError> {
    let pool = Pool::new(resources, configs.len(), cancel, progress)?;
    pool.map(configs, |config| Row::of_config(config, &pool))
}

/// What the cells of a plan run with.
pub(super) struct Cells<'a> {
    plan: &'a Plan,
    order: Order<'a>,
    /// Skip sets in memory, where several cells have the same.
    shared: Option<Shared>,
    fits: Shared,
    pub pool: Pool<'a>,
}

impl<'a> Cells<'a> {
    /// At most `most` cells run at a time.
    pub fn new(plan: &'a Plan, resources: Resources, most: usize, cancel: &'a Cancel) -> Result<Self, SweepError> {
        // A quarter of the memory is for skip sets that cells share.
        let room = Bytes::new(resources.memory.get() / 4).min(MOST_SHARED);
        let resources = Resources { memory: resources.memory.saturating_sub(room), ..resources };
        Ok(Self {
            plan,
            order: Order::new(plan),
            shared: shares_skips(plan).then(|| Shared::new(room)),
            fits: Shared::new(Bytes::ZERO),
            pool: Pool::new(resources, most, cancel, &Silent)?,
        })
    }

    /// Sorts cells so that those with the most work come first, and cells with the same skip sets
    /// run one after the other.
    pub fn sort(&self, cells: &mut [(u64, Vec<usize>)]) {
        self.order.sort(cells);
    }

    /// Runs a cell: its row, or the memory that it would need. `None` if it was interrupted.
    pub fn run(&self, cell: u64, levels: &[usize]) -> Option<Result<Row, Bytes>> {
        catch_unwind(AssertUnwindSafe(|| self.simulated(cell, levels))).unwrap_or_else(|panic| {
            let what = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let what = what.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Some(Ok(Row::failed(cell, format!("tiersim panicked, which is a bug in it: {what}"))))
        })
    }

    /// The same, where a panic ends more than the cell.
    fn simulated(&self, cell: u64, levels: &[usize]) -> Option<Result<Row, Bytes>> {
        let scenario = match self.scenario(cell, levels) {
            Ok(scenario) => scenario,
            Err(refused) => return Some(Ok(refused)),
        };
        let needed = scenario.memory_needed();
        if needed > self.pool.memory() {
            return Some(Err(needed));
        }
        let _held = self.pool.hold(needed).ok()?;
        let scenario = match &self.shared {
            Some(shared) => shared.with_skips(scenario),
            None => scenario,
        };
        Row::simulated(cell, &scenario, &self.pool).map(Ok)
    }

    /// The scenario of a cell, or the row of a cell that has none.
    fn scenario(&self, cell: u64, levels: &[usize]) -> Result<Scenario, Row> {
        let config = self.plan.scenario(levels).map_err(|error| Row::failed(cell, error.to_string()))?;
        let new = |config: ScenarioConfig| Scenario::new(config).map_err(|error| Row::refused(cell, &error));
        let Some(place) = self.fits.fitted(&config) else { return new(config) };
        if let Some(trace) = place.get() {
            return new(ScenarioConfig { trace: trace.clone(), ..config });
        }
        let mut first = None;
        let trace = place.get_or_init(|| match new(config.clone()) {
            Ok(scenario) => {
                let trace = scenario.resolved().trace.clone();
                first = Some(Ok(scenario));
                trace
            }
            Err(error) => {
                first = Some(Err(error));
                config.trace.clone()
            }
        });
        first.unwrap_or_else(|| new(ScenarioConfig { trace: trace.clone(), ..config }))
    }
}

/// Whether several cells have the same skip sets: an axis changes nothing of them.
fn shares_skips(plan: &Plan) -> bool {
    plan.axes().iter().any(|axis| axis.levels.len() > 1 && !axis.paths.iter().any(|path| shapes_skips(path)))
}

fn shapes_skips(path: &str) -> bool {
    let whole = path.split('.').next().unwrap_or(path);
    ["trace", "model", "prefill_tokens", "decode_tokens", "batch", "sequences", "prefill"].contains(&whole)
}

/// Whether a field changes how much work a cell is.
fn shapes_work(path: &str) -> bool {
    shapes_skips(path) || path.starts_with("strategy") || path.starts_with("requests")
}

/// The order of cells, by estimated work: steps × tokens × layers, without a unit.
struct Order<'a> {
    plan: &'a Plan,
    /// Whether an axis changes the work; where none does, all cells have the same.
    differ: bool,
    known: Mutex<HashMap<Vec<usize>, u64>>,
}

impl<'a> Order<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            differ: plan.axes().iter().any(|axis| axis.name != REPEAT && Self::counts(axis)),
            known: Mutex::default(),
        }
    }

    fn sort(&self, cells: &mut [(u64, Vec<usize>)]) {
        let traces = |levels: &[usize]| -> Vec<usize> {
            let axes = self.plan.axes().iter().zip(levels);
            axes.filter(|(axis, _)| axis.paths.iter().any(|path| shapes_skips(path))).map(|(_, level)| *level).collect()
        };
        cells.sort_by_cached_key(|(cell, levels)| (Reverse(self.work(levels)), traces(levels), *cell));
    }

    fn counts(axis: &Axis) -> bool {
        axis.paths.iter().any(|path| shapes_work(path))
    }

    fn work(&self, levels: &[usize]) -> u64 {
        if !self.differ {
            return 0;
        }
        let axes = self.plan.axes().iter().zip(levels);
        let key: Vec<usize> = axes.map(|(axis, level)| if Self::counts(axis) { *level } else { 0 }).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known.entry(key).or_insert_with_key(|levels| {
            let Ok(mut fields) = self.plan.fields(levels, shapes_work) else { return 0 };
            if let Ok(requests) = fields.get("requests").cloned()
                && !requests.is_null()
            {
                // Of logs nobody knows before they are read: all alike, as far as counts are.
                return requests["count"].as_u64().unwrap_or(1);
            }
            let mut number = |path: &str| fields.get(path).ok().and_then(Value::as_u64).unwrap_or(1);
            let (prefill, decode, layers) = (number("prefill_tokens"), number("decode_tokens"), number("model.layers"));
            let moves = fields.get("strategy").is_ok_and(|strategy| strategy["migration"] != "None");
            let work = decode.saturating_mul(prefill + decode).saturating_mul(layers);
            if moves { work.saturating_mul(4) } else { work }
        })
    }
}
