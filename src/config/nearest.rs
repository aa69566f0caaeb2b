//! The name that was meant by one that is misspelt.

/// Of `known`, the name that is most like `given`, if one is like it: the same but for case, `-`
/// and `_`, one or two letters in ten apart, or one that starts with it.
///
/// ```
/// use tiersim::config::nearest;
/// assert_eq!(nearest("latency", ["token_latency_ns", "steps"]), Some("token_latency_ns"));
/// assert_eq!(nearest("gh20", ["gh200", "a100"]), Some("gh200"));
/// assert_eq!(nearest("quux", ["gh200", "a100"]), None);
/// ```
#[must_use]
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Names are short; a long text is no name, and to compare it takes the product of the lengths.
    if given.is_empty() || given.len() > 100 {
        return None;
    }
    let plain = |name: &str| name.to_lowercase().replace(['-', '_', ' '], "");
    let wanted = plain(given);
    let likeness = |name: &str| {
        let name = plain(name);
        let alike = strsim::normalized_damerau_levenshtein(&wanted, &name);
        // Part of a longer name is as good as a few letters that are wrong.
        let part = wanted.len() >= 3 && name.contains(&wanted);
        if part { alike.max(0.8 + 0.1 * alike) } else { alike }
    };
    let rated = known.into_iter().map(|name| (likeness(name), name)).filter(|(alike, _)| *alike >= 0.65);
    // The first of equals.
    rated
        .fold(
            None,
            |best: Option<(f64, &str)>, one| if best.is_some_and(|best| best.0 >= one.0) { best } else { Some(one) },
        )
        .map(|(_, name)| name)
}

/// ` Did you mean 'NAME'?`, or nothing where no name of `known` is like `given`; to end a message
/// with.
#[must_use]
pub fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(given, known).map_or_else(String::new, |name| format!(" Did you mean '{name}'?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_close_are_found() {
        let known = ["baseline", "best-ratio", "balanced-online", "balanced-predictive"];
        for (given, meant) in [
            ("base-line", Some("baseline")),
            ("BestRatio", Some("best-ratio")),
            ("balanced-onlnie", Some("balanced-online")),
            ("balanced", Some("balanced-online")),
            ("xyz", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known), meant, "{given}");
        }
        assert_eq!(did_you_mean("base-line", known), " Did you mean 'baseline'?");
        assert_eq!(did_you_mean(&"x".repeat(1 << 20), known), "");
    }
}
