//! The files of the page, all of them part of the binary.

/// A file: its name below the token, its type, and its text.
pub type File = (&'static str, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// All of them; the page itself has no name. The style and the plots are those of reports.
pub const FILES: &[File] = &[
    ("", HTML, include_str!("page/explore.html")),
    ("page.css", CSS, include_str!("../report/html/page.css")),
    ("explore.css", CSS, include_str!("page/explore.css")),
    ("plots.js", SCRIPT, include_str!("../report/html/plots.js")),
    ("explore.js", SCRIPT, include_str!("page/explore.js")),
    ("answer.js", SCRIPT, include_str!("page/answer.js")),
    ("ask.js", SCRIPT, include_str!("page/ask.js")),
    ("controls.js", SCRIPT, include_str!("page/controls.js")),
    ("map.js", SCRIPT, include_str!("page/map.js")),
    ("pinned.js", SCRIPT, include_str!("page/pinned.js")),
    ("state.js", SCRIPT, include_str!("page/state.js")),
    ("units.js", SCRIPT, include_str!("page/units.js")),
];

#[cfg(test)]
mod tests {
    use super::FILES;
    use std::collections::BTreeSet;

    #[test]
    fn every_file_that_the_page_names_is_served_and_no_other() {
        let mut named = BTreeSet::from([String::new()]);
        for file in FILES {
            for piece in file.2.split('"').skip(1).step_by(2) {
                let name = piece.trim_start_matches("./");
                let is_file = name.ends_with(".js") || name.ends_with(".css");
                if is_file && !name.contains([' ', '/']) {
                    named.insert(name.to_owned());
                }
            }
        }
        let served: BTreeSet<String> = FILES.iter().map(|file| file.0.to_owned()).collect();
        assert_eq!(named, served);
    }

    #[test]
    fn the_page_has_no_inline_styles_and_scripts_which_its_policy_forbids() {
        let page = FILES[0].2;
        assert!(!page.contains("style=") && !page.contains("<style"), "an inline style");
        assert!(page.split("<script").skip(1).all(|script| script.starts_with(" src=")), "an inline script");
        assert!(!page.contains(" on"), "an inline handler");
    }
}
