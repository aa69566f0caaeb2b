//! The answer to a slider: a few steps at once, then more, until all are simulated.
//!
//! A run of few steps is a run of its own, so that each stage's command gives the same figures. A
//! stage in between is left out where all steps are expected within [`SOON`].

use super::answer::{Answer, Machine, RunAnswer};
use super::app::App;
use super::error::Refused;
use super::lines::Writer;
use super::simulate::simulate;
use super::state::Setting;
use std::time::{Duration, Instant};

/// The steps of the first stages.
const FEW: [u32; 2] = [4, 16];
/// The most stages.
pub const STAGES: usize = FEW.len() + 1;
/// An answer within this time needs no estimate before it.
const SOON: Duration = Duration::from_millis(120);

/// Sends a line for each stage.
pub fn refine(app: &App, setting: &Setting, writer: &Writer) {
    let key = serde_json::to_string(&setting.state).unwrap_or_default();
    if let Some(known) = app.remembered.get(&key) {
        return writer.last_line(&known);
    }
    let wanted = setting.state.steps;
    let warmup = app.base.config.warmup_steps;
    let mut stages =
        FEW.into_iter().map(|steps| steps + warmup).filter(|steps| *steps < wanted).chain([wanted]).peekable();
    while let Some(steps) = stages.next() {
        let answer = match stage(app, setting, steps, writer) {
            Ok(Some(answer)) => answer,
            Ok(None) => return writer.end(),
            Err(refused) => return writer.refuse(refused),
        };
        if answer.refined {
            writer.last_line(&answer);
            return app.remembered.put(key, answer);
        }
        writer.line(&answer);
        let expected = answer.ms / 1e3 * f64::from(wanted) / f64::from(steps);
        if Duration::try_from_secs_f64(expected).is_ok_and(|expected| expected < SOON) {
            while stages.next_if(|steps| *steps < wanted).is_some() {}
        }
    }
}

/// `None` if it is not wanted any more.
fn stage(app: &App, setting: &Setting, steps: u32, writer: &Writer) -> Result<Option<Answer>, Refused> {
    let begun = Instant::now();
    let scenarios = setting.scenarios(&app.base, steps)?;
    let Some(ran) = simulate(&scenarios, &app.room, writer) else { return Ok(None) };
    let runs = scenarios.iter().zip(&ran).map(|((strategy, _), ran)| RunAnswer::of(*strategy, ran)).collect();
    Ok(Some(Answer {
        steps,
        refined: steps == setting.state.steps,
        ms: begun.elapsed().as_secs_f64() * 1e3,
        machine: Machine::of(&setting.machine),
        command: setting.command(&app.base, steps),
        runs,
    }))
}
