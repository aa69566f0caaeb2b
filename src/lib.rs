//! tiersim
pub mod catalog;
pub mod cli;
pub mod config;
pub mod kernel;
pub mod memory;
pub mod metrics;
pub mod report;
pub mod simulation;
pub mod strategy;
pub mod study;
pub mod units;
pub mod workload;
