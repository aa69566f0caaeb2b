//! `--set path=value`: any field of a scenario.

use super::error::CliError;
use crate::simulation::{Fields, ScenarioConfig};
use serde_json::Value;

/// Sets each `path=value` on `config`, by the paths of [`Fields`]. A value is JSON (`0.4`, `true`, `null`, `{...}`) or else
/// text (`8GiB`).
pub(super) fn apply(config: &ScenarioConfig, assignments: &[String]) -> Result<ScenarioConfig, CliError> {
    let mut fields = Fields::new(config).map_err(|error| CliError::Usage(error.to_string()))?;
    for assignment in assignments {
        let usage = |message: String| CliError::Usage(format!("--set {assignment}: {message}"));
        let (path, text) = assignment
            .split_once('=')
            .ok_or_else(|| usage("write it as path=value, such as memory.hbm.capacity=8GiB".to_owned()))?;
        fields.set(path, value(text)).map_err(|error| usage(error.to_string()))?;
        // Read back at once, so that an error names the assignment that caused it.
        fields.config().map_err(|error| usage(error.to_string()))?;
    }
    fields.config().map_err(|error| CliError::Usage(error.to_string()))
}

/// A value as it is typed on the command line.
pub(super) fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}
