//! Hugging Face configurations: a published `config.json` becomes a model with an `architecture`.
//!
//! * [`import`] is the way in. `json` reads the text and knows the line of a field; `fields` looks
//!   fields up, by all the names that families have for them.
//! * `families` has a line for each family: a common `shape` with what its modelling code fixes, or
//!   a reader of its own. `mixers` and `mlp` find out which layers have windows and experts.
//! * `quantization` reads how a quantized checkpoint stores which part.
//! * `blocks` finds the cycles of equal layers.
//!
//! Nothing is guessed in silence. What a configuration leaves to its family's code is noted as
//! assumed; what changes no bytes, and towers for images and sound, as ignored; a field that no
//! reader knows is named. What cannot be expressed is refused by name.
//!
//! A new family is a line in `families/mod.rs`, with a constant in `families/shapes.rs` or a file.

mod blocks;
mod families;
mod fields;
mod json;
mod mixers;
mod mlp;
mod names;
mod notes;
mod quantization;
mod refusal;
mod shape;
mod written;

use crate::config::{ConfigError, did_you_mean};
use crate::workload::{Format, ModelConfig};
use families::{Reader, inner_defaults, known, reader};
use fields::Fields;
use json::Document;
use names::{HARMLESS, PREDICTORS, TOWERS};
use notes::Notes;
use refusal::{BY_HAND, Refusal};
use shape::Draft;

/// What a person sets by hand.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// How the model is called in reports.
    pub name: String,
    /// The format of all weights, in the place of what the configuration says.
    pub weights: Option<Format>,
    /// The format of keys and values, likewise.
    pub kv: Option<Format>,
    /// The text of a `hf_quant_config.json` beside the configuration, with its name.
    pub quantization: Option<(String, String)>,
}

/// An imported model, and how it came about.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The model.
    pub model: ModelConfig,
    /// What was read, in sentences.
    pub understood: Vec<String>,
    /// What the configuration does not say.
    pub assumed: Vec<String>,
    /// What has no place in a decode step, and fields that are not known.
    pub ignored: Vec<String>,
}

/// Imports the configuration in `text`, which is called `origin` in messages.
///
/// # Errors
/// [`ConfigError`] with the line and the field: for what is no JSON, for an architecture
/// that is not understood, for fields that are missing, absurd or contradictory, for a quantization
/// that is not understood.
pub fn import(text: &str, origin: &str, options: &ImportOptions) -> Result<Imported, ConfigError> {
    let document = Document::new(text, origin)?;
    let notes = Notes::default();
    let quantization = match &options.quantization {
        Some((name, text)) => Some((Document::new(text, name)?, name)),
        None => None,
    };
    let (mut draft, root, text) = draft(&document, &notes).map_err(|refusal| document.error(&refusal))?;
    formats(&mut draft, (&root, text.as_ref()), options, quantization.is_some())
        .map_err(|refusal| document.error(&refusal))?;
    if let Some((quantization, name)) = quantization.filter(|_| options.weights.is_none()) {
        let fields = Fields::new(quantization.root(), "", &notes);
        let apply = |draft: &mut Draft| {
            let base = draft.architecture.formats.weights;
            match fields.object("quantization")? {
                Some(inner) => quantization::apply(&inner, draft, base),
                None => quantization::apply(&fields, draft, base),
            }
        };
        apply(&mut draft).map_err(|refusal| quantization.error(&refusal))?;
        notes.understood(format!("the quantization is read from {name}"));
    }
    if let Some(kv) = options.kv {
        draft.architecture.formats.kv = kv;
    }
    notes.understood(format!("KV is kept as {}", draft.architecture.formats.kv));
    leftovers(&root, text.as_ref(), &notes);
    let mut architecture = draft.architecture;
    architecture.blocks = blocks::blocks(&draft.layers);
    let (understood, assumed, ignored) = notes.into_lists();
    let about = format!("imported from a Hugging Face configuration by tiersim {}", env!("CARGO_PKG_VERSION"));
    let model =
        ModelConfig { name: options.name.clone(), about, architecture: Some(architecture), ..ModelConfig::default() };
    Ok(Imported { model, understood, assumed, ignored })
}

/// Objects that hold the decoder of a model with several parts.
const DECODERS: [&str; 5] = ["text_config", "language_config", "llm_config", "thinker_config", "text_model"];

/// The layers, and the fields that they were read from: those of the file, and those of the object
/// in it that holds the decoder, if there is one.
fn draft<'a>(document: &'a Document<'_>, notes: &'a Notes) -> Result<(Draft, Fields<'a>, Option<Fields<'a>>), Refusal> {
    let root = Fields::new(document.root(), "", notes);
    let mut text: Option<Fields<'a>> = None;
    // Two levels at most: Qwen's omni models have a thinker with a text_config.
    for _ in 0..2 {
        for name in DECODERS {
            let inner = text.as_ref().unwrap_or(&root).object(name)?;
            if let Some(inner) = inner {
                notes.understood(format!("{} holds the decoder", inner.path("").trim_end_matches('.')));
                text = Some(inner);
                break;
            }
        }
    }
    let fields = text.as_ref().unwrap_or(&root);
    let (name, reader) = family(fields, &root)?;
    // An inner object leaves out what is as in its class.
    let fields = &match &text {
        Some(text) => text.assuming(inner_defaults(&name)),
        None => root.assuming(&[]),
    };
    let mut draft = match reader {
        Reader::Shaped(shape) => shape.read(fields)?,
        Reader::Own(read) => read(fields)?,
        Reader::Refused(reason) => {
            let field = if fields.has("model_type") { fields.path("model_type") } else { root.path("architectures") };
            return Err(Refusal::value(field, format!("'{name}'"), format!("cannot be imported: {reason}; {BY_HAND}")));
        }
    };
    if let (Some(inner), Some(tied)) = (&text, root.flag("tie_word_embeddings")?) {
        // The model is built from the outer object.
        if inner.flag("tie_word_embeddings")?.is_some_and(|inner| inner != tied) {
            notes.assumed(format!("tie_word_embeddings = {tied}: the file says both, and the outer one counts"));
        }
        draft.architecture.tied = tied;
    }
    notes.understood(format!("the family '{name}': {}", described(&draft)));
    Ok((draft, root, text))
}

/// The family by the decoder's type, that of the whole, or its class.
fn family(fields: &Fields<'_>, root: &Fields<'_>) -> Result<(String, Reader), Refusal> {
    let mut names = Vec::new();
    for place in [fields, root] {
        names.extend(place.word("model_type")?.map(|name| (place.path("model_type"), name)));
    }
    for place in [fields, root] {
        let classes = place.words("architectures")?.unwrap_or_default();
        names.extend(classes.into_iter().map(|name| (place.path("architectures"), name)));
    }
    // A wrapper's type may stand for no family while its decoder's class does.
    if let Some((name, reader)) = names.iter().find_map(|(_, name)| Some(((*name).to_owned(), reader(name)?))) {
        return Ok((name, reader));
    }
    match names.first() {
        Some((field, name)) => {
            let meant = did_you_mean(name, known());
            let problem = format!("is an architecture that is not understood: {BY_HAND}.{meant}");
            Err(Refusal::value(field, format!("'{name}'"), problem.trim_end()))
        }
        None => Err(Refusal::missing("model_type", format!("it names the architecture: add it, or {BY_HAND}"))),
    }
}

/// The layers in a few words.
fn described(draft: &Draft) -> String {
    let architecture = &draft.architecture;
    let kinds = |mixes: &dyn Fn(&crate::workload::LayerConfig) -> bool| {
        draft.layers.iter().filter(|layer| mixes(layer)).count()
    };
    use crate::workload::{AttentionConfig as A, MlpConfig as M};
    let counts = [
        ("with full attention", kinds(&|layer| matches!(layer.attention, A::Full(_)))),
        ("with a sliding window", kinds(&|layer| matches!(layer.attention, A::Sliding(_)))),
        ("with latent attention", kinds(&|layer| matches!(layer.attention, A::Latent(_)))),
        ("recurrent", kinds(&|layer| matches!(layer.attention, A::GatedDelta(_) | A::Mamba2(_) | A::Recurrent(_)))),
        ("with experts", kinds(&|layer| matches!(layer.mlp, M::Experts(_)))),
    ];
    let counts = counts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}"));
    format!(
        "{} layers of hidden size {} ({}), a vocabulary of {}{}",
        draft.layers.len(),
        architecture.hidden,
        counts.collect::<Vec<_>>().join(", "),
        architecture.vocabulary,
        if architecture.tied { ", embedding and head in one matrix" } else { "" }
    )
}

/// Sets the formats from `torch_dtype`, `quantization_config` and the options.
fn formats(
    draft: &mut Draft,
    (root, text): (&Fields<'_>, Option<&Fields<'_>>),
    options: &ImportOptions,
    quantized_beside: bool,
) -> Result<(), Refusal> {
    let notes = root.notes();
    let places = || text.into_iter().chain([root]);
    let mut quantization = None;
    for place in places() {
        for name in ["quantization_config", "compression_config"] {
            quantization = quantization.or(place.object(name)?);
        }
    }
    let base = match dtype(places())? {
        Some(base) => base,
        None => {
            if options.weights.is_none() {
                notes.assumed("weights are stored as bf16 where nothing else is said: torch_dtype is not given");
            }
            Format::Bf16
        }
    };
    let formats = &mut draft.architecture.formats;
    formats.weights = base;
    formats.kv = if base == Format::Fp16 { Format::Fp16 } else { Format::Bf16 };
    if base == Format::Fp32 && options.kv.is_none() {
        notes.assumed("KV is kept in bf16, although weights are stored in fp32");
    }
    match (options.weights, quantization) {
        (Some(weights), quantization) => {
            if quantization.is_some() || quantized_beside {
                notes.ignored(format!("the quantization of the checkpoint: --weights {weights} counts"));
            }
            formats.weights = weights;
        }
        (None, Some(quantization)) => quantization::apply(&quantization, draft, base)?,
        (None, None) if !quantized_beside => {
            notes.understood(format!("weights are stored as {base}: no quantization_config"));
        }
        (None, None) => {}
    }
    Ok(())
}

/// What `torch_dtype`, or `dtype` as it is called now, says.
fn dtype<'a>(places: impl Iterator<Item = &'a Fields<'a>>) -> Result<Option<Format>, Refusal> {
    for place in places {
        for name in ["torch_dtype", "dtype"] {
            match place.word(name)?.map(|word| word.trim_start_matches("torch.")) {
                None | Some("auto") => {}
                Some("bfloat16") => return Ok(Some(Format::Bf16)),
                Some("float16" | "half") => return Ok(Some(Format::Fp16)),
                Some("float32" | "float") => return Ok(Some(Format::Fp32)),
                Some("float8_e4m3fn") => return Ok(Some(Format::Fp8)),
                Some(other) => {
                    let problem = "is a type that is not understood: give the format by hand: --weights FORMAT";
                    return Err(Refusal::value(place.path(name), format!("'{other}'"), problem));
                }
            }
        }
    }
    Ok(None)
}

/// Notes what nothing has read.
fn leftovers(root: &Fields<'_>, text: Option<&Fields<'_>>, notes: &Notes) {
    let mut harmless: Vec<&str> = Vec::new();
    let known: std::collections::BTreeSet<&str> = HARMLESS.split_whitespace().collect();
    for (place, is_outer) in [(Some(root), text.is_some()), (text, false)] {
        let Some(place) = place else { continue };
        for (name, value) in place.unread() {
            let nothing = matches!(value, serde_json::Value::Null | serde_json::Value::Bool(false))
                || value.as_f64() == Some(0.0)
                || value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(serde_json::Map::is_empty);
            if let Some((_, what)) = TOWERS.iter().find(|(tower, _)| *tower == name).filter(|_| !nothing) {
                notes.ignored(format!("{}: {what} takes no part in a decode step", place.path(name)));
            } else if PREDICTORS.contains(&name) {
                if !nothing {
                    notes.ignored(format!("{}: layers that predict further tokens are not counted", place.path(name)));
                }
            } else if nothing || known.contains(name) || is_harmless(name) {
                harmless.push(name);
            } else {
                let shown = crate::config::shortened(&value.to_string(), 60).into_owned();
                let outer = if is_outer { " (outside of the decoder)" } else { "" };
                notes.ignored(format!("{} = {shown}: a field that is not known{outer}", place.path(name)));
            }
        }
    }
    let what = "neither bytes nor FLOP of a decode step";
    match harmless.as_slice() {
        [] => {}
        [one] => notes.ignored(format!("1 field that changes {what}: {one}")),
        [first, .., last] => {
            notes.ignored(format!("{} fields that change {what}: from {first} to {last}", harmless.len()));
        }
    }
}

/// Fields that are harmless by their endings: tokens, dropouts, constants.
fn is_harmless(name: &str) -> bool {
    [
        "_token_id",
        "_token_ids",
        "_token_index",
        "_dropout",
        "_pdrop",
        "_eps",
        "_epsilon",
        "_coef",
        "_init",
        "_loss_coef",
    ]
    .iter()
    .any(|ending| name.ends_with(ending))
}
