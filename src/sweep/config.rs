//! Sweep files: the RON form of a sweep, as a person writes it.
//!
//! The types here mirror the file and are not checked beyond their syntax; [`Plan`](super::Plan)
//! checks them. `models/README.md` documents the format with an example.

use crate::catalog;
use crate::config::{self, ConfigError, Reference};
use crate::simulation::ScenarioConfig;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A sweep as a person writes it: a RON file in `models/sweeps/`.
///
/// Paths in a file are relative to that file. [`Plan::new`](super::Plan::new) checks all of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Sweep", deny_unknown_fields)]
pub struct SweepConfig {
    /// Its name in reports.
    pub name: String,
    /// Its question, in one line.
    #[serde(default)]
    pub about: String,
    /// The scenario that the cells vary.
    pub base: Reference<ScenarioConfig>,
    /// Fields of the scenario that have one value in all cells, by path.
    #[serde(default)]
    pub set: BTreeMap<String, Value>,
    /// The axes; the last axis varies fastest.
    pub axes: Vec<AxisConfig>,
    /// A sample of points of the axes, instead of every combination.
    #[serde(default)]
    pub sample: Option<SampleConfig>,
    /// Combinations to leave out: by axis the value or values, or a limit such as `"> 4GiB"`.
    #[serde(default)]
    pub exclude: Vec<BTreeMap<String, Value>>,
    /// How often each cell is run, with seeds that count up from the scenario's.
    #[serde(default = "once", deserialize_with = "crate::config::count_from_1")]
    pub repeats: u32,
    /// The field that repeats count up.
    #[serde(default = "seed")]
    pub seed: String,
}

fn once() -> u32 {
    1
}

/// The default of [`SweepConfig::seed`].
fn seed() -> String {
    "trace.seed".to_owned()
}

/// An axis. A `field` is a path as `--set` takes it; `memory.external.link.read+write` are two
/// fields with one value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum AxisConfig {
    /// A list.
    Values {
        /// The path.
        field: String,
        /// As `--set` takes them.
        values: Vec<Value>,
    },
    /// Values at the same distance.
    Linear {
        /// The path.
        field: String,
        /// The first.
        from: Value,
        /// The last.
        to: Value,
        /// How many; left out where the axes are sampled.
        #[serde(default)]
        points: Option<u32>,
    },
    /// Values at the same ratio.
    Geometric {
        /// The path.
        field: String,
        /// The first.
        from: Value,
        /// The last.
        to: Value,
        /// How many; left out where the axes are sampled.
        #[serde(default)]
        points: Option<u32>,
    },
    /// Several fields at a time.
    Choices {
        /// The name of the axis.
        name: String,
        /// The name of each choice, with its fields and their values.
        choices: Vec<(String, BTreeMap<String, Value>)>,
    },
}

/// How points are drawn that cover the axes evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum SampleConfig {
    /// Each axis is cut into as many parts as there are points; each part has one.
    LatinHypercube {
        /// The number of points.
        #[serde(deserialize_with = "crate::config::count_from_1")]
        points: u32,
        /// The seed of the random numbers.
        #[serde(default)]
        seed: u64,
    },
    /// Sobol's sequence, scrambled after Owen; even over all axes at once, best for powers of two.
    Sobol {
        /// The number of points.
        #[serde(deserialize_with = "crate::config::count_from_1")]
        points: u32,
        /// The seed of the scrambling.
        #[serde(default)]
        seed: u64,
    },
}

impl SampleConfig {
    /// How many points.
    #[must_use]
    pub fn points(self) -> u32 {
        match self {
            Self::LatinHypercube { points, .. } | Self::Sobol { points, .. } => points,
        }
    }
}

impl SweepConfig {
    /// A sweep of `base` over `axes`, every combination once.
    #[must_use]
    pub fn of(name: String, base: ScenarioConfig, axes: Vec<AxisConfig>) -> Self {
        Self {
            name,
            about: String::new(),
            base: Reference::Inline(base),
            set: BTreeMap::new(),
            axes,
            sample: None,
            exclude: Vec::new(),
            repeats: once(),
            seed: seed(),
        }
    }

    /// The sweep of that name or path.
    ///
    /// # Errors
    /// [`ConfigError`] if there is none or its file is not valid.
    pub fn load(name_or_path: &str) -> Result<Self, ConfigError> {
        let (text, origin) = catalog::text("sweep", catalog::SWEEPS, name_or_path)?;
        catalog::check_kind(&text, &origin, catalog::FileKind::Sweep)?;
        let mut sweep: Self = config::parse(&text, &origin)?;
        if origin == name_or_path
            && let Some(folder) = Path::new(name_or_path).parent()
        {
            sweep.relative_to(folder);
        }
        Ok(sweep)
    }

    /// Paths as seen from the working directory, where they were relative to `folder`.
    fn relative_to(&mut self, folder: &Path) {
        let seen_from_here = |name: &mut String| {
            let path = folder.join(&*name);
            if path.is_file() {
                *name = path.to_string_lossy().into_owned();
            }
        };
        if let Reference::Name(name) = &mut self.base {
            seen_from_here(name);
        }
        let files = |path: &str| ["model", "memory", "trace", "trace.file"].contains(&path);
        let relative = |path: &str, value: &mut Value| {
            if let (true, Value::String(name)) = (files(path), value) {
                seen_from_here(name);
            }
        };
        self.set.iter_mut().for_each(|(path, value)| relative(path, value));
        for axis in &mut self.axes {
            match axis {
                AxisConfig::Values { field, values } => values.iter_mut().for_each(|value| relative(field, value)),
                AxisConfig::Choices { choices, .. } => {
                    let fields = choices.iter_mut().flat_map(|(_, fields)| fields);
                    fields.for_each(|(path, value)| relative(path, value));
                }
                AxisConfig::Linear { .. } | AxisConfig::Geometric { .. } => {}
            }
        }
    }
}
