#![doc = include_str!("README.md")]

mod check;
mod checked;
mod config;
mod curve;
mod direct;
mod notes;
mod reads;
mod tier_compute;

pub use check::RuntimeError;
pub use checked::Runtime;
pub use config::{
    AmplificationConfig, BySize, InterferenceConfig, RanksConfig, ReachClass, ReachConfig, ReadsConfig, RuntimeConfig,
};
pub use reads::Pipeline;
pub use tier_compute::{ComputedPiece, Merge, TierCompute, TierComputeConfig, TierComputes};
