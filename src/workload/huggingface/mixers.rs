//! Which layer mixes tokens how: attention to all tokens, to a window of them, or something else.

use super::fields::Fields;
use super::names::WINDOW;
use super::refusal::Refusal;

/// How a layer mixes tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mixer {
    /// Attention to all tokens.
    Full,
    /// Attention to the last tokens.
    Window(u32),
    /// What `layer_types` calls it, where it is neither.
    Named(String),
}

/// Which layers have a sliding window where `layer_types` does not say.
#[derive(Clone, Copy)]
pub(super) enum Windows {
    /// None.
    Never,
    /// All, of `sliding_window` tokens; of this many (none where 0) where the file does not have
    /// the field.
    All(u32),
    /// All but every n-th.
    Every(u32),
    /// Those from `max_window_layers` on, if `use_sliding_window`.
    From,
}

/// How each of the layers mixes tokens.
pub(super) fn mixers(fields: &Fields<'_>, layers: u32, windows: Windows) -> Result<Vec<Mixer>, Refusal> {
    fields.seen(&["use_sliding_window", "max_window_layers", "sliding_window_pattern", "_sliding_window_pattern"]);
    fields.seen(WINDOW);
    if let Some(types) = fields.words("layer_types")? {
        fields.check_length("layer_types", types.len(), layers)?;
        return types.into_iter().map(|kind| named(fields, kind)).collect();
    }
    let window = window(fields)?;
    let mixers = |slides: &dyn Fn(u32) -> bool, window: u32| {
        (0..layers).map(|layer| if slides(layer) { Mixer::Window(window) } else { Mixer::Full }).collect()
    };
    let full = || Ok(vec![Mixer::Full; layers as usize]);
    match (windows, window) {
        (Windows::All(default), None) if default > 0 && !fields.has(WINDOW[0]) => {
            fields.assume(WINDOW[0], default);
            Ok(mixers(&|_| true, default))
        }
        (_, None) => full(),
        (Windows::Never, Some(Length::Window(window))) => {
            fields.notes().ignored(format!("{} = {window}: the family has no sliding windows", fields.path(WINDOW[0])));
            full()
        }
        (_, Some(Length::Never)) => full(),
        (Windows::All(_), Some(Length::Window(window))) => Ok(mixers(&|_| true, window)),
        (Windows::Every(default), Some(Length::Window(window))) => match fields.get("sliding_window_pattern") {
            Some(serde_json::Value::String(letters)) => by_letters(fields, letters, layers, window),
            _ => {
                let names = ["sliding_window_pattern", "_sliding_window_pattern"];
                let every = fields.at_least_1(&names)?.unwrap_or(default);
                Ok(mixers(&|layer| !(layer + 1).is_multiple_of(every), window))
            }
        },
        (Windows::From, Some(Length::Window(window))) => {
            if !fields.flag("use_sliding_window")?.unwrap_or(false) {
                return full();
            }
            let from = fields.count(&["max_window_layers"])?;
            Ok(mixers(&|layer| layer >= from, window))
        }
    }
}

/// A window's length, or that it is as long as the longest context.
enum Length {
    Window(u32),
    Never,
}

fn window(fields: &Fields<'_>) -> Result<Option<Length>, Refusal> {
    let Some(window) = fields.optional(WINDOW)?.filter(|window| *window > 0) else { return Ok(None) };
    match fields.optional(&["max_position_embeddings"])? {
        Some(most) if window >= most => {
            fields.notes().understood(format!(
                "the sliding window of {window} tokens is never full: contexts have at most {most}"
            ));
            Ok(Some(Length::Never))
        }
        _ => Ok(Some(Length::Window(window))),
    }
}

/// What an entry of `layer_types` stands for.
fn named(fields: &Fields<'_>, kind: &str) -> Result<Mixer, Refusal> {
    match kind {
        "full_attention" | "attention" => Ok(Mixer::Full),
        "sliding_attention" => match window(fields)? {
            Some(Length::Window(window)) => Ok(Mixer::Window(window)),
            Some(Length::Never) => Ok(Mixer::Full),
            None => Err(Refusal::missing(
                fields.path(WINDOW[0]),
                "layer_types has layers of sliding_attention: give their window in tokens",
            )),
        },
        "chunked_attention" => chunk(fields),
        other => Ok(Mixer::Named(other.to_owned())),
    }
}

/// Attention to the tokens of the present chunk.
pub(super) fn chunk(fields: &Fields<'_>) -> Result<Mixer, Refusal> {
    let chunk = fields.count(&["attention_chunk_size"])?;
    fields.notes().assumed(format!(
        "attention in chunks of {chunk} tokens reads a sliding window of {chunk}: the most that a chunk has, twice its mean"
    ));
    Ok(Mixer::Window(chunk))
}

/// `LLLG`: L has a window, G has none, over and over.
fn by_letters(fields: &Fields<'_>, letters: &str, layers: u32, window: u32) -> Result<Vec<Mixer>, Refusal> {
    let mut cycle = Vec::new();
    for letter in letters.chars() {
        cycle.push(match letter {
            'L' => Mixer::Window(window),
            'G' => Mixer::Full,
            other => {
                let problem = format!("has '{other}': L is a layer with a window, and G one without");
                return Err(Refusal::value(fields.path("sliding_window_pattern"), format!("'{letters}'"), problem));
            }
        });
    }
    if cycle.is_empty() {
        return Err(Refusal::value(fields.path("sliding_window_pattern"), "''", "is empty: write such as LLLG"));
    }
    Ok((0..layers as usize).map(|layer| cycle[layer % cycle.len()].clone()).collect())
}
