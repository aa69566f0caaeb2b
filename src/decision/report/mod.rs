//! How a decision is shown: a table, one picture and a page.
//!
//! The picture depends on the circumstances that have several values. Two or more make a map of
//! winners over the two that change the winner most, in panels for the others; one that is a number
//! makes lines with the crossovers; one that is not, or none, makes bars. The page has the same,
//! and the whole ranking as a table. Choices have the same order, names and colours everywhere.

mod bars;
mod lines;
mod map;
mod names;
mod page;
mod table;

pub use table::table;

use super::Decision;
use crate::report::html::Part;
use crate::report::{Artifact, ReportError};
use names::Names;

/// The name of the pictures, without an ending.
const PICTURE: &str = "decision";

/// `decision.svg`, `decision.png` and `report.html`. `command` repeats the decision; where it is
/// empty, the page has none.
///
/// # Errors
/// [`ReportError`] if one cannot be made.
pub fn files(decision: &Decision, command: &str) -> Result<Vec<Artifact>, ReportError> {
    let names = Names::new(decision);
    let mut files = Vec::from(picture(decision, &names)?);
    files.push(page::page(decision, &names, command)?);
    Ok(files)
}

/// The section of a page with the map of winners: title, note and content. `None` if fewer than two
/// circumstances have several values.
#[must_use]
pub fn winner_section(decision: &Decision) -> Option<(String, String, Part<'static>)> {
    page::winners(decision, &Names::new(decision))
}

/// The picture of the decision, `decision.svg` and `decision.png`.
fn picture(decision: &Decision, names: &Names<'_>) -> Result<[Artifact; 2], ReportError> {
    if let Some(sides) = map::sides(decision, names) {
        return map::picture(decision, names, &sides);
    }
    match varying(decision)[..] {
        [only] if decision.given[only].levels.iter().all(|(_, number)| number.is_some()) => {
            lines::picture(decision, names, only)
        }
        _ => bars::picture(decision, names),
    }
}

/// The places of the circumstances that have several values.
fn varying(decision: &Decision) -> Vec<usize> {
    (0..decision.given.len()).filter(|axis| decision.given[*axis].levels.len() > 1).collect()
}
