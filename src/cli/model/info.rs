//! `tiersim model info`: what a model stores, reads, keeps and computes.
//!
//! Equal stages are one row, whatever layers they belong to. Bytes and FLOP of a row are those of
//! one stage; the last row adds up all of them. KV and state are those of one sequence, weights
//! read those of a step of the whole batch.

use super::super::error::CliError;
use super::super::{arguments, print};
use crate::catalog;
use crate::report::{Column, Table};
use crate::units::{Bytes, SizeStyle};
use crate::workload::{LanguageModel, LayerKv, ModelStage, StageLabel};
use clap::Args;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::process::ExitCode;

/// `tiersim model info`.
#[derive(Args)]
pub(in crate::cli) struct InfoArgs {
    /// The model: a shipped one or a file
    #[arg(value_name = "MODEL", value_parser = arguments::model(), hide_possible_values = true)]
    model: String,
    /// The sequences that decode in a step: what is read of experts and embedding grows with them
    #[arg(long, value_name = "SEQUENCES", default_value = "1", value_parser = arguments::count_from_1)]
    batch: u32,
    /// The tokens of a sequence whose KV is kept
    #[arg(long, value_name = "TOKENS", default_value = "4096", value_parser = arguments::count)]
    context: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn info(args: &InfoArgs) -> Result<ExitCode, CliError> {
    let config = catalog::model(&args.model)?;
    let model = LanguageModel::new(&config).map_err(|error| CliError::Usage(format!("{}: {error}", args.model)))?;
    let info = Info { model: &model, batch: args.batch, context: args.context };
    if args.json {
        print(&format!("{:#}", info.json()))?;
    } else {
        print(&info.text(&config.about))?;
    }
    Ok(ExitCode::SUCCESS)
}

struct Info<'a> {
    model: &'a LanguageModel,
    batch: u32,
    context: u32,
}

/// Equal stages.
struct Group<'a> {
    stage: &'a ModelStage,
    /// What its layer keeps, of the attention that keeps it.
    kept: Option<&'a LayerKv>,
    layers: Vec<usize>,
}

impl Group<'_> {
    fn formats(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for name in self.stage.weights.iter().filter_map(|weights| Some(weights.format?.name())) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() { "-".to_owned() } else { names.join(", ") }
    }
}

impl Info<'_> {
    fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for stage in self.model.stages() {
            // Only attention keeps anything, so an mlp is the same in any layer.
            let kept = stage.layer.map(|layer| &self.model.kv()[layer]);
            let kept = kept.filter(|_| stage.label == StageLabel::Attention);
            let alike = |group: &&mut Group<'_>| {
                let same_kv = match (group.kept, kept) {
                    (Some(one), Some(other)) => LayerKv { source: other.source, ..*one } == *other,
                    (one, other) => one.is_none() && other.is_none(),
                };
                same_kv && ModelStage { layer: group.stage.layer, ..stage.clone() } == *group.stage
            };
            let layer = stage.layer.map(|layer| layer.index());
            match groups.iter_mut().find(alike) {
                Some(group) => group.layers.extend(layer),
                None => groups.push(Group { stage, kept, layers: layer.into_iter().collect() }),
            }
        }
        groups
    }

    /// The KV of one sequence.
    fn kv_at_context(&self) -> u64 {
        let bytes: u128 = self.model.kv().iter().map(|layer| layer.bytes_at(self.context.into())).sum();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    fn state(&self) -> Bytes {
        self.model.kv().iter().map(|layer| layer.state).sum()
    }

    fn read(&self) -> Bytes {
        self.model.stages().iter().map(|stage| stage.read_at(self.batch)).sum()
    }

    fn flop(&self) -> f64 {
        self.model.stages().iter().map(|stage| stage.flop).sum()
    }

    /// FLOP of one token for the KV that it reads.
    fn kv_flop(&self) -> f64 {
        let of_stage = |stage: &ModelStage| {
            let layer = stage.layer.filter(|_| stage.attends).map(|layer| self.model.kv()[layer]);
            layer.map_or(0.0, |kv| {
                let read = LayerKv { token_bytes: self.model.kv()[kv.source].token_bytes, ..kv };
                read.bytes_at(self.context.into()) as f64 * stage.flop_per_kv_byte
            })
        };
        self.model.stages().iter().map(of_stage).sum()
    }

    fn json(&self) -> Value {
        let known = |flop: f64| self.model.has_flop().then_some(flop);
        let stages = self.groups().into_iter().map(|group| {
            let stage = group.stage;
            let pieces = stage.weights.iter().map(|weights| {
                json!({
                    "stored_bytes": weights.stored.get(),
                    "read_bytes": weights.read_at(self.batch).get(),
                    "format": weights.format,
                })
            });
            json!({
                "label": stage.label.to_string(),
                "count": group.layers.len().max(1),
                "layers": group.layers,
                "stored_bytes": stage.stored().get(),
                "read_bytes": stage.read_at(self.batch).get(),
                "pieces": pieces.collect::<Vec<_>>(),
                "kv_bytes_per_token": group.kept.map_or(0, |kv| kv.token_bytes.get()),
                "window": group.kept.and_then(|kv| kv.window),
                "state_bytes": group.kept.map_or(0, |kv| kv.state.get()),
                "flop": known(stage.flop),
                "flop_per_kv_byte": known(stage.flop_per_kv_byte),
            })
        });
        json!({
            "model": self.model.name(),
            "batch": self.batch,
            "context": self.context,
            "parameters": self.model.parameters(),
            "active_parameters": self.model.active_parameters(),
            "layers": self.model.layers(),
            "weights_stored_bytes": self.model.stored_weights().get(),
            "weights_read_bytes": self.read().get(),
            "kv_bytes_per_token": self.model.token_bytes().get(),
            "kv_bytes_at_context": self.kv_at_context(),
            "state_bytes": self.state().get(),
            "flop_per_token": known(self.flop()),
            "kv_flop_at_context": known(self.kv_flop()),
            "stages": stages.collect::<Vec<_>>(),
        })
    }

    fn text(&self, about: &str) -> String {
        let columns = ["stages", "stored", "read", "KV of a token", "window", "state", "FLOP"];
        let names = [Column::text("stage"), Column::text("layers"), Column::text("formats")];
        let mut table = Table::new([names.to_vec(), columns.map(Column::number).to_vec()].concat());
        let size = |bytes: Bytes| SizeStyle::Decimal.shown(bytes.as_f64());
        let some = |bytes: Bytes| if bytes == Bytes::ZERO { "-".to_owned() } else { size(bytes) };
        for group in self.groups() {
            let stage = group.stage;
            let kept = group.kept;
            table.row([
                stage.label.to_string(),
                ranges(&group.layers),
                group.formats(),
                group.layers.len().max(1).to_string(),
                size(stage.stored()),
                size(stage.read_at(self.batch)),
                some(kept.map_or(Bytes::ZERO, |kv| kv.token_bytes)),
                kept.and_then(|kv| kv.window).map_or_else(|| "-".to_owned(), |window| window.to_string()),
                some(kept.map_or(Bytes::ZERO, |kv| kv.state)),
                self.shown_flop(stage.flop),
            ]);
        }
        table.row([
            "all".to_owned(),
            String::new(),
            String::new(),
            self.model.stages().len().to_string(),
            size(self.model.stored_weights()),
            size(self.read()),
            some(self.model.token_bytes()),
            String::new(),
            some(self.state()),
            self.shown_flop(self.flop()),
        ]);
        let mut lines = vec![format!("{}: {about}", self.model.name()), String::new()];
        let billions = |count: u64| format!("{:.3} B", count as f64 / 1e9);
        if let (Some(all), Some(active)) = (self.model.parameters(), self.model.active_parameters()) {
            let active = if active < all { format!(", {} of them active", billions(active)) } else { String::new() };
            lines.push(format!("{} parameters{active}, {} layers.", billions(all), self.model.layers()));
        } else {
            lines.push(format!("{} layers, given in bytes.", self.model.layers()));
        }
        let sequences = if self.batch == 1 { "one sequence".to_owned() } else { format!("{} sequences", self.batch) };
        lines.push(format!("A step of {sequences} reads {} of weights.", size(self.read())));
        lines.push(format!(
            "The KV of a sequence of {} tokens takes {}{}.",
            self.context,
            size(Bytes::new(self.kv_at_context())),
            if self.state() > Bytes::ZERO { format!(", its state {}", size(self.state())) } else { String::new() }
        ));
        if self.model.has_flop() {
            lines.push(format!(
                "A token takes {} for the weights and {} for the KV at that length.",
                self.shown_flop(self.flop()),
                self.shown_flop(self.kv_flop())
            ));
        }
        format!("{}\n\n{}", lines.join("\n"), table.render(std::io::stdout().is_terminal()))
    }

    fn shown_flop(&self, flop: f64) -> String {
        if !self.model.has_flop() {
            return "-".to_owned();
        }
        if flop == 0.0 {
            return "0 FLOP".to_owned();
        }
        const UNITS: [(f64, &str); 5] =
            [(1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1e3, "kFLOP"), (1.0, "FLOP")];
        let (unit, name) = UNITS.into_iter().find(|(unit, _)| flop >= *unit).unwrap_or(UNITS[4]);
        format!("{:.2} {name}", flop / unit)
    }
}

/// Layers as a person writes them: `0-4, 6-10, ..., 54-58`. Of many runs, the first two and the
/// last.
fn ranges(layers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &layer in layers {
        match runs.last_mut().filter(|(_, last)| *last + 1 == layer) {
            Some((_, last)) => *last = layer,
            None => runs.push((layer, layer)),
        }
    }
    let shown = |(first, last): &(usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    let mut shown: Vec<String> = runs.iter().map(shown).collect();
    if shown.len() > 4 {
        shown.splice(2..shown.len() - 1, ["...".to_owned()]);
    }
    if shown.is_empty() { "-".to_owned() } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_layers_are_short() {
        assert_eq!(ranges(&[]), "-");
        assert_eq!(ranges(&[0, 1, 2, 5]), "0-2, 5");
        assert_eq!(ranges(&[0, 2, 4, 6, 8, 9]), "0, 2, ..., 8-9");
    }

    #[test]
    fn stages_that_are_equal_are_one_group() {
        let config = catalog::model("gemma-3-27b").unwrap();
        let model = LanguageModel::new(&config).unwrap();
        let info = Info { model: &model, batch: 1, context: 32_768 };
        let rows: Vec<(String, usize)> =
            info.groups().iter().map(|group| (group.stage.label.to_string(), group.layers.len())).collect();
        let row = |label: &str, layers| (label.to_owned(), layers);
        // Sliding attention in 52 layers, full attention in 10, and one mlp in all.
        let wanted = [row("embedding", 0), row("attention", 52), row("mlp", 62), row("attention", 10), row("head", 0)];
        assert_eq!(rows, wanted);
    }
}
