//! A map of winners over two fields: the coarse grid first, then the cells between.

use super::answer::tpot;
use super::app::App;
use super::error::Refused;
use super::fields::{Field, MAX_CELLS, MAX_SIDE_BY_SIDE, field_named};
use super::lines::Writer;
use super::simulate::{Ran, simulate};
use super::state::State;
use crate::metrics::Summary;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a page asks for.
#[derive(Clone, Debug, Deserialize)]
pub struct Question {
    /// Its other fields.
    pub state: State,
    /// Across.
    pub x: Axis,
    /// Down.
    pub y: Axis,
    /// What there is to choose.
    pub choose: Choose,
    /// The machines to choose from.
    #[serde(default)]
    pub memories: Vec<String>,
    /// The figure that decides.
    pub by: By,
}

/// A field and its values.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Axis {
    pub field: String,
    pub values: Vec<f64>,
}

/// What is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choose {
    /// One of the state's strategies.
    Strategy,
    /// One of the memory systems, with the state's first strategy.
    Memory,
}

/// The figure by which choices are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Less is better.
    Tpot,
    /// More is better.
    TokensPerS,
}

/// A cell that is done: places of its values and of the winner.
#[derive(Debug, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Cell {
    pub x: usize,
    pub y: usize,
    pub winner: Option<usize>,
    /// By how much the second is worse; `None` where there is no second.
    pub margin: Option<f64>,
    pub value: Option<f64>,
    /// Of all choices, in their order; `None` of those that cannot run.
    pub values: Vec<Option<f64>>,
    /// Why none can run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A map that is checked, and how far it is.
pub struct Map {
    question: Question,
    x: &'static Field,
    y: &'static Field,
    order: Vec<(usize, usize)>,
    begun: AtomicUsize,
    done: AtomicUsize,
}

impl Map {
    /// Checks what needs no look at the machine.
    ///
    /// # Errors
    /// [`Refused`] with what is to blame.
    pub fn new(question: Question) -> Result<Self, Refused> {
        let axis = |axis: &Axis| {
            let name: String = axis.field.chars().take(40).collect();
            field_named(&axis.field)
                .ok_or_else(|| Refused::malformed(format!("there is no field '{name}' for an axis")))
        };
        let (x, y) = (axis(&question.x)?, axis(&question.y)?);
        if x.name == y.name {
            return Err(Refused::value(y.name, "both axes have the same field: choose another"));
        }
        let (columns, rows) = (question.x.values.len(), question.y.values.len());
        let cells = columns.saturating_mul(rows);
        if !(1..=MAX_CELLS).contains(&cells) {
            return Err(Refused::value(x.name, format!("{cells} cells: a map has 1 to {MAX_CELLS}")));
        }
        let choices = match question.choose {
            Choose::Strategy => question.state.strategies.len(),
            Choose::Memory => question.memories.len(),
        };
        if !(1..=MAX_SIDE_BY_SIDE).contains(&choices) {
            let field = if question.choose == Choose::Strategy { "strategies" } else { "memory" };
            return Err(Refused::value(field, format!("{choices} choices: a map has 1 to {MAX_SIDE_BY_SIDE}")));
        }
        let (begun, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Ok(Self { question, x, y, order: coarse_first(columns, rows), begun, done })
    }

    /// The most parts of its answer.
    pub fn parts(&self) -> usize {
        self.order.len() + 2
    }

    /// Sends its first line, and simulates its cells on the threads that are for cells.
    pub fn fill(self, app: &Arc<App>, writer: &Writer) {
        writer.line(&json!({ "cells": self.order.len(), "order": self.order }));
        let map = Arc::new(self);
        for _ in 0..app.workers.for_cells().min(map.order.len()) {
            map.go_on(app, writer);
        }
    }

    /// Puts its next cell into the queue, if there is one.
    fn go_on(self: &Arc<Self>, app: &Arc<App>, writer: &Writer) {
        let index = self.begun.fetch_add(1, Ordering::Relaxed);
        let Some(&(x, y)) = self.order.get(index) else { return };
        let (map, of_task, writer) = (Arc::clone(self), Arc::clone(app), writer.clone());
        app.workers.cell(move || {
            if writer.is_over() {
                return writer.end();
            }
            let cell = catch_unwind(AssertUnwindSafe(|| map.cell(&of_task, (x, y), &writer)));
            match cell.unwrap_or_else(|_| Err(Refused::panicked())) {
                Ok(Some(cell)) => writer.line(&cell),
                Ok(None) => return writer.end(),
                Err(refused) => writer.line(&Cell::without((x, y), 0, refused.message)),
            }
            if map.done.fetch_add(1, Ordering::AcqRel) + 1 == map.order.len() {
                writer.last_line(&json!({ "done": true }));
            }
            map.go_on(&of_task, &writer);
        });
    }

    /// `None` if it is not wanted any more.
    fn cell(&self, app: &App, (x, y): (usize, usize), writer: &Writer) -> Result<Option<Cell>, Refused> {
        let Question { state, choose, memories, by, .. } = &self.question;
        let state = state.clone().with(self.x.name, self.question.x.values[x])?;
        let state = state.with(self.y.name, self.question.y.values[y])?;
        let states: Vec<State> = match choose {
            Choose::Strategy => vec![state],
            Choose::Memory => {
                let strategies: Vec<String> = state.strategies.iter().take(1).cloned().collect();
                let with =
                    |name: &String| State { memory: name.clone(), strategies: strategies.clone(), ..state.clone() };
                memories.iter().map(with).collect()
            }
        };
        let mut ran: Vec<Ran> = Vec::new();
        for state in states {
            let steps = state.steps;
            let scenarios = state.checked(&app.base).and_then(|setting| setting.scenarios(&app.base, steps));
            match (scenarios, choose) {
                (Ok(scenarios), _) => match simulate(&scenarios, &app.room, writer) {
                    Some(all) => ran.extend(all),
                    None => return Ok(None),
                },
                // A machine without a link is not chosen where a slider sets one.
                (Err(refused), Choose::Memory) => ran.push(Err(refused.message)),
                (Err(refused), Choose::Strategy) => return Err(refused),
            }
        }
        Ok(Some(ranked((x, y), *by, &ran)))
    }
}

impl Cell {
    fn without((x, y): (usize, usize), choices: usize, error: String) -> Self {
        Self { x, y, winner: None, margin: None, value: None, values: vec![None; choices], error: Some(error) }
    }
}

/// The cell that these runs make.
fn ranked((x, y): (usize, usize), by: By, ran: &[Ran]) -> Cell {
    let figure = |summary: &Summary| match by {
        By::Tpot => tpot(summary),
        By::TokensPerS => summary.tokens_per_s,
    };
    let values: Vec<Option<f64>> = ran.iter().map(|run| figure(&run.as_ref().ok()?.summary)).collect();
    let mut order: Vec<(usize, f64)> =
        values.iter().enumerate().filter_map(|(index, value)| Some((index, (*value)?))).collect();
    // Of equal ones the first is the winner.
    order.sort_by(|a, b| if by == By::Tpot { a.1.total_cmp(&b.1) } else { b.1.total_cmp(&a.1) });
    let Some(&(winner, value)) = order.first() else {
        let error = ran.iter().find_map(|run| run.as_ref().err().cloned());
        return Cell::without((x, y), ran.len(), error.unwrap_or_else(|| "no choice has this figure".to_owned()));
    };
    let ratio = |second: f64| if by == By::Tpot { second / value } else { value / second };
    let margin = order.get(1).map(|(_, second)| ratio(*second) - 1.0);
    Cell { x, y, winner: Some(winner), margin, value: Some(value), values, error: None }
}

/// The cells of a grid: its corners first, then those halfway between, and so on.
fn coarse_first(columns: usize, rows: usize) -> Vec<(usize, usize)> {
    let (mut order, mut known) = (Vec::new(), HashSet::new());
    let mut stride = columns.max(rows).next_power_of_two();
    while stride > 0 {
        let along = |count: usize| (0..count).filter(move |at| at % stride == 0 || at + 1 == count);
        let cells = along(rows).flat_map(|y| along(columns).map(move |x| (x, y)));
        order.extend(cells.filter(|cell| known.insert(*cell)));
        stride /= 2;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_come_first_and_every_cell_once() {
        let order = coarse_first(5, 3);
        assert_eq!(order[..4], [(0, 0), (4, 0), (0, 2), (4, 2)]);
        for (columns, rows) in [(1, 1), (1, 7), (20, 20), (5, 3), (9, 7)] {
            let order = coarse_first(columns, rows);
            let all: HashSet<_> = order.iter().copied().collect();
            assert_eq!((order.len(), all.len()), (columns * rows, columns * rows));
            assert!(all.iter().all(|(x, y)| *x < columns && *y < rows));
        }
    }
}
