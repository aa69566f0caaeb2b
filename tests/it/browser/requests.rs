//! The page of a run that serves requests, as a reader meets it: from disk, on a desktop and on a
//! phone at night.

use super::driver::{Browser, DESKTOP, NO_BROWSER, PHONE, key};
use crate::requests_reports::served;
use crate::skip;
use serde_json::json;

/// The ids of the plots, in their order.
const PLOTS: &str = "Array.from(document.querySelectorAll('figure'), (one) => one.id.replace('g0-', '')).join(' ')";
/// The labels of the axes of a plot.
const MARKS: &str = "((id) => Array.from(document.querySelectorAll('#g0-' + id + ' svg.axes text'), (one) => one.textContent).join('|'))";

#[test]
fn plots_over_time_are_read_zoomed_and_toggled() {
    let folder = served();
    let address = format!("file://{}", folder.path().join("out/report.html").display());
    for screen in [DESKTOP, PHONE] {
        let Some(browser) = Browser::start(screen) else { skip!("{NO_BROWSER}") };
        browser.open(&address);
        assert_eq!(browser.text(PLOTS), "requests tokens steps memory pages reads moves cdf");
        let width = browser.script("return document.documentElement.scrollWidth");
        assert!(width.as_u64().unwrap() <= u64::from(screen.width), "{width} of {screen:?}");
        let light = browser.text("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)";
        assert_eq!(light, !screen.dark);

        // Times are read to fractions, not as counts.
        browser.script("document.querySelector('#g0-requests svg.axes').focus()");
        browser.keys("#g0-requests svg.axes", key::RIGHT);
        browser.keys("#g0-requests svg.axes", key::RIGHT);
        browser.until("document.getElementById('status').textContent");
        let said = browser.text("document.getElementById('status').textContent");
        assert!(said.starts_with("time (s): ") && said.contains("running ") && said.contains("waiting "), "{said}");

        // A zoom is that of all plots over time.
        let before = browser.text(&format!("{MARKS}('memory')"));
        browser.click("#g0-requests button[aria-label='Zoom in']");
        assert_ne!(browser.text(&format!("{MARKS}('memory')")), before);
        browser.click("#g0-memory button[aria-label='Show all']");
        assert_eq!(browser.text(&format!("{MARKS}('memory')")), before);

        let lines = "document.querySelectorAll('#g0-requests path.line').length";
        assert_eq!(browser.text(lines), "2");
        browser.click("#g0-requests .legend button");
        assert_eq!(browser.text(lines), "1");

        // The distributions of what a person waits for come first.
        let choices = browser.text("Array.from(document.querySelectorAll('#g0-cdf option'), (one) => one.textContent).slice(0, 5).sort().join(', ')");
        assert_eq!(choices, "TPOT, TTFT, end-to-end time, queueing, time between tokens");
        let unnamed = browser.script(
            "return Array.from(document.querySelectorAll('button, select, svg.axes')).filter((one) => one.checkVisibility() &&
               !(one.getAttribute('aria-label') || one.textContent.trim())).map((one) => one.outerHTML)",
        );
        assert_eq!(unnamed, json!([]));
        browser.quiet();
    }
}
