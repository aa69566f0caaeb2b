//! The models, memory systems, runtimes, scenarios and traces that are shipped with tiersim: part
//! of the binary, so that it works alone.
//!
//! This is the one place where a name becomes the thing that it names. Configurations keep names as
//! they were typed, as [`Reference::Name`]; reading a configuration reads no other file. What a
//! scenario names is looked up here when the scenario is checked: [`model`], [`memory`],
//! [`runtime`], [`link`], [`efficiency`], [`generator`], [`open_trace`]. Wherever a name is
//! accepted, so is the path of a file of one's own, but for links and DRAM parts, which may be
//! spelled out in place instead.
//!
#![doc = include_str!("../../models/README.md")]

mod described;
mod kind;
mod parts;
mod runtimes;

pub use described::parts;
pub use kind::{FileKind, check_kind};
pub use parts::{DRAM, LINKS, about_dram, about_link, dram_name, efficiency, link, link_name};
pub use runtimes::{is_runtime, resolved_runtime, runtime, runtime_file, runtime_names};

use crate::config::{self, ConfigError, Reference};
use crate::memory::{MemoryConfig, MemorySystem};
use crate::workload::{
    ExpertSteps, ExpertTraceConfig, LanguageModel, ModelConfig, Recorded, RecordedRouting, Recording, Requests,
    RequestsConfig, RequestsError, Routing, RoutingSource, SourceConfig, TraceConfig, TraceError,
};
use kind::hint;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::Arc;

/// One shipped file.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// The name by which it is used.
    pub name: &'static str,
    /// Where it lies in the source tree.
    pub path: &'static str,
    /// What it says.
    pub text: &'static str,
}

macro_rules! shipped {
    ($($name:literal => $path:literal),+ $(,)?) => {
        &[$(Shipped {
            name: $name,
            path: $path,
            text: include_str!(concat!("../../", $path)),
        }),+]
    };
}

/// The language models.
pub const MODELS: &[Shipped] = shipped! {
    "study" => "models/llm/study.ron",
    "published" => "models/llm/published.ron",
    "smollm2-135m" => "models/llm/smollm2-135m.ron",
    "llama-3.1-70b-fp8" => "models/llm/llama-3.1-70b-fp8.ron",
    "qwen3-235b-a22b-fp8" => "models/llm/qwen3-235b-a22b-fp8.ron",
    "llama-2-7b" => "models/llm/llama-2-7b.ron",
    "llama-3.1-8b" => "models/llm/llama-3.1-8b.ron",
    "llama-3.1-70b" => "models/llm/llama-3.1-70b.ron",
    "llama-3.1-405b" => "models/llm/llama-3.1-405b.ron",
    "llama-4-scout" => "models/llm/llama-4-scout.ron",
    "mistral-7b" => "models/llm/mistral-7b.ron",
    "mistral-small-24b" => "models/llm/mistral-small-24b.ron",
    "mixtral-8x7b" => "models/llm/mixtral-8x7b.ron",
    "qwen2.5-0.5b" => "models/llm/qwen2.5-0.5b.ron",
    "qwen2.5-7b" => "models/llm/qwen2.5-7b.ron",
    "qwen2.5-14b" => "models/llm/qwen2.5-14b.ron",
    "qwen3-8b" => "models/llm/qwen3-8b.ron",
    "qwen3-32b" => "models/llm/qwen3-32b.ron",
    "qwen3-30b-a3b" => "models/llm/qwen3-30b-a3b.ron",
    "qwen3-235b-a22b" => "models/llm/qwen3-235b-a22b.ron",
    "qwen3-next-80b-a3b" => "models/llm/qwen3-next-80b-a3b.ron",
    "gemma-2-9b" => "models/llm/gemma-2-9b.ron",
    "gemma-2-27b" => "models/llm/gemma-2-27b.ron",
    "gemma-3-12b" => "models/llm/gemma-3-12b.ron",
    "gemma-3-27b" => "models/llm/gemma-3-27b.ron",
    "gemma-4-26b-a4b" => "models/llm/gemma-4-26b-a4b.ron",
    "gemma-4-31b" => "models/llm/gemma-4-31b.ron",
    "phi-4" => "models/llm/phi-4.ron",
    "opt-13b" => "models/llm/opt-13b.ron",
    "llama-2-70b" => "models/llm/llama-2-70b.ron",
    "opt-30b" => "models/llm/opt-30b.ron",
    "kernel" => "models/llm/kernel.ron",
    "gpt-oss-20b" => "models/llm/gpt-oss-20b.ron",
    "gpt-oss-120b" => "models/llm/gpt-oss-120b.ron",
    "deepseek-v3" => "models/llm/deepseek-v3.ron",
    "deepseek-v3.2" => "models/llm/deepseek-v3.2.ron",
    "kimi-k2" => "models/llm/kimi-k2.ron",
    "glm-4.5-air" => "models/llm/glm-4.5-air.ron",
};

/// The memory systems.
pub const MEMORY_SYSTEMS: &[Shipped] = shipped! {
    "paper" => "models/memory/paper.ron",
    "study" => "models/memory/study.ron",
    "gh200" => "models/memory/gh200.ron",
    "gb200" => "models/memory/gb200.ron",
    "h100-pcie" => "models/memory/h100-pcie.ron",
    "h100-sxm" => "models/memory/h100-sxm.ron",
    "h200-sxm" => "models/memory/h200-sxm.ron",
    "h200-pcie" => "models/memory/h200-pcie.ron",
    "a100" => "models/memory/a100.ron",
    "t4" => "models/memory/t4.ron",
    "rtx2080" => "models/memory/rtx2080.ron",
    "mi300a" => "models/memory/mi300a.ron",
    "rtx3090" => "models/memory/rtx3090.ron",
    "rtx4090" => "models/memory/rtx4090.ron",
    "rtx5060ti" => "models/memory/rtx5060ti.ron",
    "xeon6454s-rtx4090" => "models/memory/xeon6454s-rtx4090.ron",
    "xeon6454s-4x-rtx4090" => "models/memory/xeon6454s-4x-rtx4090.ron",
    "rtx5090" => "models/memory/rtx5090.ron",
    "dgx-spark" => "models/memory/dgx-spark.ron",
    "m1-pro" => "models/memory/m1-pro.ron",
    "m3-pro" => "models/memory/m3-pro.ron",
    "m2-ultra" => "models/memory/m2-ultra.ron",
    "m4-max" => "models/memory/m4-max.ron",
    "cxl-box" => "models/memory/cxl-box.ron",
    "laptop" => "models/memory/laptop.ron",
    "phone" => "models/memory/phone.ron",
    "hbm-lpddr-cxl" => "models/memory/hbm-lpddr-cxl.ron",
    "hbm-dram-nvme" => "models/memory/hbm-dram-nvme.ron",
};

/// The runtimes, by software and machine; `any` has typical values.
pub const RUNTIMES: &[Shipped] = shipped! {
    "ideal" => "models/runtimes/ideal.ron",
    "llama.cpp/any" => "models/runtimes/llama.cpp/any.ron",
    "llama.cpp/a100" => "models/runtimes/llama.cpp/a100.ron",
    "llama.cpp/dgx-spark" => "models/runtimes/llama.cpp/dgx-spark.ron",
    "llama.cpp/m1-pro" => "models/runtimes/llama.cpp/m1-pro.ron",
    "llama.cpp/m2-ultra" => "models/runtimes/llama.cpp/m2-ultra.ron",
    "llama.cpp/m3-pro" => "models/runtimes/llama.cpp/m3-pro.ron",
    "llama.cpp/rtx3090" => "models/runtimes/llama.cpp/rtx3090.ron",
    "llama.cpp/rtx5060ti" => "models/runtimes/llama.cpp/rtx5060ti.ron",
    "llama.cpp/rtx4090" => "models/runtimes/llama.cpp/rtx4090.ron",
    "llama.cpp-cpu/any" => "models/runtimes/llama.cpp-cpu/any.ron",
    "llama.cpp-cpu/rtx2080" => "models/runtimes/llama.cpp-cpu/rtx2080.ron",
    "llama.cpp-cpu/rtx5060ti" => "models/runtimes/llama.cpp-cpu/rtx5060ti.ron",
    "ktransformers/any" => "models/runtimes/ktransformers/any.ron",
    "ktransformers/xeon6454s-rtx4090" => "models/runtimes/ktransformers/xeon6454s-rtx4090.ron",
    "ktransformers/xeon6454s-4x-rtx4090" => "models/runtimes/ktransformers/xeon6454s-4x-rtx4090.ron",
    "gpt-fast/any" => "models/runtimes/gpt-fast/any.ron",
    "gpt-fast/a100" => "models/runtimes/gpt-fast/a100.ron",
    "vllm/any" => "models/runtimes/vllm/any.ron",
    "vllm/a100" => "models/runtimes/vllm/a100.ron",
    "vllm/gh200" => "models/runtimes/vllm/gh200.ron",
    "vllm/h100-sxm" => "models/runtimes/vllm/h100-sxm.ron",
    "vllm/h200-sxm" => "models/runtimes/vllm/h200-sxm.ron",
    "vllm/rtx4090" => "models/runtimes/vllm/rtx4090.ron",
    "pytorch/any" => "models/runtimes/pytorch/any.ron",
    "pytorch/h100-sxm" => "models/runtimes/pytorch/h100-sxm.ron",
    "pytorch/h200-sxm" => "models/runtimes/pytorch/h200-sxm.ron",
    "pytorch-direct/h100-sxm" => "models/runtimes/pytorch-direct/h100-sxm.ron",
    "pytorch-direct/h200-sxm" => "models/runtimes/pytorch-direct/h200-sxm.ron",
    "vllm-products/any" => "models/runtimes/vllm-products/any.ron",
    "vllm-products/a100" => "models/runtimes/vllm-products/a100.ron",
    "vllm-products/h100-sxm" => "models/runtimes/vllm-products/h100-sxm.ron",
    "vllm-products/h200-sxm" => "models/runtimes/vllm-products/h200-sxm.ron",
    "vllm-products/rtx4090" => "models/runtimes/vllm-products/rtx4090.ron",
    "vllm-attention/any" => "models/runtimes/vllm-attention/any.ron",
    "vllm-attention/a100" => "models/runtimes/vllm-attention/a100.ron",
    "vllm-attention/h100-sxm" => "models/runtimes/vllm-attention/h100-sxm.ron",
    "vllm-attention/h200-sxm" => "models/runtimes/vllm-attention/h200-sxm.ron",
    "vllm-attention/rtx4090" => "models/runtimes/vllm-attention/rtx4090.ron",
};

/// The scenarios.
pub const SCENARIOS: &[Shipped] = shipped! {
    "paper" => "models/scenarios/paper.ron",
    "study" => "models/scenarios/study.ron",
    "recorded" => "models/scenarios/recorded.ron",
    "gh200" => "models/scenarios/gh200.ron",
    "chat" => "models/scenarios/chat.ron",
    "serving" => "models/scenarios/serving.ron",
};

/// The sweeps.
pub const SWEEPS: &[Shipped] = shipped! {
    "hbm-or-link" => "models/sweeps/hbm-or-link.ron",
    "paper" => "models/sweeps/paper.ron",
    "skip-and-migration" => "models/sweeps/skip-and-migration.ron",
    "gh200-hbm-or-link" => "models/sweeps/gh200-hbm-or-link.ron",
    "gh200-skip-and-migration" => "models/sweeps/gh200-skip-and-migration.ron",
    "strategies" => "models/sweeps/strategies.ron",
    "every-strategy" => "models/sweeps/every-strategy.ron",
    "experts-and-dense" => "models/sweeps/experts-and-dense.ron",
    "batch" => "models/sweeps/batch.ron",
    "hot-buffer" => "models/sweeps/hot-buffer.ron",
    "sparse-batch" => "models/sweeps/sparse-batch.ron",
    "ttft" => "models/sweeps/ttft.ron",
};

/// The measured cases of `tiersim validate`.
pub const CASES: &[Shipped] = shipped! {
    "llama.cpp" => "models/validation/llama.cpp.csv",
    "dgx-spark" => "models/validation/dgx-spark.csv",
    "gpt-fast" => "models/validation/gpt-fast.csv",
    "pytorch" => "models/validation/pytorch.csv",
    "vllm" => "models/validation/vllm.csv",
    "vllm-steps" => "models/validation/vllm-steps.csv",
    "requests" => "models/validation/requests.csv",
    "cpu" => "models/validation/cpu.csv",
    "kernels" => "models/validation/kernels.csv",
    "host-reads" => "models/validation/host-reads.csv",
};

/// The number of running requests over time that was measured of a log's requests, by the log's
/// name.
pub const RUNNING: &[Shipped] = shipped! {
    "vllm-rtx4090-llama-3.1-8b" => "models/validation/requests/vllm-rtx4090-llama-3.1-8b.running.csv",
};

/// The recorded traces: name, what it is, and its bytes.
pub const TRACES: &[(&str, &str, &[u8])] = &[
    (
        "python_heapq_skip40",
        "320 steps of SmolLM2-135M's attention on CPython's heapq.py, 512 tokens before step 0, 40 % skipped",
        include_bytes!("../../traces/python_heapq_skip40.parquet"),
    ),
    (
        "python_argparse_pages16_top64",
        "512 steps of 10 layers of SmolLM2-135M's attention on CPython's argparse.py, 6144 tokens before step 0: the 64 pages of 16 \
         tokens with the most attention are read",
        include_bytes!("../../traces/python_argparse_pages16_top64.parquet"),
    ),
];

/// The settings of generators of skip sets.
pub const GENERATORS: &[Shipped] = shipped! {
    "study-skip40" => "traces/study-skip40.ron",
    "like-recorded-40" => "traces/like-recorded-40.ron",
    "topk-1024-of-6k" => "traces/topk-1024-of-6k.ron",
    "topk-2048-of-100k" => "traces/topk-2048-of-100k.ron",
};

/// The logs of requests: name, what it is, and its text.
pub const REQUEST_LOGS: &[(&str, &str, &str)] = &[
    (
        "conversations",
        "200 requests in 3.4 minutes: 40 conversations of 5 turns in two applications, whose prompts share what came before",
        include_str!("../../traces/conversations.csv"),
    ),
    (
        "vllm-rtx4090-llama-3.1-8b",
        "300 prompts of ShareGPT at about 10 a second, as vLLM on an RTX 4090 was measured with them",
        include_str!("../../models/validation/requests/vllm-rtx4090-llama-3.1-8b.csv"),
    ),
];

/// The text of the shipped log of requests of that name.
#[must_use]
pub fn request_log(name: &str) -> Option<&'static str> {
    REQUEST_LOGS.iter().find(|(known, _, _)| *known == name).map(|(_, _, text)| *text)
}

/// The requests that `config` asks for; its log may be shipped.
///
/// # Errors
/// [`RequestsError`] as [`Requests::new`].
pub fn requests(config: &RequestsConfig) -> Result<Requests, RequestsError> {
    if let SourceConfig::Log { file, .. } = &config.source
        && !file.exists()
        && request_log(&file.to_string_lossy()).is_none()
    {
        let known: Vec<&str> = REQUEST_LOGS.iter().map(|(known, _, _)| *known).collect();
        let message = format!(
            "there is no such file: write the path of a log, or the name of a shipped one ({})",
            known.join(", ")
        );
        return Err(RequestsError::Read { file: file.display().to_string(), message });
    }
    Requests::read(config, request_log)
}

/// The bytes of the shipped trace of that name.
#[must_use]
pub fn trace(name: &str) -> Option<&'static [u8]> {
    TRACES.iter().find(|(known, _, _)| *known == name).map(|(_, _, bytes)| *bytes)
}

/// The language model of that name or path.
///
/// # Errors
/// [`ConfigError`] if there is none or its file is not right.
pub fn model(name_or_path: &str) -> Result<ModelConfig, ConfigError> {
    let (config, origin) = load("model", FileKind::Model, name_or_path)?;
    LanguageModel::new(&config).map_err(|error| meaning(origin, &error))?;
    Ok(config)
}

/// The memory system of that name or path.
///
/// # Errors
/// [`ConfigError`] if there is none or its file is not right.
pub fn memory(name_or_path: &str) -> Result<MemoryConfig, ConfigError> {
    let (text, origin) = text("memory system", FileKind::Memory.shipped(), name_or_path)?;
    check_kind(&text, &origin, FileKind::Memory)?;
    let config = memory_of(&text, &origin)?;
    MemorySystem::new(&config).map_err(|error| meaning(origin, &error))?;
    Ok(config)
}

/// The memory system that RON text describes, with its links and DRAM parts spelled out. The text
/// is called `origin` in messages.
///
/// # Errors
/// [`ConfigError`] if the text is not right or names what is not shipped.
pub fn memory_of(text: &str, origin: &str) -> Result<MemoryConfig, ConfigError> {
    let mut config: MemoryConfig = config::parse(text, origin)?;
    spell_out(&mut config).map_err(|Unknown { index, field, name, error }| {
        let path = format!("tiers[{index}].{field}");
        config::invalid_value(text, origin, (field, &name), path, error.to_string())
    })?;
    Ok(config)
}

/// A memory system with all that it names spelled out: itself, its links and its DRAM parts.
///
/// # Errors
/// [`ConfigError`] if there is nothing of one of these names.
pub fn resolved(memory: Reference<MemoryConfig>) -> Result<MemoryConfig, ConfigError> {
    let mut config = memory.resolve(self::memory)?;
    spell_out(&mut config).map_err(|Unknown { index, field, error, .. }| {
        let origin = format!("memory.tiers[{index}].{field}");
        ConfigError::Meaning { origin, message: error.to_string() }
    })?;
    Ok(config)
}

/// A name of a link or a DRAM part that cannot be looked up, and where it stands.
struct Unknown {
    index: usize,
    field: &'static str,
    name: String,
    error: Box<ConfigError>,
}

/// Puts links and efficiencies in the place of their names.
fn spell_out(memory: &mut MemoryConfig) -> Result<(), Unknown> {
    for (index, tier) in memory.tiers.iter_mut().enumerate() {
        if let Some(Reference::Name(name)) = &tier.link {
            let found = link(name).map_err(|error| Unknown {
                index,
                field: "link",
                name: name.clone(),
                error: Box::new(error),
            })?;
            tier.link = Some(Reference::Inline(found));
        }
        if let Some(Reference::Name(name)) = &tier.efficiency {
            let unknown = |error| Unknown { index, field: "efficiency", name: name.clone(), error: Box::new(error) };
            tier.efficiency = Some(Reference::Inline(efficiency(name).map_err(unknown)?));
        }
    }
    Ok(())
}

/// The generator of that name or path of a RON file; `None` where it is neither, so that it must be
/// a trace.
///
/// # Errors
/// [`ConfigError`] if its file is not right.
pub fn generator(name_or_path: &str) -> Result<Option<TraceConfig>, ConfigError> {
    let shipped = GENERATORS.iter().any(|file| file.name == name_or_path);
    if !shipped && Path::new(name_or_path).extension().is_none_or(|ending| ending != "ron") {
        return Ok(None);
    }
    let (config, origin) = load("generator", FileKind::Generator, name_or_path)?;
    if let TraceConfig::Recorded(_) = config {
        let message = "a generator starts with Generated( or Lifelike(".to_owned();
        return Err(ConfigError::Meaning { origin, message });
    }
    Ok(Some(config))
}

/// The text of what is called `name_or_path`, and what to call it in messages.
///
/// # Errors
/// [`ConfigError`] if it is neither shipped nor a readable file.
pub fn text(
    what: &'static str,
    shipped: &[Shipped],
    name_or_path: &str,
) -> Result<(std::borrow::Cow<'static, str>, String), ConfigError> {
    if let Some(found) = shipped.iter().find(|file| file.name == name_or_path) {
        return Ok((found.text.into(), found.path.to_owned()));
    }
    let path = Path::new(name_or_path);
    if !path.exists() {
        return Err(ConfigError::Unknown {
            what,
            name: name_or_path.to_owned(),
            known: shipped.iter().map(|file| file.name).collect::<Vec<_>>().join(", "),
            meant: hint(name_or_path, shipped),
        });
    }
    Ok((config::read(path)?.into(), name_or_path.to_owned()))
}

fn load<T: DeserializeOwned>(
    what: &'static str,
    kind: FileKind,
    name_or_path: &str,
) -> Result<(T, String), ConfigError> {
    let (text, origin) = text(what, kind.shipped(), name_or_path)?;
    check_kind(&text, &origin, kind)?;
    Ok((config::parse(&text, &origin)?, origin))
}

/// The recorded skip sets of that name or path, a set for each layer: where each KV head has sets
/// of its own, a token is skipped if all heads skip it.
///
/// # Errors
/// [`TraceError`] if there are none, the header is not right, or it is of routing.
pub fn open_trace(path: &Path) -> Result<Recording, TraceError> {
    Ok(open_trace_by_head(path)?.by_layer())
}

/// As [`open_trace`], with the sets of each KV head where they are recorded: set `layer * kv_heads
/// + head` of a step.
///
/// # Errors
/// As [`open_trace`].
pub fn open_trace_by_head(path: &Path) -> Result<Recording, TraceError> {
    let recording = open_recording(path, None)?;
    recording.header().want_skips(recording.name())?;
    Ok(recording)
}

/// The recorded trace of that name or path, whether of skip sets or of routing; with the tokens
/// before step 0 for JSON Lines that do not say how many they are.
///
/// # Errors
/// [`TraceError`] if there is none or its header is not right.
pub fn open_recording(path: &Path, prefill: Option<u32>) -> Result<Recording, TraceError> {
    let name = path.to_string_lossy();
    match trace(&name) {
        Some(bytes) => Recording::embedded(&name, bytes),
        None if !path.exists() => {
            let known: Vec<&str> = TRACES.iter().map(|(known, _, _)| *known).collect();
            Err(TraceError::Unknown { name: name.into_owned(), known: known.join(", ") })
        }
        None => Recording::open_with(path, prefill),
    }
}

/// The routing that `config` asks for, for a model whose layers route so
/// ([`routings`](crate::workload::routings)), of a run of so many steps.
///
/// # Errors
/// [`TraceError`] if no layer has experts, a parameter is not right, or a recording does not fit.
pub fn routing(
    config: &ExpertTraceConfig,
    layers: &[Option<Routing>],
    steps: usize,
) -> Result<Box<dyn RoutingSource>, TraceError> {
    match config {
        ExpertTraceConfig::Generated(generated) => generated.source(layers),
        ExpertTraceConfig::Recorded(recorded) => {
            let mut recording = open_recording(&recorded.file, None)?;
            let name = recording.name().to_owned();
            let experts = Arc::new(ExpertSteps::read(&name, &mut recording)?);
            Ok(Box::new(RecordedRouting::new(experts, recorded, layers, steps)?))
        }
    }
}

fn meaning(origin: String, error: &dyn std::error::Error) -> ConfigError {
    ConfigError::Meaning { origin, message: error.to_string() }
}
