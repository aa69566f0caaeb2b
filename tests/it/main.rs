//! The tests of tiersim as one program, so that one link serves them all.
//!
//! A module is a subject: `cargo test --test it fabric::` runs that of the fabric. `common` has the
//! transfers, systems and small decode runs that several of them carry out. `tests/heap` is a
//! program of its own, as it counts what a whole process allocates.

mod common;

mod architecture;
mod attention;
mod browser;
mod caches;
mod calibration;
mod cancel;
mod channel_runs;
mod channels;
mod cli;
mod decide;
mod decision_pictures;
mod decode;
mod defaults;
mod dram;
mod efficiency;
mod experts;
mod explain;
mod explore;
mod fabric;
mod granules;
mod hostile;
mod html;
mod huggingface;
mod in_flight;
mod inclusive;
mod index;
mod inputs;
mod kernels;
mod kv_groups;
mod layouts;
mod machines;
mod memory_import;
mod models;
mod one_tier;
mod outputs;
mod pages;
mod planner;
mod reading;
mod readmes;
mod refused_memory;
mod replay;
mod requests;
mod requests_reports;
mod requests_wiring;
mod requests_workload;
mod results;
mod rules;
mod runtimes;
mod search;
mod sequences;
mod strategies;
mod sweep_page;
mod sweeps;
mod tier_compute;
mod traces;
mod validation;
mod workloads;
