//! What a request must meet to count as goodput.

use crate::units::{SimTime, deserialize_from_text, serialize_as_text};
use std::fmt;
use std::str::FromStr;

/// What a request must meet to count as goodput: `"ttft<2s,tpot<50ms"`; nothing by default.
///
/// ```
/// use tiersim::workload::GoalsConfig;
/// let goals: GoalsConfig = "ttft<2s, tpot<50ms".parse()?;
/// assert_eq!(goals.to_string(), "ttft<2s,tpot<50ms");
/// assert_eq!(goals.e2e, None);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoalsConfig {
    /// The longest time from arrival to the first token.
    pub ttft: Option<SimTime>,
    /// The longest mean time between the tokens of a request.
    pub tpot: Option<SimTime>,
    /// The longest time from arrival to the last token.
    pub e2e: Option<SimTime>,
}

impl GoalsConfig {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The goals by name.
    fn named(&self) -> [(&'static str, Option<SimTime>); 3] {
        [("ttft", self.ttft), ("tpot", self.tpot), ("e2e", self.e2e)]
    }

    /// # Errors
    /// What is wrong, in words.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.named().iter().find(|(_, limit)| *limit == Some(SimTime::ZERO)) {
            Some((name, _)) => Err(format!("{name}<0: no request takes no time: write a longer one, or leave it out")),
            None => Ok(()),
        }
    }
}

impl fmt::Display for GoalsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, limit) in self.named() {
            if let Some(limit) = limit {
                write!(f, "{separator}{name}<{}", limit.to_string().replace(' ', ""))?;
                separator = ",";
            }
        }
        Ok(())
    }
}

impl FromStr for GoalsConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut goals = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let example = "write goals such as ttft<2s,tpot<50ms,e2e<30s";
            let (name, limit) = part.split_once('<').ok_or_else(|| format!("'{part}' is no goal: {example}"))?;
            let limit: SimTime = limit.parse().map_err(|error| format!("{}: {error}", name.trim()))?;
            let goal = match name.trim() {
                "ttft" => &mut goals.ttft,
                "tpot" => &mut goals.tpot,
                "e2e" => &mut goals.e2e,
                other => return Err(format!("there is no '{other}': {example}")),
            };
            if goal.replace(limit).is_some() {
                return Err(format!("{} comes twice: {example}", name.trim()));
            }
        }
        goals.check().map(|()| goals)
    }
}

serialize_as_text!(GoalsConfig);
deserialize_from_text!(GoalsConfig, "goals such as \"ttft<2s,tpot<50ms\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_read_as_they_are_printed() {
        for text in ["", "ttft<2s", "ttft<1.5s,tpot<50ms,e2e<30s", "e2e<1us"] {
            assert_eq!(text.parse::<GoalsConfig>().unwrap().to_string(), text);
        }
        assert_eq!(" tpot < 0.05 s ,".parse::<GoalsConfig>().unwrap().to_string(), "tpot<50ms");
    }

    #[test]
    fn wrong_goals_say_what_to_write() {
        for (text, reason) in [
            ("ttft", "no goal"),
            ("ttft>2s", "no goal"),
            ("ttft<2", "no unit"),
            ("ttft<-2s", "negative"),
            ("ttft<0s", "no request takes no time"),
            ("itl<2s", "no 'itl'"),
            ("ttft<2s,ttft<3s", "twice"),
        ] {
            let error = text.parse::<GoalsConfig>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
