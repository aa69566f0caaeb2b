#![doc = include_str!("README.md")]

mod check;
mod checked;
mod computes;
mod config;
mod curve;
mod direct;
mod notes;
mod reads;
mod tier_compute;

pub use check::RuntimeError;
pub use checked::Runtime;
pub use computes::{ComputedPiece, Merge, TierComputeConfig};
pub use config::{
    AmplificationConfig, BySize, InterferenceConfig, RanksConfig, ReachClass, ReachConfig, ReadsConfig, RuntimeConfig,
};
pub use reads::Pipeline;
pub use tier_compute::{TierCompute, TierComputes};
