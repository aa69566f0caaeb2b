//! Architectures: a model by its shapes and formats.

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
