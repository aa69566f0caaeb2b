//! `report.html` in a real browser, as a reader meets it: Chromium, headless. Where there is none,
//! these tests are skipped.
//!
//! The page is opened from disk in a frame of a desktop's and of a phone's width. A script at its
//! end does what a reader does (clicks, keys, the pointer) and reports to the outer page, whose
//! document Chromium then prints.

use crate::common::program::tiersim;
use crate::skip;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use tempfile::TempDir;
use tiersim::metrics::{Recorder, RunReport, Series, Step, StepValues};
use tiersim::report::Labelled;
use tiersim::report::html::{self, Group, Page};
use tiersim::simulation::{Scenario, ScenarioConfig, run};
use tiersim::units::SimTime;

/// What the page's own script is to be asked to do, and what it then shows.
const READER: &str = include_str!("common/reader.js");

const NO_CHROMIUM: &str = "no chromium in the PATH or TIERSIM_CHROMIUM; Debian has it: apt-get install chromium";

/// A Chromium, from `TIERSIM_CHROMIUM` or the path.
fn chromium() -> Option<PathBuf> {
    if let Some(asked) = std::env::var_os("TIERSIM_CHROMIUM") {
        return Some(PathBuf::from(asked));
    }
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&std::env::var_os("PATH")?)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|path| path.is_file())
}

/// Opens a page of disk; its document when its scripts have run, and what it wrote to the console.
fn opened(chromium: &Path, page: &Path) -> (String, Vec<String>) {
    let profile = TempDir::new().unwrap();
    let output = process::Command::new(chromium)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr"])
        .args(["--window-size=1400,1000", "--virtual-time-budget=5000", "--timeout=60000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("chromium starts");
    let console = String::from_utf8_lossy(&output.stderr);
    let console = console.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    (String::from_utf8_lossy(&output.stdout).into_owned(), console)
}

/// What a reader finds on the page in a window of that width.
fn read(chromium: &Path, html: &str, width: u32) -> Value {
    let folder = TempDir::new().unwrap();
    let end = html.rfind("</body>").expect("a whole page");
    let page = format!("{}<script>{READER}</script>{}", &html[..end], &html[end..]);
    // The page lets its own script run and no other: the reader is let in by its hash as well.
    let reader = BASE64_STANDARD.encode(Sha256::digest(READER));
    let page = page.replacen("script-src '", &format!("script-src 'sha256-{reader}' '"), 1);
    fs::write(folder.path().join("page.html"), page).unwrap();
    let frame = folder.path().join("frame.html");
    let around = format!(
        "<!DOCTYPE html><iframe src=\"page.html\" width=\"{width}\" height=\"900\"></iframe><pre id=\"found\"></pre>\
         <script>addEventListener('message', (event) => {{ document.getElementById('found').textContent = event.data; }});</script>"
    );
    fs::write(&frame, around).unwrap();
    let (document, console) = opened(chromium, &frame);
    assert!(console.is_empty(), "{console:#?}");
    let found = document.split("<pre id=\"found\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    let text = found.unwrap_or_default().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in '{text}'"))
}

fn simulated(strategy: &str, decode: u32, skip: &str) -> RunReport {
    let mut config = ScenarioConfig::load("study").unwrap();
    config.decode_tokens = decode;
    config.strategy = strategy.parse().unwrap();
    if let tiersim::workload::TraceConfig::Generated(generator) = &mut config.trace {
        generator.skip = skip.parse().unwrap();
    }
    let scenario = Scenario::new(config).unwrap();
    let mut recorder = Recorder::new(&scenario);
    let outcome = run(&scenario, &mut recorder).unwrap();
    recorder.finish(&scenario, &outcome)
}

fn text(artifact: &tiersim::report::Artifact) -> String {
    String::from_utf8(artifact.bytes.clone()).expect("the page is UTF-8")
}

#[test]
fn a_reader_can_hover_zoom_and_toggle() {
    let Some(chromium) = chromium() else { skip!("{NO_CHROMIUM}") };
    let folder = TempDir::new().unwrap();
    // Long enough that lines are thinned.
    let command = ["run", "--decode", "1500", "--skip", "40%", "--strategy", "baseline", "--strategy", "best-ratio"];
    tiersim(folder.path(), &command).args(["--out", "out"]).assert().success();
    for page in ["out/report.html", "out/best-ratio/report.html"] {
        let html = fs::read_to_string(folder.path().join(page)).unwrap();
        for width in [1280, 390] {
            let found = read(&chromium, &html, width);
            let is = |name: &str, expected: Value| assert_eq!(found[name], expected, "{name} of {page} at {width}");
            is("errors", Value::Array(Vec::new()));
            let order: Vec<&str> = found["order"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
            assert_eq!(order[..4], ["latency", "memory", "alpha", "migrated"], "{page} at {width}");
            assert_eq!(order.last(), Some(&"cdf"), "{page} at {width}");
            is("links", Value::Array(Vec::new()));
            assert!(found["samples"].as_array().unwrap().iter().all(|long| long.as_f64() >= Some(40.0)), "{found}");
            // Alpha: a line a run and the best ratio.
            let lines = if page.contains("best-ratio") { 2 } else { 3 };
            is("lines", lines.into());
            is("lines_without_one", (lines - 1).into());
            is("lines_again", lines.into());
            is("pressed", Value::from(vec!["true", "false", "true"]));
            is("zoomed_together", true.into());
            is("all_again", true.into());
            is("tip_by_pointer", true.into());
            is("dragged", true.into());
            is("read_by_keyboard", true.into());
            is("tail", true.into());
            is("another_distribution", "KvRead latency".into());
            is("table_rows", 33.into());
            is("overlapping_labels", Value::Array(Vec::new()));
            is("unnamed_controls", 0.into());
            is("overflow", 0.into());
        }
    }
}

#[test]
fn settings_are_chosen_one_at_a_time() {
    let Some(chromium) = chromium() else { skip!("{NO_CHROMIUM}") };
    let reports = [simulated("baseline", 40, "0"), simulated("best-ratio", 40, "0"), simulated("baseline", 60, "0.4")];
    let labelled: Vec<Labelled<'_>> =
        reports.iter().map(|run| Labelled { label: &run.summary.strategy, run }).collect();
    let groups = [Group { title: "short", runs: &labelled[..2] }, Group { title: "long", runs: &labelled[2..] }];
    let page = html::page(&Page { title: "Two", question: "", answer: "", groups: &groups }).unwrap();
    let html = text(&page);
    let found = read(&chromium, &html, 1000);
    assert_eq!(found["errors"], Value::Array(Vec::new()));
    assert_eq!(found["settings"], serde_json::json!([[false, true], [true, false]]));
}

/// Two runs of the same latency are drawn as two lines: the second has gaps, in which the first is
/// seen.
#[test]
fn lines_that_coincide_are_seen_as_two() {
    let Some(chromium) = chromium() else { skip!("{NO_CHROMIUM}") };
    let (once, again) = (simulated("baseline", 40, "0"), simulated("baseline", 40, "0"));
    let labelled = [Labelled { label: "once", run: &once }, Labelled { label: "again", run: &again }];
    let html = text(&html::comparison("Two", "", "", &labelled).unwrap());
    let found = read(&chromium, &html, 1000);
    assert_eq!(found["latency_dashes"], serde_json::json!(["", "14 10", "8 4"]));
}

/// The first step moves all that the strategy wants elsewhere: it sets no scale, and the page says
/// how long it took.
#[test]
fn the_spike_of_the_first_step_sets_no_scale() {
    let mut run = simulated("baseline", 40, "0");
    let mut spiked = Series::new(run.tiers.len());
    for step in run.series.steps() {
        let latency = if step.step == 0 { SimTime::from_ps(20 * step.latency.as_ps()) } else { step.latency };
        let values = StepValues { latency, ..step.values };
        spiked.append(&Step { values, ..step });
    }
    run.series = spiked;
    let html = text(&html::comparison("One", "", "", &[Labelled { label: "one", run: &run }]).unwrap());
    let Some(chromium) = chromium() else { skip!("{NO_CHROMIUM}") };
    let found = read(&chromium, &html, 1000);
    assert_eq!(found["whole"], true, "{found}");
    let notes = found["latency_notes"].as_str().unwrap();
    assert!(notes.starts_with("One value is beyond the scale: token 0 of one, "), "{notes}");
}

/// A sweep's page: its panels share axes, scale and legend, and it is as interactive as a run's.
#[test]
fn a_sweep_can_be_hovered_zoomed_and_toggled() {
    let Some(chromium) = chromium() else { skip!("{NO_CHROMIUM}") };
    let folder = TempDir::new().unwrap();
    let command = [
        "run",
        "study",
        "--decode",
        "16",
        "--vary",
        "memory.hbm.capacity=1GiB,2GiB,4GiB,8GiB",
        "--vary",
        "strategy=baseline,best-ratio",
        "--vary",
        "trace.skip=0,0.4",
        "--vary",
        "prefill_tokens=256,1024",
        "--out",
        "out",
    ];
    tiersim(folder.path(), &command).assert().success();
    let html = fs::read_to_string(folder.path().join("out/report/report.html")).unwrap();
    for width in [1280, 390] {
        let found = read(&chromium, &html, width);
        let is = |name: &str, expected: Value| assert_eq!(found[name], expected, "{name} at {width}: {found}");
        is("errors", Value::Array(Vec::new()));
        is("panels", 4.into());
        is("same_scale", true.into());
        is("legends", 1.into());
        is("overlapping_labels", Value::Array(Vec::new()));
        is("lines", serde_json::json!([8, 4, 8]));
        is("zoomed_together", true.into());
        is("all_again", true.into());
        // Four panels of 4 x 2, and 16 bars of two strategies each.
        is("heat_cells", 32.into());
        is("bars", 32.into());
        is("overflow", 0.into());
        let shows = |name: &str, what: &str| assert!(found[name].as_str().unwrap().contains(what), "{name}: {found}");
        shows("point", "memory.hbm.capacity");
        shows("tip", ": ");
        shows("said", " ");
        let chosen = |name: &str, expected: Value| assert_eq!(found["chosen"][name], expected, "{name} at {width}");
        let controls = ["Figure", "Across", "Lines and rows", "strategy", "trace.skip"];
        chosen("controls", serde_json::json!(controls));
        chosen("redrawn", true.into());
        chosen("lines", 2.into());
        chosen("swapped", "trace.skip".into());
        // Strategies have no order: no line is drawn over them.
        chosen("without_lines", false.into());
        chosen("before_pick", 0.into());
        chosen("selected", 1.into());
        let cells = found["chosen"]["cells"].as_array().unwrap();
        assert!(cells[0] != cells[1] && cells[1].as_array().unwrap().len() == 8, "{cells:?}");
        // 1 GiB, best-ratio, 40 % skipped, 1024 tokens: cell 7.
        assert_eq!(cells[2].as_array().unwrap().len(), 4);
        let hovered = found["chosen"]["hovered"].to_string();
        for part in ["memory.hbm.capacity1 GiB", "best-ratio", "trace.skip0.4", "prefill_tokens1024", "alpha0."] {
            assert!(hovered.contains(part), "{part}: {hovered}");
        }
        chosen("command", "tiersim sweep cell out 7".into());
        chosen("links", serde_json::json!(["../runs/7/report.html"]));
        let hash = found["chosen"]["hash"].as_str().unwrap();
        assert!(
            hash.contains("figure=tokens_per_s&x=trace.skip&rows=strategy&") && hash.ends_with("&cell=7"),
            "{hash}"
        );
        chosen("pointed", "Cell 1".into());
        chosen("clicked", "tiersim sweep cell out 1".into());
    }
}

/// The scripts that a page runs, in their order.
fn scripts(html: &str) -> Vec<&str> {
    html.split("<script>").skip(1).filter_map(|rest| rest.split("</script>").next()).collect()
}

/// A script's source in a content security policy.
fn hash(script: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(script)))
}

/// The explorer serves the plotting module under a policy that refuses style attributes and eval.
#[test]
fn the_plotting_module_sets_no_style_attributes() {
    for refused in ["setAttribute(\"style\"", "style=", "style: \"", "innerHTML", "cssText", "eval(", "Function("] {
        assert!(!html::PLOTS.contains(refused), "{refused}");
    }
    assert!(html::PLOTS.contains("style.setProperty("), "styles are set through the CSSOM");
}

/// A page runs its own script and no other, whatever gets into it.
#[test]
fn a_page_runs_no_script_but_its_own() {
    let run = simulated("baseline", 4, "0");
    let html = text(&html::comparison("One", "", "", &[Labelled { label: "one", run: &run }]).unwrap());
    let allowed: Vec<String> = scripts(&html).iter().map(|script| hash(script)).collect();
    assert_eq!(allowed.len(), 2, "the plotting module and the report's own script");
    assert!(
        html.contains(&format!("script-src {};", allowed.join(" "))),
        "a script has changed: its hash in src/report/html/assets.rs is to be one of {allowed:?}"
    );
    assert!(!html.contains("script-src 'unsafe-inline'"));
    let Some(chromium) = chromium() else { skip!("{NO_CHROMIUM}") };
    let folder = TempDir::new().unwrap();
    let page = folder.path().join("page.html");
    fs::write(&page, html.replacen("<main>", "<main><script>document.title = 'injected'</script>", 1)).unwrap();
    let (document, console) = opened(&chromium, &page);
    assert!(!document.contains("injected</title>"), "an injected script ran");
    assert!(console.iter().any(|line| line.contains("Content Security Policy")), "{console:?}");
}

/// The console is looked at: a page that complains is noticed.
#[test]
fn complaints_of_a_page_are_noticed() {
    let Some(chromium) = chromium() else { skip!("{NO_CHROMIUM}") };
    let folder = TempDir::new().unwrap();
    let page = folder.path().join("page.html");
    fs::write(&page, "<!DOCTYPE html><script>console.error('a complaint')</script>").unwrap();
    let (_, console) = opened(&chromium, &page);
    assert!(console.iter().any(|line| line.contains("a complaint")), "{console:?}");
}

/// What labels and configurations hold is shown, and is not taken for a part of the page.
#[test]
fn text_cannot_become_markup() {
    let mut run = simulated("baseline", 4, "0");
    run.summary.scenario.about = "</pre><script>alert('about')</script>".to_owned();
    let label = "</script><img src=x onerror=alert('label')>";
    let labelled = [Labelled { label, run: &run }];
    let html = text(&html::comparison("<b>title</b>", "a < b?", &html::answer(&labelled), &labelled).unwrap());
    assert!(!html.contains("<img") && !html.contains("<b>") && !html.contains("alert('about')</script>"), "{html}");
    assert_eq!(html.matches("</script>").count(), 3, "those of the data and of the page's two scripts");
    let Some(chromium) = chromium() else { skip!("{NO_CHROMIUM}") };
    assert_eq!(read(&chromium, &html, 800)["legend"], label);
}

#[test]
fn pages_hold_all_that_they_need() {
    let runs = [simulated("baseline", 300, "0.4"), simulated("best-ratio", 300, "0.4")];
    let labelled: Vec<Labelled<'_>> = runs.iter().map(|run| Labelled { label: &run.summary.strategy, run }).collect();
    let answer = html::answer(&labelled);
    let (first, second) = (runs[0].summary.simulated_ns, runs[1].summary.simulated_ns);
    let fastest = if first <= second { "baseline" } else { "best-ratio" };
    assert!(answer.starts_with(&format!("Of 2 runs, {fastest} is the fastest: ")), "{answer}");
    let html = text(&html::comparison("Two", "Which?", &answer, &labelled).unwrap());
    assert!(html.contains("Simulated: scenario study, ") && html.contains(" 300 to decode."));
    // No address but the name of SVG.
    assert_eq!(html.matches("://").count(), html.matches("http://www.w3.org/2000/svg").count());
    for word in ["src=", "@import", "eval(", "url(http"] {
        assert!(!html.contains(word), "{word}");
    }
    let at = |part: &str| html.find(part).unwrap_or_else(|| panic!("no '{part}'"));
    let order = [
        "<strong>Question:",
        "<strong>Answer:",
        "<table class=\"results\"",
        "class=\"plots\"",
        ">Percentiles<",
        ">Utilization",
        ">Configuration<",
    ];
    assert!(order.map(at).is_sorted());
    for column in ["p50", "p90", "p99", "p99.9", "p99.99"] {
        assert!(html.contains(&format!(">{column}</th>")), "{column}");
    }
    // The configuration is whole: it is a scenario that runs.
    let start = at("<pre");
    let start = start + html[start..].find('>').unwrap() + 1;
    let json = html[start..].split("</pre>").next().unwrap();
    let json = json
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&quot;", "\"")
        .replace("&lt;", "<")
        .replace("&amp;", "&");
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("scenario.json");
    fs::write(&file, json).unwrap();
    let again = ScenarioConfig::load(file.to_str().unwrap()).unwrap();
    assert_eq!(again, runs[0].summary.scenario);
}

/// Every run has a page, several side by side have one more, and all are the same whenever they are
/// made.
#[test]
fn runs_leave_the_same_pages_every_time() {
    let folder = TempDir::new().unwrap();
    let pages = |out: &str, jobs: &str| {
        let command = ["run", "--decode", "20", "--skip", "40%", "--strategy", "baseline", "--strategy", "best-ratio"];
        tiersim(folder.path(), &command).args(["--jobs", jobs, "--out", out]).assert().success();
        let of_all = ["report.html", "baseline/report.html", "best-ratio/report.html"];
        of_all.map(|page| fs::read_to_string(folder.path().join(out).join(page)).unwrap())
    };
    let once = pages("once", "1");
    assert!(once == pages("again", "2"));
    assert!(once[0].contains("Of 2 runs, ") && once[1].contains("baseline decodes 20 tokens in "));
}

/// A run that ran out of memory says so first, and shows what there is.
#[test]
fn incomplete_runs_are_reported() {
    let folder = TempDir::new().unwrap();
    let page = |capacity: &str| {
        let command = ["run", "--decode", "400", "--hbm-capacity", "1GiB", "--strategy", "baseline", "--out", "out"];
        let set = format!("memory.external.capacity={capacity}");
        tiersim(folder.path(), &command).args(["--set", &set]).assert().code(1);
        fs::read_to_string(folder.path().join("out/report.html")).unwrap()
    };
    for (capacity, expected) in
        [("1200 MiB", "baseline is incomplete: "), ("1 GiB", "did not get to the end of its first token")]
    {
        let html = page(capacity);
        assert!(html.contains(expected), "{capacity}");
        let Some(chromium) = chromium() else { skip!("{NO_CHROMIUM}") };
        let found = read(&chromium, &html, 1000);
        assert_eq!(found["errors"], Value::Array(Vec::new()), "{found}");
        let instead = found["instead"].as_str().is_some_and(|text| text.contains("No token was decoded to its end."));
        assert_eq!(instead, expected.contains("first token"), "{found}");
    }
}

#[test]
fn long_runs_are_thinned_and_say_so() {
    let run = simulated("baseline", 3000, "0.4");
    let html = text(&html::comparison("", "", "", &[Labelled { label: "one", run: &run }]).unwrap());
    assert!(html.contains("of every 5 tokens each line shows the least and the greatest"));
    let data = html.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    let latency = data[0]["plots"].as_array().unwrap().iter().find(|plot| plot["id"] == "latency").unwrap();
    let points: Vec<f64> =
        latency["lines"][0]["points"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
    assert!(points.len() <= 2 * 1202 && points.len() > 600, "{}", points.len());
    let peak = points.chunks(2).map(|point| point[1]).fold(0.0, f64::max);
    let most = run.summary.token_latency_ns.unwrap().max / 1e3;
    assert!((peak / most - 1.0).abs() < 1e-5, "{peak} {most}");
}
