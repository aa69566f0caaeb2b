//! What a decoder's object within a configuration leaves out.
//!
//! `transformers` writes into `text_config` only what differs from the defaults of the decoder's
//! class. Outer configurations are complete: what is missing there is refused.

/// Defaults of the class of `model_type`, for fields of an inner object.
pub(in crate::workload::huggingface) fn inner_defaults(model_type: &str) -> &'static [(&'static str, u32)] {
    DEFAULTS.iter().find(|(known, _)| *known == model_type).map_or(&[], |(_, defaults)| defaults)
}

/// By `model_type`: the defaults of its configuration class in `transformers`.
const DEFAULTS: &[(&str, &[(&str, u32)])] = &[
    ("llama", &sizes(4096, 11_008, 32, 32, 32, 32_000)),
    ("mistral", &sizes(4096, 14_336, 32, 32, 8, 32_000)),
    ("mixtral", &sizes(4096, 14_336, 32, 32, 8, 32_000)),
    ("qwen2", &sizes(4096, 22_016, 32, 32, 32, 151_936)),
    ("gemma", &sizes(3072, 24_576, 28, 16, 16, 256_000)),
    ("gemma2", &sizes(2304, 9216, 26, 8, 4, 256_000)),
    ("phi", &sizes(2048, 8192, 24, 32, 32, 51_200)),
    ("phi3", &sizes(3072, 8192, 32, 32, 32, 32_064)),
];

const fn sizes(
    hidden: u32,
    intermediate: u32,
    layers: u32,
    heads: u32,
    kv_heads: u32,
    vocabulary: u32,
) -> [(&'static str, u32); 6] {
    [
        ("hidden_size", hidden),
        ("intermediate_size", intermediate),
        ("num_hidden_layers", layers),
        ("num_attention_heads", heads),
        ("num_key_value_heads", kv_heads),
        ("vocab_size", vocabulary),
    ]
}
