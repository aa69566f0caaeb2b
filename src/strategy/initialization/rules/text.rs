//! Layouts in text: reading, writing, and as a field of a configuration.

use super::{Layers, LayoutError, LayoutRules, Piece, Rule};
use crate::config::did_you_mean;
use crate::units::Ratio;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The word before a range of layers.
const LAYERS: [&str; 2] = ["layers", "layer"];

impl LayoutRules {
    /// The rules that are written in a list, each as one rule.
    fn of_list(list: &[String]) -> Result<Self, LayoutError> {
        let rules = list.iter().map(|rule| rule.parse()).collect::<Result<Vec<Rule>, _>>()?;
        if rules.is_empty() { Err(LayoutError::NoRules) } else { Ok(Self(rules)) }
    }
}

impl FromStr for LayoutRules {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        let rules = text.split([',', ';']).map(str::trim).filter(|rule| !rule.is_empty());
        Self::of_list(&rules.map(str::to_owned).collect::<Vec<_>>())
    }
}

impl FromStr for Rule {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        let text = text.trim();
        let rule = || text.to_owned();
        let form = || LayoutError::Form { rule: rule() };
        let (selected, goes) = text.split_once('=').ok_or_else(form)?;
        let mut words = selected.split_whitespace().peekable();
        let first = *words.peek().ok_or_else(form)?;
        let piece = if LAYERS.contains(&first) {
            Piece::All
        } else {
            words.next();
            let known = Piece::NAMED.map(|(name, _)| name);
            let found = Piece::NAMED.iter().find(|(name, _)| *name == first);
            found.map(|(_, piece)| *piece).ok_or_else(|| LayoutError::Piece {
                rule: rule(),
                piece: first.to_owned(),
                known: known.join(", "),
                meant: did_you_mean(first, known),
            })?
        };
        let layers = match words.next() {
            None => None,
            Some(word) if LAYERS.contains(&word) => {
                let range = words.collect::<String>();
                Some(range.parse().map_err(|()| LayoutError::Layers { rule: rule(), layers: range.clone() })?)
            }
            Some(_) => return Err(form()),
        };
        if layers.is_some() && matches!(piece, Piece::Embedding | Piece::Head) {
            return Err(LayoutError::NoLayers { rule: rule(), piece: piece.to_string() });
        }
        let goes = goes.trim();
        // A share begins with a digit, which a tier's name after it does not follow without a
        // space.
        let (share, tier) = match goes.split_once(char::is_whitespace) {
            Some((share, tier)) => (Some(share), tier.trim()),
            None if goes.ends_with('%') => (Some(goes), ""),
            None => (None, goes),
        };
        if tier.is_empty() || tier.contains(['=', '%']) {
            return Err(form());
        }
        let share = match share {
            None => None,
            Some(share) => {
                let share: Ratio =
                    share.parse().map_err(|error| LayoutError::Share { rule: rule(), message: format!("{error}") })?;
                if share == Ratio::default() {
                    let message = "a share of 0 selects nothing: leave the rule out".to_owned();
                    return Err(LayoutError::Share { rule: rule(), message });
                }
                Some(share)
            }
        };
        Ok(Self { piece, layers, share, tier: tier.to_owned() })
    }
}

impl FromStr for Layers {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |text: &str| text.parse::<u32>().map_err(|_| ());
        let layers = match text.split_once("..") {
            None => {
                let start = number(text)?;
                Self { start, end: Some(start.checked_add(1).ok_or(())?) }
            }
            Some((start, end)) => Self {
                start: if start.is_empty() { 0 } else { number(start)? },
                end: if end.is_empty() { None } else { Some(number(end)?) },
            },
        };
        if layers.end.is_some_and(|end| end <= layers.start) { Err(()) } else { Ok(layers) }
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { start, end: Some(end) } if end == start + 1 => write!(f, "{start}"),
            Self { start, end: Some(end) } => write!(f, "{start}..{end}"),
            Self { start, end: None } => write!(f, "{start}.."),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.piece, self.layers) {
            (piece, None) => write!(f, "{piece}")?,
            (Piece::All, Some(layers)) => write!(f, "layers {layers}")?,
            (piece, Some(layers)) => write!(f, "{piece} layers {layers}")?,
        }
        match self.share {
            None => write!(f, "={}", self.tier),
            Some(share) => write!(f, "={}% {}", share.percent(), self.tier),
        }
    }
}

impl fmt::Display for LayoutRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<String> = self.0.iter().map(Rule::to_string).collect();
        f.pad(&rules.join(", "))
    }
}

impl Serialize for LayoutRules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LayoutRules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "rules as text, such as \"experts=external, *=hbm\", or a list of them")]
        enum Written {
            Text(String),
            List(Vec<String>),
        }
        let rules = match Written::deserialize(deserializer)? {
            Written::Text(text) => text.parse(),
            Written::List(list) => Self::of_list(&list),
        };
        rules.map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> LayoutError {
        text.parse::<LayoutRules>().unwrap_err()
    }

    #[test]
    fn rules_are_written_as_they_are_read() {
        for (typed, written) in [
            ("mlp=cpu, *=gpu", "mlp=cpu, *=gpu"),
            (" experts layers 0..20 = 25% hbm ;kv=0.6 hbm;*=hbm;", "experts layers 0..20=25% hbm, kv=60% hbm, *=hbm"),
            ("layers ..3=a, layer 7=b, layers 9..=c", "layers 0..3=a, layers 7=b, layers 9..=c"),
            ("* layers 4=33.3% x", "layers 4=33.3% x"),
        ] {
            let rules: LayoutRules = typed.parse().unwrap();
            assert_eq!(rules.to_string(), written, "{typed}");
            assert_eq!(written.parse::<LayoutRules>().unwrap(), rules);
            let list: Vec<String> = rules.0.iter().map(Rule::to_string).collect();
            for value in [serde_json::to_value(&rules).unwrap(), list.into()] {
                assert_eq!(serde_json::from_value::<LayoutRules>(value).unwrap(), rules);
            }
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        assert_eq!(error(" ; ,"), LayoutError::NoRules);
        for text in ["experts", "=hbm", "mlp=", "mlp=60%", "mlp 0..3=hbm", "mlp=a=b", "mlp=10% 20% hbm"] {
            assert!(matches!(error(text), LayoutError::Form { .. }), "{text}: {}", error(text));
        }
        for text in
            ["mlp layers=a", "mlp layers 3..3=a", "layers 5..2=a", "layers x=a", "layers -1=a", "layers 4294967295=a"]
        {
            assert!(matches!(error(text), LayoutError::Layers { .. }), "{text}: {}", error(text));
        }
        for text in ["mlp=0% hbm", "mlp=101% hbm", "mlp=two hbm", "mlp=NaN hbm"] {
            assert!(matches!(error(text), LayoutError::Share { .. }), "{text}: {}", error(text));
        }
        assert!(error("expert=hbm").to_string().contains("Did you mean 'experts'?"), "{}", error("expert=hbm"));
        assert!(matches!(error("head layers 0..2=hbm"), LayoutError::NoLayers { .. }));
    }
}
