//! The methods of quantized checkpoints: which format they store weights in, and which modules.
//!
//! A method is a line in [`METHODS`]. One that is not there is refused by its name: `--weights`
//! sets the format by hand.

use super::patterns::Pattern;
use crate::workload::Format;
use crate::workload::huggingface::fields::Fields;
use crate::workload::huggingface::refusal::Refusal;
use serde_json::Value;

/// What a checkpoint says of how it is stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    /// Formats with the modules that have them; the first that matches counts.
    pub groups: Vec<(Format, Vec<Pattern>)>,
    /// Modules that are not converted.
    pub ignore: Vec<Pattern>,
    /// The format of keys and values, where it is said.
    pub kv: Option<Format>,
    /// Whether the head is converted too, unless it is ignored.
    pub head: bool,
}

type Read = fn(&Fields<'_>) -> Result<Stored, Refusal>;

/// Methods by `quant_method`.
const METHODS: &[(&str, Read)] = &[
    ("fp8", fp8),
    ("fbgemm_fp8", fp8),
    ("mxfp4", mxfp4),
    ("gptq", gptq),
    ("awq", gptq),
    ("auto-round", gptq),
    ("intel/auto-round", gptq),
    ("bitsandbytes", bitsandbytes),
    ("compressed-tensors", groups),
    ("compressed_tensors", groups),
    ("modelopt", modelopt),
    ("modelopt_fp4", modelopt),
    ("quark", quark),
];

/// What to do where a quantization is not understood.
const REMEDY: &str = "give the format by hand: --weights FORMAT, which leaves quantization_config aside";

/// Reads `quantization_config`.
pub(super) fn read(fields: &Fields<'_>) -> Result<Stored, Refusal> {
    let method = match fields.word("quant_method")? {
        Some(method) => method,
        None if fields.has("quant_algo") => "modelopt",
        None if fields.has("config_groups") => "compressed-tensors",
        None => return Err(Refusal::missing(fields.path("quant_method"), REMEDY)),
    };
    match METHODS.iter().find(|(name, _)| *name == method) {
        Some((_, read)) => read(fields),
        None => {
            let known: Vec<&str> = METHODS.iter().map(|(name, _)| *name).collect();
            let problem = format!("is not understood ({} are): {REMEDY}", known.join(", "));
            Err(Refusal::value(fields.path("quant_method"), format!("'{method}'"), problem))
        }
    }
}

/// All linear layers in one format.
fn everywhere(format: Format) -> Vec<(Format, Vec<Pattern>)> {
    vec![(format, any())]
}

fn any() -> Vec<Pattern> {
    Pattern::new("*").into_iter().collect()
}

/// Patterns in the list called `name`; a single text is a list of one.
fn patterns(fields: &Fields<'_>, name: &str) -> Result<Vec<Pattern>, Refusal> {
    let words = match fields.get(name) {
        Some(Value::String(word)) => vec![word.as_str()],
        _ => fields.words(name)?.unwrap_or_default(),
    };
    words.into_iter().map(|word| pattern(fields, name, word)).collect()
}

fn pattern(fields: &Fields<'_>, name: &str, word: &str) -> Result<Pattern, Refusal> {
    Pattern::new(word).ok_or_else(|| {
        Refusal::value(fields.path(name), format!("'{word}'"), format!("is a pattern that is not understood: {REMEDY}"))
    })
}

/// DeepSeek's blocks of 128 x 128, or a scale a tensor or row.
fn fp8(fields: &Fields<'_>) -> Result<Stored, Refusal> {
    let format = match fields.numbers("weight_block_size")? {
        None => Format::Fp8,
        Some(block) if block == [128, 128] => Format::Fp8Block128,
        Some(block) => {
            let problem = format!("is a block that is not understood (only 128 x 128 is): {REMEDY}");
            return Err(Refusal::value(fields.path("weight_block_size"), format!("{block:?}"), problem));
        }
    };
    let ignore = [patterns(fields, "modules_to_not_convert")?, patterns(fields, "ignored_layers")?].concat();
    Ok(Stored { groups: everywhere(format), ignore, kv: None, head: false })
}

/// gpt-oss: the experts alone.
fn mxfp4(fields: &Fields<'_>) -> Result<Stored, Refusal> {
    let experts = Pattern::new("*.experts.*").into_iter().collect();
    let ignore = patterns(fields, "modules_to_not_convert")?;
    Ok(Stored { groups: vec![(Format::Mxfp4, experts)], ignore, kv: None, head: false })
}

/// Integers by group; the layers' linear modules.
fn gptq(fields: &Fields<'_>) -> Result<Stored, Refusal> {
    let bits = fields.count(&["bits", "w_bit"])?;
    // -1 is a scale for each row.
    let is_row = fields.get("group_size").or_else(|| fields.get("q_group_size")).and_then(Value::as_i64) == Some(-1);
    let group = if is_row { 0 } else { fields.optional(&["group_size", "q_group_size"])?.unwrap_or(128) };
    let format = integer(fields, "group_size", bits, group)?;
    let mut ignore = patterns(fields, "modules_to_not_convert")?;
    if let Some(dynamic) = fields.object("dynamic")? {
        for (name, _) in dynamic.unread() {
            let Some(name) = name.strip_prefix("-:") else {
                let problem = format!("sets a format for some modules, which is not understood: {REMEDY}");
                return Err(Refusal::value(fields.path("dynamic"), format!("'{name}'"), problem));
            };
            ignore.push(pattern(fields, "dynamic", &format!("re:{name}"))?);
        }
    }
    Ok(Stored { groups: everywhere(format), ignore, kv: None, head: fields.flag("lm_head")?.unwrap_or(false) })
}

fn integer(fields: &Fields<'_>, name: &str, bits: u32, group: u32) -> Result<Format, Refusal> {
    match (bits, group) {
        (4, 32) => Ok(Format::Int4G32),
        (4, 64) => Ok(Format::Int4G64),
        (4, 128) => Ok(Format::Int4G128),
        (8, 0) => Ok(Format::Int8),
        (8, group) => {
            fields
                .notes()
                .assumed(format!("8-bit integers in groups of {group} are stored as int8: scales are not counted"));
            Ok(Format::Int8)
        }
        (bits, group) => {
            let problem = format!("with groups of {group} is a format that is not known: {REMEDY}");
            Err(Refusal::value(fields.path(name), format!("{bits} bits"), problem))
        }
    }
}

fn bitsandbytes(fields: &Fields<'_>) -> Result<Stored, Refusal> {
    fields.seen(&["_load_in_4bit", "_load_in_8bit", "load_in_8bit"]);
    let format = if fields.flag("load_in_4bit")?.unwrap_or(false) {
        if fields.flag("bnb_4bit_use_double_quant")?.unwrap_or(false) {
            fields.notes().assumed(
                "scales of 4-bit weights are counted as fp32: double quantization saves 0.37 bits a weight more",
            );
        }
        Format::Nf4
    } else {
        Format::Int8
    };
    Ok(Stored { groups: everywhere(format), ignore: patterns(fields, "llm_int8_skip_modules")?, kv: None, head: false })
}

/// Groups of modules, each with the bits of its weights.
fn groups(fields: &Fields<'_>) -> Result<Stored, Refusal> {
    let mut groups = Vec::new();
    let Some(config) = fields.object("config_groups")? else {
        return Err(Refusal::missing(fields.path("config_groups"), REMEDY));
    };
    for (name, _) in config.unread() {
        let Some(group) = config.object(name)? else { continue };
        let Some(weights) = group.object("weights")? else { continue };
        let format = weights_format(&weights)?;
        let targets = group.words("targets")?.unwrap_or_default();
        // `Linear` is every linear module.
        let patterns = if targets.is_empty() || targets.contains(&"Linear") {
            any()
        } else {
            targets.into_iter().map(|target| pattern(&group, "targets", target)).collect::<Result<_, _>>()?
        };
        groups.push((format, patterns));
    }
    // The particular before the general.
    groups.sort_by_key(|(_, patterns)| *patterns == any());
    Ok(Stored { groups, ignore: patterns(fields, "ignore")?, kv: kv_scheme(fields)?, head: true })
}

/// The format of weights by their bits, type and groups.
fn weights_format(weights: &Fields<'_>) -> Result<Format, Refusal> {
    let bits = weights.count(&["num_bits"])?;
    let group = weights.optional(&["group_size"])?.unwrap_or(0);
    let block = weights.numbers("block_structure")?.unwrap_or_default();
    match (weights.word("type")?.unwrap_or("int"), bits, group) {
        ("float", 8, 0) if block == [128, 128] => Ok(Format::Fp8Block128),
        ("float", 8, 0) if block.is_empty() => Ok(Format::Fp8),
        ("float", 8, 32) => Ok(Format::Mxfp8),
        ("float", 4, 16) => Ok(Format::Nvfp4),
        ("float", 4, 32) => Ok(Format::Mxfp4),
        ("int", bits, group) => {
            if bits == 4 && weights.flag("symmetric")?.unwrap_or(false) {
                weights.notes().assumed(
                    "groups of 4-bit integers are counted with a zero point each, 4 bits, which symmetric ones lack",
                );
            }
            integer(weights, "num_bits", bits, group)
        }
        (kind, bits, group) => {
            let problem = format!("of {kind} with groups of {group} is a format that is not known: {REMEDY}");
            Err(Refusal::value(weights.path("num_bits"), format!("{bits} bits"), problem))
        }
    }
}

fn kv_scheme(fields: &Fields<'_>) -> Result<Option<Format>, Refusal> {
    let Some(scheme) = fields.object("kv_cache_scheme")? else { return Ok(None) };
    let (bits, kind) = (scheme.count(&["num_bits"])?, scheme.word("type")?.unwrap_or("int"));
    match (kind, bits) {
        ("float", 8) => Ok(Some(Format::Fp8)),
        ("int", 8) => Ok(Some(Format::Int8)),
        ("float", 4) => Ok(Some(Format::Nvfp4)),
        _ => {
            let problem = format!("of {kind} is a format of KV that is not known: give it by hand: --kv FORMAT");
            Err(Refusal::value(scheme.path("num_bits"), format!("{bits} bits"), problem))
        }
    }
}

/// NVIDIA's: an algorithm by name for all, or one for each module.
fn modelopt(fields: &Fields<'_>) -> Result<Stored, Refusal> {
    let ignore = [patterns(fields, "ignore")?, patterns(fields, "exclude_modules")?].concat();
    let kv = match (fields.word("kv_cache_quant_algo")?, kv_scheme(fields)?) {
        (_, Some(format)) => Some(format),
        (None, None) => None,
        (Some("FP8"), None) => Some(Format::Fp8),
        (Some("NVFP4"), None) => Some(Format::Nvfp4),
        (Some("INT8"), None) => Some(Format::Int8),
        (Some(other), None) => {
            let problem = "is a format of KV that is not known: give it by hand: --kv FORMAT";
            return Err(Refusal::value(fields.path("kv_cache_quant_algo"), format!("'{other}'"), problem));
        }
    };
    let groups = match fields.word("quant_algo")? {
        Some("MIXED_PRECISION") => mixed(fields)?,
        Some(_) => everywhere(algorithm(fields)?),
        None if fields.has("config_groups") => self::groups(fields)?.groups,
        None => return Err(Refusal::missing(fields.path("quant_algo"), REMEDY)),
    };
    Ok(Stored { groups, ignore, kv, head: true })
}

fn algorithm(fields: &Fields<'_>) -> Result<Format, Refusal> {
    let algorithm = fields.word("quant_algo")?.unwrap_or_default();
    match algorithm {
        "FP8" | "FP8_PER_CHANNEL_PER_TOKEN" => Ok(Format::Fp8),
        "FP8_PB_WO" | "FP8_PB_REAL" | "FP8_BLOCK_SCALES" => Ok(Format::Fp8Block128),
        "NVFP4" | "NVFP4_AWQ" | "W4A16_NVFP4" | "W4A8_NVFP4_FP8" => Ok(Format::Nvfp4),
        "MXFP8" | "W4A8_MXFP8" => Ok(Format::Mxfp8),
        "MXFP4" | "W4A8_MXFP4_FP8" | "W4A16_MXFP4" => Ok(Format::Mxfp4),
        "W4A16_AWQ" | "W4A8_AWQ" | "INT4_AWQ" => {
            integer(fields, "quant_algo", 4, fields.optional(&["group_size"])?.unwrap_or(128))
        }
        "W8A16" | "W8A8_SQ_PER_CHANNEL" | "INT8_SQ" => Ok(Format::Int8),
        other => {
            let problem = format!("is not understood: {REMEDY}");
            Err(Refusal::value(fields.path("quant_algo"), format!("'{other}'"), problem))
        }
    }
}

/// `quantized_layers` has each module by name.
fn mixed(fields: &Fields<'_>) -> Result<Vec<(Format, Vec<Pattern>)>, Refusal> {
    let Some(layers) = fields.object("quantized_layers")? else {
        return Err(Refusal::missing(fields.path("quantized_layers"), REMEDY));
    };
    let mut groups: Vec<(Format, Vec<Pattern>)> = Vec::new();
    for (name, _) in layers.unread() {
        let Some(module) = layers.object(name)? else { continue };
        let (format, pattern) = (algorithm(&module)?, pattern(fields, "quantized_layers", name)?);
        match groups.iter_mut().find(|(known, _)| *known == format) {
            Some((_, patterns)) => patterns.push(pattern),
            None => groups.push((format, vec![pattern])),
        }
    }
    Ok(groups)
}

/// AMD's: one format for all weights.
fn quark(fields: &Fields<'_>) -> Result<Stored, Refusal> {
    let weight = fields.object("global_quant_config")?.map(|global| global.object("weight")).transpose()?.flatten();
    let Some(weight) = weight else {
        return Err(Refusal::missing(fields.path("global_quant_config.weight"), REMEDY));
    };
    let format = match (weight.word("dtype")?.unwrap_or_default(), weight.optional(&["group_size"])?.unwrap_or(0)) {
        ("fp4", 32) => Format::Mxfp4,
        ("fp8_e4m3", _) => Format::Fp8,
        ("int8", _) => Format::Int8,
        ("int4" | "uint4", group) => integer(&weight, "group_size", 4, group)?,
        (other, _) => {
            let problem = format!("is not understood: {REMEDY}");
            return Err(Refusal::value(weight.path("dtype"), format!("'{other}'"), problem));
        }
    };
    Ok(Stored { groups: everywhere(format), ignore: patterns(fields, "exclude")?, kv: None, head: true })
}
