//! How a quantized checkpoint stores the parts of a model.
//!
//! [`methods`] reads `quantization_config` into formats and the modules that have them; [`parts`]
//! knows what the modules of a part are called; here the two meet. A part that is stored alike in
//! most layers has its format in the architecture, and the layers that differ say so themselves.
//! Norms and biases are not quantized; their bytes are those of the formats' formulas.

mod methods;
mod parts;
mod patterns;

use super::fields::Fields;
use super::refusal::Refusal;
use super::shape::Draft;
use crate::workload::{Format, LayerConfig};
use methods::Stored;
use parts::{EMBEDDING, HEAD, Part, modules};
use std::collections::BTreeMap;

/// Sets the formats of `draft`, whose weights are stored in `base` where they are not converted.
pub(super) fn apply(fields: &Fields<'_>, draft: &mut Draft, base: Format) -> Result<(), Refusal> {
    let stored = methods::read(fields)?;
    let formats = &mut draft.architecture.formats;
    formats.weights = base;
    if let Some(kv) = stored.kv {
        formats.kv = kv;
    }
    let whole = |names: &[&str]| of(&stored, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    if stored.head {
        formats.head = whole(HEAD);
        // Embeddings are no linear modules: only a pattern of their own converts them.
        formats.embedding = whole(EMBEDDING).filter(|_| stored.groups.iter().all(|(_, patterns)| patterns.len() > 1));
    }
    for part in Part::ALL {
        let each: Vec<Option<Format>> = draft
            .layers
            .iter()
            .enumerate()
            .map(|(index, layer)| part_format(fields, &stored, part, index, layer, base))
            .collect();
        spread(draft, part, &each, base);
    }
    fields.notes().understood(described(draft));
    Ok(())
}

/// How one of these names is stored; none if it is not converted.
fn of(stored: &Stored, names: &[String]) -> Option<Format> {
    let any =
        |patterns: &[patterns::Pattern]| patterns.iter().any(|pattern| names.iter().any(|name| pattern.matches(name)));
    if any(&stored.ignore) {
        return None;
    }
    stored.groups.iter().find(|(_, patterns)| any(patterns)).map(|(format, _)| *format)
}

/// The format of a part of a layer; none where the layer has no such part. Where its modules
/// differ, that of most of them.
fn part_format(
    fields: &Fields<'_>,
    stored: &Stored,
    part: Part,
    index: usize,
    layer: &LayerConfig,
    base: Format,
) -> Option<Format> {
    let mut counts: BTreeMap<Format, usize> = BTreeMap::new();
    for names in modules(part, index, layer) {
        *counts.entry(of(stored, &names).unwrap_or(base)).or_default() += 1;
    }
    if counts.len() > 1 {
        let several: Vec<String> = counts.keys().map(Format::to_string).collect();
        fields.notes().assumed(format!(
            "the matrices of {} are stored as {} in one layer: all are counted as most of them",
            part.name(),
            several.join(" and ")
        ));
    }
    counts.into_iter().max_by_key(|(format, count)| (*count, *format)).map(|(format, _)| format)
}

/// The format of most layers is the architecture's; the others say theirs.
fn spread(draft: &mut Draft, part: Part, each: &[Option<Format>], base: Format) {
    let mut counts: BTreeMap<Format, usize> = BTreeMap::new();
    for format in each.iter().flatten() {
        *counts.entry(*format).or_default() += 1;
    }
    let Some(most) = counts.into_iter().max_by_key(|(_, count)| *count).map(|(format, _)| format) else { return };
    let formats = &mut draft.architecture.formats;
    let whole = match part {
        Part::Attention => &mut formats.attention,
        Part::Mlp => &mut formats.mlp,
        Part::Experts => &mut formats.experts,
        Part::Shared => &mut formats.shared,
    };
    // Shared experts are as the routed ones where nothing is said.
    *whole = (most != base || part == Part::Shared).then_some(most);
    for (layer, format) in draft.layers.iter_mut().zip(each) {
        let own = match part {
            Part::Attention => &mut layer.formats.attention,
            Part::Mlp => &mut layer.formats.mlp,
            Part::Experts => &mut layer.formats.experts,
            Part::Shared => &mut layer.formats.shared,
        };
        *own = format.filter(|format| *format != most);
    }
}

fn described(draft: &Draft) -> String {
    let formats = &draft.architecture.formats;
    let part = |name: &str, format: Option<Format>| format.map(|format| format!("{name} {format}"));
    let parts = [
        part("attention", formats.attention),
        part("mlp", formats.mlp),
        part("experts", formats.experts),
        part("shared experts", formats.shared),
        part("head", formats.head),
        Some(format!("all other weights {}", formats.weights)),
    ];
    format!("quantization: {}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}
