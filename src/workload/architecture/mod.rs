//! Architectures: a model by its shapes and formats.

mod config;

pub use config::{
    ArchitectureConfig, AttentionConfig, BlockConfig, DenseConfig, ExpertsConfig, FormatsConfig, GatedDeltaConfig,
    HeadsConfig, IndexerConfig, LatentConfig, LayerConfig, LayerFormatsConfig, Mamba2Config, MlpConfig,
    RecurrentConfig, RoutingConfig, SlidingConfig, TableConfig,
};
