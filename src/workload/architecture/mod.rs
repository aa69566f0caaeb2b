//! Architectures: a model by its shapes and formats.
//!
//! [`ArchitectureConfig`] is what a person writes. [`resolve`] checks it and lists the tensors of
//! each stage ([`attention`], [`mlp`]); bytes, FLOP and numbers of weights all follow from that
//! list, with the format that [`storage`] selects for each tensor. The formulas are in `README.md`.

mod attention;
mod check;
mod config;
mod error;
mod gguf;
mod mlp;
mod resolve;
mod storage;
mod tensor;

pub use config::{
    ArchitectureConfig, AttentionConfig, BlockConfig, DenseConfig, ExpertsConfig, FormatsConfig, GatedDeltaConfig,
    HeadsConfig, IndexerConfig, LatentConfig, LayerConfig, LayerFormatsConfig, Mamba2Config, MlpConfig,
    RecurrentConfig, RoutingConfig, SlidingConfig, TableConfig,
};
pub use error::ArchitectureError;
pub(super) use resolve::{Resolved, resolve};
