//! What a page offers: models, machines, runtimes, strategies, and the bounds of its sliders.

use super::base::Base;
use super::fields::{FIELDS, MAX_CELLS, MAX_SIDE_BY_SIDE, MAX_STEPS, MAX_TOKENS};
use super::state::State;
use crate::catalog::{self, MEMORY_SYSTEMS, MODELS};
use crate::strategy::{NAMED, Strategy};
use serde_json::{Value, json};

/// The answer to `api/catalog`.
pub fn catalog(base: &Base) -> Value {
    let defaults = State::of(base);
    let (own_model, own_memory) = base.about();
    let model = |name: &str| catalog::model(name).map(|config| config.about).unwrap_or_default();
    let memory = |name: &str| catalog::memory(name).map(|config| config.about).unwrap_or_default();
    let mut models = vec![named(&base.model, &own_model)];
    let others = MODELS.iter().filter(|file| file.name != base.model);
    models.extend(others.map(|file| named(file.name, &model(file.name))));
    let mut memories = vec![named(&base.memory, &own_memory)];
    let others = MEMORY_SYSTEMS.iter().filter(|file| file.name != base.memory);
    memories.extend(others.map(|file| named(file.name, &memory(file.name))));
    let runtimes: Vec<Value> = catalog::runtime_names().into_iter().map(|name| named(name, "")).collect();
    json!({
        "models": models,
        "memories": memories,
        "runtimes": runtimes,
        "strategies": strategies(&base.strategies),
        "fields": fields(&defaults),
        "limits": {
            "side_by_side": MAX_SIDE_BY_SIDE, "steps": MAX_STEPS, "cells": MAX_CELLS, "tokens": MAX_TOKENS,
        },
        "defaults": defaults,
    })
}

fn named(name: &str, about: &str) -> Value {
    json!({ "name": name, "about": about })
}

/// Those with names, and those of the command line.
fn strategies(of_base: &[Strategy]) -> Vec<Value> {
    let line = |strategy: &Strategy, about: &str| json!({ "name": strategy.name(), "about": about, "knows": strategy.knowledge().to_string() });
    let known = |strategy: &&Strategy| !NAMED.iter().any(|(_, _, named)| named == *strategy);
    let of_base = of_base.iter().filter(known).map(|strategy| line(strategy, ""));
    of_base.chain(NAMED.iter().map(|(_, about, strategy)| line(strategy, about))).collect()
}

/// The fields with their values at the start; bounds are widened to these.
fn fields(defaults: &State) -> Vec<Value> {
    let defaults = json!(defaults);
    let field = |field: &super::fields::Field| {
        let mut shown = json!(field);
        let default = defaults[field.name].clone();
        if let Some(value) = default.as_f64() {
            shown["min"] = json!(field.min.min(value));
            shown["max"] = json!(field.max.max(value));
        }
        shown["default"] = default;
        shown
    };
    FIELDS.iter().map(field).collect()
}
