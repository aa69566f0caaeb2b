//! `tiersim explore` as a person uses it: looks, moves sliders, goes back, pins, picks from the
//! map.

use super::driver::{Browser, DESKTOP, NO_BROWSER, PHONE, Screen, key};
use crate::common::program::binary;
use crate::skip;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

/// A page that shows what a user knows as soon as it is drawn; debug builds start slowly.
const FIRST_PAINT_MS: f64 = if cfg!(debug_assertions) { 1500.0 } else { 300.0 };
/// Layout shift that nobody sees.
const STEADY: f64 = 0.02;

/// A server of the page, with a small model, and where it is.
struct Explorer {
    server: Child,
    address: String,
}

impl Explorer {
    fn start() -> Self {
        let arguments = ["explore", "--no-open", "--model", "study", "--memory", "study", "--prefill", "2k"];
        let mut server = Command::new(binary())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let lines = BufReader::new(server.stdout.take().expect("it is piped")).lines();
        let address = lines.map_while(Result::ok).find_map(|line| {
            let from = line.find("http://")?;
            line[from..].split_whitespace().next().map(str::to_owned)
        });
        Self { server, address: address.expect("explore prints its address") }
    }
}

impl Drop for Explorer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// That the figures are those of the controls, simulated to the last step.
const SETTLED: &str = "document.querySelector('#results[data-query]')?.getAttribute('aria-busy') === 'false'";
const SENTENCE: &str = "document.getElementById('sentence').textContent";
const FIGURES: &str = "document.querySelector('#figures table').textContent";
const ADDRESS: &str = "location.hash";
/// That the address holds the setting that the figures belong to.
const SAME: &str = "location.hash.slice(1).startsWith(document.getElementById('results').dataset.query)";

/// The page in a browser, when it has answered.
fn opened(screen: Screen) -> Option<(Explorer, Browser)> {
    let browser = Browser::start(screen)?;
    let explorer = Explorer::start();
    browser.open(&explorer.address);
    browser.until(SETTLED);
    Some((explorer, browser))
}

/// Waits for the answer to a change that has just been made.
fn settle(browser: &Browser) {
    browser.until(SETTLED);
    browser.until(SAME);
}

#[test]
fn the_page_paints_at_once_without_jumps_and_answers() {
    let Some((_explorer, browser)) = opened(DESKTOP) else { skip!("{NO_BROWSER}") };
    let paint = browser.script("return performance.getEntriesByName('first-contentful-paint')[0].startTime");
    assert!(paint.as_f64().unwrap() < FIRST_PAINT_MS, "the first paint came after {paint} ms");
    assert!(browser.text(SENTENCE).contains("tokens/s"), "{}", browser.text(SENTENCE));
    assert_eq!(browser.text("document.getElementById('results').dataset.steps"), "64");
    assert!(browser.text("document.getElementById('mark').textContent").starts_with("64 steps"));
    for strategy in ["baseline", "balanced-online"] {
        assert!(browser.text(FIGURES).contains(strategy), "{}", browser.text(FIGURES));
    }
    assert_eq!(browser.text("document.querySelectorAll('#latency path.line').length"), "2");
    let shift = browser.script(
        "const seen = new PerformanceObserver(() => {}); seen.observe({type: 'layout-shift', buffered: true});
         return seen.takeRecords().reduce((sum, one) => sum + (one.hadRecentInput ? 0 : one.value), 0)",
    );
    assert!(shift.as_f64().unwrap() < STEADY, "the layout shifted by {shift}");
    browser.quiet();
}

#[test]
fn a_slider_changes_the_figures_and_the_address() {
    let Some((_explorer, browser)) = opened(DESKTOP) else { skip!("{NO_BROWSER}") };
    let before = browser.text(FIGURES);
    browser.keys("#prefill-slider", key::RIGHT);
    browser.until("location.hash.includes('prefill=') && !location.hash.includes('prefill=2048&')");
    settle(&browser);
    assert_ne!(browser.text(FIGURES), before);
    // The field takes what people write.
    browser.fill("#prefill", "2k");
    browser.until("location.hash.includes('prefill=2048&')");
    settle(&browser);
    assert_eq!(browser.text(FIGURES), before);
    browser.quiet();
}

#[test]
fn an_address_restores_its_setting_and_back_and_forward_follow() {
    let Some((explorer, browser)) = opened(DESKTOP) else { skip!("{NO_BROWSER}") };
    let setting = "#model=study&memory=study&strategy=best-ratio&prefill=1024&batch=2&skip=0.25&hbm_capacity=3000000000&page_tokens=16&prefill_chunk=0";
    browser.open(&format!("{}{setting}", explorer.address));
    browser.script("location.reload()");
    browser.until(&format!("location.hash === {setting:?} && {SETTLED}"));
    let shown = |id: &str| browser.text(&format!("document.getElementById('{id}').value"));
    assert_eq!([shown("prefill"), shown("batch"), shown("skip")], ["1k", "2", "25"]);
    assert_eq!([shown("page_tokens"), shown("hbm_capacity")], ["16", "3"]);
    assert!(browser.text(FIGURES).contains("best-ratio"));
    let first = browser.text(FIGURES);
    browser.fill("#batch", "1");
    browser.until("location.hash.includes('batch=1&')");
    settle(&browser);
    let second = browser.text(FIGURES);
    assert_ne!(first, second);
    browser.script("history.back()");
    browser.until("document.getElementById('batch').value === '2'");
    settle(&browser);
    assert_eq!(browser.text(FIGURES), first);
    browser.script("history.forward()");
    browser.until("document.getElementById('batch').value === '1'");
    settle(&browser);
    assert_eq!(browser.text(FIGURES), second);
    browser.quiet();
}

#[test]
fn names_of_the_address_that_do_not_exist_are_named_and_the_rest_holds() {
    let Some((explorer, browser)) = opened(DESKTOP) else { skip!("{NO_BROWSER}") };
    browser.open(&format!("{}#model=no-such-model&memory=study&prefill=1024&batch=x", explorer.address));
    browser.until("document.getElementById('prefill').value === '1k'");
    browser.until("!document.getElementById('refusal').hidden");
    browser.until(SETTLED);
    let said = browser.text("document.getElementById('refusal').textContent");
    assert!(said.contains("no-such-model") && said.contains("“x”"), "{said}");
    browser.quiet();
}

#[test]
fn after_fast_moves_only_the_last_answer_is_shown() {
    let Some((explorer, browser)) = opened(DESKTOP) else { skip!("{NO_BROWSER}") };
    browser.script(
        "const slider = document.getElementById('prefill-slider'); let moved = 0;
         const timer = setInterval(() => {
           slider.value = 100 + 397 * moved % 400; slider.dispatchEvent(new Event('input', {bubbles: true}));
           moved += 1; if (moved === 80) { clearInterval(timer); document.title = 'moved'; window.moved = true; }
         }, 10);",
    );
    browser.until("window.moved");
    settle(&browser);
    let (address, figures) = (browser.text(ADDRESS), browser.text(FIGURES));
    // Nothing arrives late.
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(browser.text(FIGURES), figures);
    browser.open("about:blank");
    browser.open(&format!("{}{address}", explorer.address));
    browser.until(SETTLED);
    assert_eq!(browser.text(FIGURES), figures, "the figures are those of {address}");
    browser.quiet();
}

#[test]
fn a_pinned_setting_is_compared_in_percent_and_kept_in_the_address() {
    let Some((explorer, browser)) = opened(DESKTOP) else { skip!("{NO_BROWSER}") };
    browser.click("#pin");
    browser.until("location.hash.includes('pin=')");
    browser.fill("#hbm_bandwidth", "2457.5");
    browser.until("location.hash.includes('hbm_bandwidth=')");
    settle(&browser);
    // HBM at half its bandwidth halves the tokens/s of a strategy that reads nothing else.
    let delta = "document.querySelector('.card .main .delta').textContent";
    assert!(browser.text(delta).starts_with("−5"), "{}", browser.text(delta));
    let text = browser.text("document.getElementById('pinned').innerText");
    assert!(text.contains("HBM bandwidth") && text.contains("2457.5 GB/s"), "{text}");
    let address = browser.text(ADDRESS);
    browser.open("about:blank");
    browser.open(&format!("{}{address}", explorer.address));
    browser.until(&format!("{SETTLED} && document.querySelector('.card .main .delta')"));
    assert!(browser.text(delta).starts_with("−5"), "{}", browser.text(delta));
    browser.click("#pinned .back");
    browser.until("document.getElementById('hbm_bandwidth').value === '4915'");
    // The list of differences goes with the answer.
    settle(&browser);
    browser.click("#pinned .drop");
    browser.until("!location.hash.includes('pin=') && document.getElementById('pinned').hidden");
    browser.quiet();
}

#[test]
fn a_map_fills_and_a_cell_is_taken_with_the_keyboard() {
    let Some((_explorer, browser)) = opened(DESKTOP) else { skip!("{NO_BROWSER}") };
    // Few cells, as this may be a debug build: HBM's capacity has a list of its own around the
    // machine's.
    let choose = |id: &str, value: &str| {
        browser.script(&format!(
            "const menu = document.getElementById('{id}'); menu.value = '{value}'; menu.dispatchEvent(new Event('change'))"
        ));
    };
    choose("map-x", "page_tokens");
    choose("map-y", "hbm_bandwidth");
    browser.click("#map-go");
    browser.until("document.querySelector('#map.whole')");
    let cells = browser.script(
        "return Array.from(document.querySelectorAll('td[data-x]'), (cell) => [cell.className, cell.getAttribute('aria-label')])",
    );
    let cells = cells.as_array().unwrap();
    assert!(cells.len() >= 20, "{} cells", cells.len());
    assert!(cells.iter().all(|cell| !cell[0].as_str().unwrap().contains("pending")), "{cells:#?}");
    assert!(cells.iter().any(|cell| cell[1].as_str().unwrap().contains("tokens/s")), "{cells:#?}");
    browser.keys("td[data-x='0'][data-y='0']", key::RIGHT);
    browser.keys("td[data-x='1'][data-y='0']", key::DOWN);
    browser.until("document.activeElement.matches(\"td[data-x='1'][data-y='1']\")");
    let said = browser.text("document.getElementById('map-readout').textContent");
    assert!(said.contains("page 2 tokens"), "{said}");
    browser.keys("td[data-x='1'][data-y='1']", key::ENTER);
    browser.until("location.hash.includes('page_tokens=2&')");
    settle(&browser);
    assert_eq!(browser.text("document.getElementById('page_tokens').value"), "2");
    assert_eq!(browser.text("document.querySelector('td.here').dataset.x"), "1");
    browser.quiet();
}

#[test]
fn the_command_is_copied_and_the_folder_is_a_zip() {
    let Some((explorer, browser)) = opened(DESKTOP) else { skip!("{NO_BROWSER}") };
    browser.grant("clipboard-read");
    browser.click("#copy");
    browser.until("document.getElementById('copy').textContent === 'Copied'");
    let copied = browser.script("return navigator.clipboard.readText()");
    assert_eq!(copied, json!(browser.text("document.getElementById('command').textContent")));
    assert!(copied.as_str().unwrap().starts_with("tiersim run "), "{copied}");
    let link = browser.text("document.getElementById('download').href");
    assert!(link.starts_with(&explorer.address), "{link}");
    let mut bytes = Vec::new();
    ureq::get(&link).call().unwrap().body_mut().as_reader().read_to_end(&mut bytes).unwrap();
    let archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    assert!(names.iter().any(|name| name.ends_with("report.html")), "{names:?}");
    assert!(names.iter().any(|name| name.ends_with("summary.json")), "{names:?}");
    browser.quiet();
}

#[test]
fn a_refused_setting_says_why_in_place_and_the_page_goes_on() {
    let Some((_explorer, browser)) = opened(DESKTOP) else { skip!("{NO_BROWSER}") };
    // No number at all.
    browser.fill("#batch", "many");
    browser.until("document.getElementById('batch-fault')?.textContent.includes('“many”')");
    // More tokens than a request may ask for.
    browser.fill("#batch", "256");
    browser.fill("#prefill", "1024k");
    browser.until("!document.getElementById('refusal').hidden || document.querySelector('.card .refusal')");
    let said = browser.text("document.querySelector('#refusal:not([hidden]), .card .refusal').textContent");
    assert!(said.len() > 20, "{said}");
    browser.fill("#batch", "1");
    browser.fill("#prefill", "2k");
    settle(&browser);
    browser.until("document.getElementById('refusal').hidden");
    assert!(browser.text(SENTENCE).contains("tokens/s"));
    // Chromium itself notes answers that refuse.
    browser.quiet_but(Some("422"));
}

#[test]
fn neither_a_phone_nor_a_desktop_scrolls_sideways_and_dark_is_dark() {
    for screen in [DESKTOP, PHONE] {
        let Some((_explorer, browser)) = opened(screen) else { skip!("{NO_BROWSER}") };
        browser.click("#pin");
        browser.keys("#prefill-slider", key::LEFT);
        settle(&browser);
        let width = browser.script("return document.documentElement.scrollWidth");
        assert!(width.as_u64().unwrap() <= u64::from(screen.width), "{width} of {screen:?}");
        let wide = browser.script(
            "return Array.from(document.querySelectorAll('main *, header *')).filter((one) => !one.closest('.scroll, svg, .jump') &&
               one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 80))",
        );
        assert_eq!(wide, json!([]), "{screen:?}");
        let light = browser.text("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)";
        assert_eq!(light, !screen.dark);
        browser.quiet();
    }
}

#[test]
fn every_control_has_a_name_and_can_be_reached_with_the_keyboard() {
    let Some((_explorer, browser)) = opened(DESKTOP) else { skip!("{NO_BROWSER}") };
    // What is not shown has no name: a button that resets nothing, a table that is folded.
    browser.script(
        "for (const one of document.querySelectorAll('button, input, select, a[href], summary, [tabindex=\"0\"]')) {
           if (one.checkVisibility({visibilityProperty: true})) one.dataset.control = ''; }",
    );
    let controls = browser.all("[data-control]");
    assert!(controls.len() > 30, "{} controls", controls.len());
    for control in &controls {
        let name = browser.name(control);
        assert!(!name.trim().is_empty(), "control {control} of the page has no name");
    }
    let unreachable = browser.script(
        "return Array.from(document.querySelectorAll('button, input, select, a[href]')).filter((one) => one.tabIndex < 0).map((one) => one.outerHTML)",
    );
    assert_eq!(unreachable, Value::Array(Vec::new()));
    assert_eq!(browser.text("document.getElementById('status').getAttribute('aria-live')"), "polite");
    browser.until("document.getElementById('status').textContent.includes('tokens/s')");
    browser.quiet();
}
