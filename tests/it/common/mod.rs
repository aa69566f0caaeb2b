//! What several modules of tests use.
//!
//! * `systems`, `plans`, `random`: memory systems and transfers over them, built by hand or drawn.
//! * `replay`, `twins`: a plan carried out by the fabric, and by a slow twin of `fair` and
//!   `priority`.
//! * `runs`, `study`: small decode runs, and the study, which is run once.
//! * `program`: the program as a user starts it.
//! * `dram_commands`, `schema`, `python`: a cycle-level twin of DRAM, a validator of JSON Schemas,
//!   and interpreters of Python with packages.
//! * `properties`, `skip`: how many cases property tests try, and visible skips.

pub mod dram_commands;
pub mod plans;
pub mod program;
pub mod properties;
pub mod python;
pub mod random;
pub mod replay;
pub mod runs;
pub mod schema;
pub mod skip;
pub mod study;
pub mod systems;
pub mod twins;

pub use plans::*;
pub use replay::*;
pub use systems::*;
pub use twins::*;
