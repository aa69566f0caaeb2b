//! The page of a decision: the question, the answer, the map of winners, the figure over each
//! circumstance that is a number, the crossovers, the whole ranking, and the command that repeats
//! it.

use super::names::Names;
use super::{bars, lines, map, table, varying};
use crate::decision::{Circumstance, Decision, DecisionAxis, Ranked};
use crate::report::html::{self, Circumstances, Document, Part, Section, Winners, WinnersAxis, WinnersCell};
use crate::report::{Artifact, Column, ReportError, Table};

/// The most panels of a map and of lines, as in a sweep's page.
const MOST_PANELS: usize = 24;
/// The most circumstances that have bars.
const MOST_BARS: usize = 24;

/// The most circumstances of a map whose axes can be chosen, so that a page opens quickly.
const MOST_CELLS: usize = 4_000;

/// A title, a note and the content of a section.
pub(super) type Titled<'a> = (String, String, Part<'a>);

pub(super) fn page(decision: &Decision, names: &Names<'_>, command: &str) -> Result<Artifact, ReportError> {
    let ranking = table(decision);
    let crossovers = table::crossovers(decision, names);
    let without = without(decision, names);
    let mut sections = pictures(decision, names);
    if !decision.crossovers.is_empty() {
        let note = "Where the winner changes along a circumstance, found by more runs between its values.";
        sections.push(("Crossovers".to_owned(), note.to_owned(), Part::Table(&crossovers)));
    }
    let note = format!(
        "Each combination of circumstances: the winner, and by how much the second is worse. Choices within {} % count as about the same.",
        (1000.0 * decision.within).round() / 10.0
    );
    sections.push(("Ranking".to_owned(), note, Part::Table(&ranking)));
    if let Some(without) = &without {
        let note = "Choices that do not fit, or whose run failed, with the reason.";
        sections.push(("Without a result".to_owned(), note.to_owned(), Part::Table(without)));
    }
    let mut command_table = Table::new(vec![Column::text("command")]);
    command_table.row([command.to_owned()]);
    if !command.is_empty() {
        let note = "This command repeats the decision.";
        sections.push(("Repeat".to_owned(), note.to_owned(), Part::Table(&command_table)));
    }
    let sections: Vec<Section<'_>> =
        sections.iter().map(|(title, note, part)| Section { title, note, part: part.clone() }).collect();
    let mut answer = decision.answer.clone();
    let fixed = names.fixed();
    if !fixed.is_empty() {
        answer.push(format!("Everywhere: {fixed}."));
    }
    let question = names.question();
    html::document(&Document { title: "Decision", question: &question, answer: &answer, sections: &sections })
}

/// The sections with pictures: the map, and lines or bars.
fn pictures(decision: &Decision, names: &Names<'_>) -> Vec<Titled<'static>> {
    let mut sections: Vec<Titled<'static>> = Vec::new();
    let shown = |panels: usize, all: usize| match all {
        all if all > panels => {
            format!(" Shown are the first {panels} of {all} combinations of the other circumstances.")
        }
        _ => String::new(),
    };
    sections.extend(winners(decision, names));
    let numeric: Vec<usize> = varying(decision)
        .into_iter()
        .filter(|axis| decision.given[*axis].levels.iter().all(|(_, number)| number.is_some()))
        .collect();
    for along in &numeric {
        let (facets, all) = lines::facets(decision, names, *along, MOST_PANELS);
        let mut note = format!(
            "{} over {}, a line for each {}.{}",
            names.label(),
            decision.given[*along].name,
            names.chosen(),
            shown(facets.panels.len(), all)
        );
        if let Some(sentence) = lines::left_out(names) {
            note += &format!(" {sentence}");
        }
        sections.push((format!("Over {}", decision.given[*along].name), note, Part::Lines(facets)));
    }
    if numeric.is_empty() {
        let tables = bars::tables(decision, names, MOST_BARS);
        let note = format!("{}, the best first.{}", names.by(), shown(tables.len(), decision.circumstances.len()));
        sections.push(("Choices".to_owned(), note, Part::Bars(tables)));
    }
    sections
}

/// The map of winners; `None` if fewer than two circumstances have several values.
pub(super) fn winners(decision: &Decision, names: &Names<'_>) -> Option<Titled<'static>> {
    let sides = map::sides(decision, names)?;
    let (map, all) = map::map(decision, names, &sides, MOST_PANELS);
    let note = format!(
        "The {} with the best {} in each cell, and by how much the second is worse.{}",
        names.chosen(),
        names.by(),
        shown(map.panels.len(), all)
    );
    let winners = Winners { map, all: circumstances(decision, names, &sides) };
    Some(("Map of winners".to_owned(), note, Part::Winners(Box::new(winners))))
}

/// A sentence on what is not shown; empty if all is.
fn shown(panels: usize, all: usize) -> String {
    match all {
        all if all > panels => {
            format!(" Shown are the first {panels} of {all} combinations of the other circumstances.")
        }
        _ => String::new(),
    }
}

/// The circumstances for the script of the map; `None` if they are too many.
fn circumstances(decision: &Decision, names: &Names<'_>, sides: &map::Sides) -> Option<Circumstances> {
    let axis = |axis: &DecisionAxis| WinnersAxis {
        name: axis.name.clone(),
        levels: axis.levels.iter().map(|(name, _)| name.clone()).collect(),
        numeric: axis.levels.iter().all(|(_, number)| number.is_some()),
    };
    let ranked = |it: &Ranked| {
        let name = names.whole_choice(&it.choice);
        (names.place(&it.choice), it.value, names.value(it.value), name, it.knows.to_string())
    };
    let cell = |it: &Circumstance| WinnersCell {
        given: it.given.clone(),
        ranking: it.ranking.iter().map(ranked).collect(),
        without: it.without.iter().map(|(choice, why)| (names.whole_choice(choice), why.clone())).collect(),
    };
    (decision.circumstances.len() <= MOST_CELLS).then(|| Circumstances {
        axes: decision.given.iter().map(axis).collect(),
        x: sides.x,
        y: sides.y,
        choices: names.choices(),
        by: names.by(),
        more: decision.by.more_is_better,
        within: decision.within,
        cells: decision.circumstances.iter().map(cell).collect(),
    })
}

/// The choices without a result, each once with its first reason; `None` if there are none.
fn without(decision: &Decision, names: &Names<'_>) -> Option<Table> {
    let mut table = Table::new(["choice", "in", "reason"].map(Column::text).to_vec());
    let mut known: Vec<(&[usize], &str)> = Vec::new();
    for circumstance in &decision.circumstances {
        for (choice, why) in &circumstance.without {
            if !known.contains(&(choice, why)) {
                known.push((choice, why));
                let given = names.given(&circumstance.given, &varying(decision));
                table.row([names.whole_choice(choice), given, why.clone()]);
            }
        }
    }
    (!known.is_empty()).then_some(table)
}
