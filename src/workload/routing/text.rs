//! Routing as it is typed: `generated`, `uniform` or `zipf:1.2`.

use super::{ExpertTraceConfig, RoutingGeneratorConfig};
use std::str::FromStr;
use thiserror::Error;

/// What is typed for a routing and is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "'{0}' is no routing: write generated (tokens are routed as the model says), uniform (to all experts alike) or \
     zipf:EXPONENT, as in zipf:1.2"
)]
pub struct RoutingTextError(String);

impl FromStr for ExpertTraceConfig {
    type Err = RoutingTextError;

    fn from_str(text: &str) -> Result<Self, RoutingTextError> {
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
