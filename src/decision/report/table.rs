//! The table of a decision: a row for each combination of circumstances.

use super::names::{Names, level_name};
use crate::decision::{Circumstance, Decision};
use crate::report::winners::{Clarity, margin_text};
use crate::report::{Column, Table};

/// A row for each combination of circumstances: the winner, its figure, the second and how much
/// worse it is, what the winner must know, and what a million tokens cost, where there is a price.
#[must_use]
pub fn table(decision: &Decision) -> Table {
    let names = Names::new(decision);
    let varying = super::varying(decision);
    let priced = decision.circumstances.iter().flat_map(|it| &it.ranking).any(|ranked| ranked.cost.is_some());
    let gaps = decision.circumstances.iter().any(|it| !it.without.is_empty());
    let mut columns: Vec<Column> = varying
        .iter()
        .map(|axis| {
            let of = &decision.given[*axis];
            let numeric = of.levels.iter().all(|(_, number)| number.is_some());
            if numeric { Column::number(&of.name) } else { Column::text(&of.name) }
        })
        .collect();
    columns.extend([Column::text("winner"), Column::number(&names.by()), Column::text("must know")]);
    columns.extend([Column::text("second"), Column::number("worse by")]);
    if priced {
        let unit = decision.currency.as_deref().unwrap_or("price");
        columns.push(Column::number(&format!("{unit} per million tokens")));
    }
    if gaps {
        columns.push(Column::text("without a result"));
    }
    let mut table = Table::new(columns);
    for circumstance in &decision.circumstances {
        let mut row: Vec<String> =
            varying.iter().map(|axis| level_name(&decision.given[*axis], circumstance.given[*axis])).collect();
        row.extend(result(decision, &names, circumstance));
        if priced {
            let cost = circumstance.ranking.first().and_then(|first| first.cost);
            row.push(cost.map_or_else(dash, |cost| format!("{cost:.3}")));
        }
        if gaps {
            let without: Vec<String> =
                circumstance.without.iter().map(|(choice, _)| names.whole_choice(choice)).collect();
            row.push(if without.is_empty() { dash() } else { without.join("; ") });
        }
        table.row(row);
    }
    table
}

/// The winner, its figure, what it must know, the second and its margin.
fn result(decision: &Decision, names: &Names<'_>, circumstance: &Circumstance) -> [String; 5] {
    let Some(first) = circumstance.ranking.first() else { return ["none".to_owned(), dash(), dash(), dash(), dash()] };
    let margin = circumstance.margin(&decision.by).map_or_else(dash, |margin| {
        let text = margin_text(margin);
        let same = names.outcome(circumstance).clarity(decision.within) == Clarity::Same;
        if same { format!("{text} (about the same)") } else { text }
    });
    let second = circumstance.ranking.get(1).map_or_else(dash, |second| names.whole_choice(&second.choice));
    [names.whole_choice(&first.choice), names.value(first.value), first.knows.to_string(), second, margin]
}

fn dash() -> String {
    "-".to_owned()
}

/// A row for each crossover: along what, where, from which winner to which.
pub(super) fn crossovers(decision: &Decision, names: &Names<'_>) -> Table {
    let columns = ["along", "in", "changes at", "below", "above"];
    let mut table = Table::new(columns.map(Column::text).to_vec());
    for crossover in &decision.crossovers {
        let others: Vec<usize> = super::varying(decision).into_iter().filter(|axis| *axis != crossover.along).collect();
        let within = names.given(&crossover.given, &others);
        table.row([
            decision.given[crossover.along].name.clone(),
            if within.is_empty() { "all".to_owned() } else { within },
            names.crossover(crossover),
            names.whole_choice(&crossover.from),
            names.whole_choice(&crossover.to),
        ]);
    }
    table
}
