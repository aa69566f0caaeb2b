//! The style and the scripts that pages have in common, and the hashes by which a page's content
//! security policy allows the scripts.
//!
//! A report embeds all of them, as it opens from disk; `tiersim explore` serves [`STYLE`] and
//! [`PLOTS`] as files. A page allows the scripts with these hashes and no others, so that text that
//! gets into a page is never run.

/// The style of every page.
pub const STYLE: &str = include_str!("page.css");
/// The plotting module, `window.tiersim`.
pub const PLOTS: &str = include_str!("plots.js");
/// What a report does with the plots.
const REPORT: &str = include_str!("page.js");

/// A script that a page embeds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    pub text: &'static str,
    /// SHA-256 in base64, as `openssl dgst -sha256 -binary FILE | base64` prints it.
    hash: &'static str,
}

/// The scripts of a report, in the order in which they run.
pub(super) const SCRIPTS: [Script; 2] = [
    Script { text: PLOTS, hash: "Cm6ZTFK1gXi6d9bEA+CHpoeCzvL54VEF8ouDaAR84KM=" },
    Script { text: REPORT, hash: "vGgIuKsin8IXc2thhsLKXlcaqSwLvGjypNySsegnrUU=" },
];

/// Adds maps of coloured cells to `window.tiersim`.
pub(super) const MAPS: Script =
    Script { text: include_str!("maps.js"), hash: "a4zEy4ogXjQxt4zOEnKUjl+D82fXjggCuEkvAZS6RSI=" };
/// The choices of a sweep's page, drawn with the plots and [`MAPS`].
pub(super) const CELLS: Script =
    Script { text: include_str!("cells.js"), hash: "w9jhlHLkrLqjHvBAcb4I3z8o9EDZ6EWjLZWrA+YYVnc=" };
/// The reading of a map of winners.
pub(super) const WINNERS: Script =
    Script { text: include_str!("winners.js"), hash: "FfvXgeg02P0F1o3MHbGsr1NOuF837dQ6Mi3rdkV1bsw=" };

/// The sources of a page's `script-src`.
pub(super) fn sources(scripts: &[Script]) -> String {
    scripts.iter().map(|script| format!("'sha256-{}'", script.hash)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use sha2::{Digest, Sha256};

    #[test]
    fn every_script_is_the_one_that_its_hash_allows() {
        for script in SCRIPTS.iter().chain([&MAPS, &CELLS, &WINNERS]) {
            let hash = BASE64_STANDARD.encode(Sha256::digest(script.text));
            assert_eq!(hash, script.hash, "{}", script.text.lines().next().unwrap_or_default());
        }
    }
}
