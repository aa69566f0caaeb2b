//! Runtimes that are shipped, by software and machine: `llama.cpp/dgx-spark`, `llama.cpp/any`.

use super::{FileKind, RUNTIMES, load, meaning};
use crate::config::{ConfigError, Reference};
use crate::workload::RuntimeConfig;

/// The end of the name of a runtime's file with typical values, for machines without one.
const ANY: &str = "any";

/// The runtime of that name or path for the memory system named `memory`.
///
/// A name without a machine (`llama.cpp`) stands for the file of that memory system or, where there
/// is none, for the one with typical values: `llama.cpp/any`.
///
/// # Errors
/// [`ConfigError`] if there is none or its file is not right.
pub fn runtime(name_or_path: &str, memory: &str) -> Result<RuntimeConfig, ConfigError> {
    let name = runtime_file(name_or_path, memory);
    let (config, origin): (RuntimeConfig, String) = load("runtime", FileKind::Runtime, name)?;
    config.check().map_err(|error| meaning(origin, &error))?;
    Ok(config)
}

/// The name of the shipped file for which the name of a runtime stands on the memory system named
/// `memory`; any other name or path as it is.
#[must_use]
pub fn runtime_file<'a>(name_or_path: &'a str, memory: &str) -> &'a str {
    let shipped = |name: &str| RUNTIMES.iter().map(|file| file.name).find(|known| *known == name);
    let of_machine = |machine: &str| shipped(&format!("{name_or_path}/{machine}"));
    shipped(name_or_path).or_else(|| of_machine(memory)).or_else(|| of_machine(ANY)).unwrap_or(name_or_path)
}

/// The runtime for the memory system named `memory`, with what it names spelled out.
///
/// # Errors
/// [`ConfigError`] if there is nothing of its name.
pub fn resolved_runtime(runtime: Reference<RuntimeConfig>, memory: &str) -> Result<RuntimeConfig, ConfigError> {
    runtime.resolve(|name| self::runtime(name, memory))
}

/// Whether a shipped runtime has that name, with or without a machine.
#[must_use]
pub fn is_runtime(name: &str) -> bool {
    runtime_names().contains(&name)
}

/// The names of all shipped runtimes: of the software, then with each machine.
#[must_use]
pub fn runtime_names() -> Vec<&'static str> {
    let files = || RUNTIMES.iter().map(|file| file.name);
    let mut names: Vec<&str> =
        files().map(|name| name.split_once('/').map_or(name, |(software, _)| software)).collect();
    names.dedup();
    let with_machine = files().filter(|name| name.contains('/'));
    names.into_iter().chain(with_machine).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_runtime_is_read() {
        for file in RUNTIMES {
            let found = runtime(file.name, "study").unwrap();
            let (software, machine) = file.name.split_once('/').unwrap_or((file.name, ANY));
            assert_eq!(found.name, software, "{}", file.name);
            assert_eq!(found.machine.as_deref().unwrap_or(ANY), machine, "{}", file.name);
        }
        assert!(runtime("ideal", "study").unwrap().is_ideal());
        let unknown = runtime("idael", "study").unwrap_err().to_string();
        assert!(unknown.contains("no runtime named 'idael'") && unknown.contains("Did you mean 'ideal'?"), "{unknown}");
    }
}
