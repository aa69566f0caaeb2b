//! Routing as it is typed: `generated`, `uniform`, `zipf:1.2` or the path of recorded routing.

use super::{ExpertTraceConfig, RecordedRoutingConfig, RoutingGeneratorConfig};
use std::str::FromStr;
use thiserror::Error;

/// What is typed for a routing and is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "'{0}' is no routing: write generated (tokens are routed as the model says), uniform (to all experts alike), \
     zipf:EXPONENT, as in zipf:1.2, or the path of recorded routing, FILE.parquet or FILE.jsonl"
)]
pub struct RoutingTextError(String);

/// What the names of files of recorded routing end with.
const RECORDED: [&str; 2] = [".parquet", ".jsonl"];

impl FromStr for ExpertTraceConfig {
    type Err = RoutingTextError;

    fn from_str(text: &str) -> Result<Self, RoutingTextError> {
        let is_file = |ending: &&str| text.len() > ending.len() && text.to_lowercase().ends_with(*ending);
        if RECORDED.iter().any(is_file) {
            return Ok(Self::Recorded(RecordedRoutingConfig { file: text.into(), ..RecordedRoutingConfig::default() }));
        }
        let exponent = match text.to_lowercase().split_once(':') {
            None if text.eq_ignore_ascii_case("generated") => None,
            None if text.eq_ignore_ascii_case("uniform") => Some(0.0),
            Some(("zipf", exponent)) => Some(exponent.trim().parse().map_err(|_| RoutingTextError(text.to_owned()))?),
            _ => return Err(RoutingTextError(text.to_owned())),
        };
        Ok(Self::Generated(RoutingGeneratorConfig { exponent, ..RoutingGeneratorConfig::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_recorded_routing() {
        for file in ["a/b.parquet", "b.JSONL"] {
            let Ok(ExpertTraceConfig::Recorded(recorded)) = file.parse() else { panic!("{file}") };
            assert_eq!(recorded.file.to_string_lossy(), file);
        }
        assert!(".jsonl".parse::<ExpertTraceConfig>().is_err());
    }

    #[test]
    fn words_and_exponents() {
        let exponent = |text: &str| match text.parse() {
            Ok(ExpertTraceConfig::Generated(config)) => config.exponent,
            other => panic!("{other:?}"),
        };
        assert_eq!(["generated", "Uniform", "zipf:1.25"].map(exponent), [None, Some(0.0), Some(1.25)]);
        for text in ["", "zipf", "zipf:a", "zip:1", "generated:1"] {
            assert!(text.parse::<ExpertTraceConfig>().unwrap_err().to_string().contains("zipf:1.2"), "{text}");
        }
    }
}
