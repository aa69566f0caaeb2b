//! Pictures, table and page of decisions that are built by hand.
//!
//! The figure of each choice in each circumstance is a formula, so the true winner of each cell is
//! known apart from the code that draws it.

use crate::browser::driver::{Browser, DESKTOP, NO_BROWSER, key};
use crate::common::program::tiersim;
use std::fs;
use std::path::Path;
use tiersim::decision::report::{files, table};
use tiersim::decision::{By, Circumstance, Crossover, Decision, DecisionAxis, Ranked};
use tiersim::strategy::Knowledge;
use tiersim::sweep::{Results, Unit};

/// An axis of names.
fn names(name: &str, levels: &[&str]) -> DecisionAxis {
    let levels = levels.iter().map(|level| ((*level).to_owned(), None)).collect();
    DecisionAxis { name: name.to_owned(), unit: Unit::Text, levels }
}

/// An axis of numbers.
fn numbers(name: &str, levels: &[f64]) -> DecisionAxis {
    let levels = levels.iter().map(|level| (format!("{level}"), Some(*level))).collect();
    DecisionAxis { name: name.to_owned(), unit: Unit::Real, levels }
}

fn combinations(axes: &[DecisionAxis]) -> Vec<Vec<usize>> {
    axes.iter().fold(vec![Vec::new()], |all, axis| {
        let longer = |one: &Vec<usize>, level| [&one[..], &[level]].concat();
        all.iter().flat_map(|one| (0..axis.levels.len()).map(move |level| longer(one, level))).collect()
    })
}

/// A decision whose figure is `value(given, choice)` in nanoseconds; `None` does not fit. The
/// winner changes in the middle of two values that have different ones.
fn decision(
    choices: Vec<DecisionAxis>,
    given: Vec<DecisionAxis>,
    value: impl Fn(&[usize], &[usize]) -> Option<f64>,
) -> Decision {
    let circumstance = |at: Vec<usize>| {
        let (mut ranking, mut without) = (Vec::new(), Vec::new());
        for choice in combinations(&choices) {
            match value(&at, &choice) {
                Some(value) => ranking.push(Ranked { choice, value, knows: Knowledge::Realizable, cost: None }),
                None => without.push((choice, "it needs 150 GB, but HBM has 96 GB".to_owned())),
            }
        }
        ranking.sort_by(|a, b| a.value.total_cmp(&b.value));
        Circumstance { given: at, ranking, without }
    };
    let circumstances: Vec<Circumstance> = combinations(&given).into_iter().map(circumstance).collect();
    let mut crossovers = Vec::new();
    for one in &circumstances {
        for along in 0..given.len() {
            let mut next = one.given.clone();
            next[along] += 1;
            let Some(other) = circumstances.iter().find(|it| it.given == next) else { continue };
            let ends = [one, other].map(|it| given[along].levels[it.given[along]].1);
            let winners = [one, other].map(|it| it.ranking.first().map(|first| first.choice.clone()));
            if let ([Some(low), Some(high)], [Some(from), Some(to)]) = (ends, winners)
                && from != to
            {
                let middle = (low + high) / 2.0;
                let between = (0.99 * middle, 1.01 * middle);
                crossovers.push(Crossover { along, given: one.given.clone(), between, from, to });
            }
        }
    }
    Decision {
        by: By { name: "tpot".to_owned(), path: "tpot_ns.mean".to_owned(), more_is_better: false },
        choices,
        given,
        best: Vec::new(),
        currency: None,
        within: 0.05,
        answer: vec!["b144 below 100k tokens, a96 above, by 8 to 120 %; with pages of 16 a96 everywhere.".to_owned()],
        circumstances,
        crossovers,
    }
}

/// A figure that depends on everything, different for all choices.
fn mixed(given: &[usize], choice: &[usize]) -> Option<f64> {
    let seed = given.iter().chain(choice).fold(7u64, |sum, at| sum.wrapping_mul(31).wrapping_add(*at as u64 + 1));
    let noise = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / f64::from(1 << 24);
    Some(20e6 * (1.0 + noise))
}

/// `decision.svg` and `report.html`; the picture as PNG is kept for people.
fn drawn(name: &str, decision: &Decision) -> (String, String) {
    let files = files(decision, "tiersim decide --choose memory=a96.ron,b144.ron").unwrap();
    let text = |path: &str| {
        let file = files.iter().find(|file| file.path.to_str() == Some(path)).unwrap();
        String::from_utf8(file.bytes.clone()).unwrap()
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("decision_pictures");
    fs::create_dir_all(&folder).unwrap();
    let png = files.iter().find(|file| file.path.extension().is_some_and(|ending| ending == "png")).unwrap();
    fs::write(folder.join(format!("{name}.png")), &png.bytes).unwrap();
    fs::write(folder.join(format!("{name}.html")), text("report.html")).unwrap();
    (text("decision.svg"), text("report.html"))
}

fn two_machines() -> Vec<DecisionAxis> {
    vec![names("memory", &["a96", "b144"])]
}

/// A sweep of two strategies over two contexts and two capacities.
const SWEEP: &str = r#"Sweep(
    name: "which",
    base: "study",
    set: { "decode_tokens": 4 },
    axes: [
        Values(field: "strategy", values: ["baseline", "best-ratio"]),
        Values(field: "prefill_tokens", values: [256, 1024]),
        Values(field: "memory.hbm.capacity", values: ["2GiB", "4GiB"]),
    ],
)"#;

#[test]
fn a_sweep_that_varies_strategies_answers_which_wins_where() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("which.ron"), SWEEP).unwrap();
    let output = tiersim(place.path(), &["sweep", "which.ron", "--out", "out"]).assert().success().get_output().clone();
    let text = String::from_utf8(output.stdout).unwrap();
    let results = Results::read(&place.path().join("out"), &["token_latency_ns.mean"]).unwrap();
    let figure = results.measure("token_latency_ns.mean").unwrap();
    let page = fs::read_to_string(place.path().join("out/report/report.html")).unwrap();
    let cells = cells(&page);
    assert_eq!(cells.len(), 4);
    // The best point of each combination of context and capacity.
    for (prefill, capacity) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let time = |strategy: usize| {
            let point = results.points.iter().find(|point| point.levels == [strategy, prefill, capacity]).unwrap();
            results.value(point, &figure).unwrap()
        };
        let winner = if time(0) <= time(1) { "baseline" } else { "best-ratio" };
        let margin = (time(0) / time(1)).max(time(1) / time(0)) - 1.0;
        // Which of the two is an axis to the right depends on what changes the winner.
        let across = page.contains("capacity down");
        let index = if across { 2 * (1 - capacity) + prefill } else { 2 * (1 - prefill) + capacity };
        let (_, shown) = &cells[index];
        assert!(shown.starts_with(winner), "{shown} of {winner} at {prefill}, {capacity}");
        assert!(margin < 0.01 || shown.contains(&format!("+{:.0} %", 100.0 * margin)), "{shown}: {margin}");
        assert!(text.contains(winner), "{text}");
    }
    let answer = page.split("<div class=\"answer\">").nth(1).unwrap();
    let first = answer.split("<p>").nth(1).unwrap().split("</p>").next().unwrap();
    assert!(text.replace('&', "").contains(first.split('&').next().unwrap()), "{first} is printed: {text}");
}

fn prefill() -> DecisionAxis {
    numbers("prefill", &[32768.0, 65536.0, 131_072.0, 262_144.0])
}

fn skip() -> DecisionAxis {
    numbers("skip", &[0.0, 0.2, 0.4])
}

fn model() -> DecisionAxis {
    names("model", &["llama-3.1-70b", "Qwen3-235B-A22B-FP8"])
}

fn long_choices() -> Vec<DecisionAxis> {
    let memories = ["hbm96-c2c-with-a-very-long-name-of-a-file", "hbm144-pcie5-with-a-very-long-name-of-a-file"];
    vec![names("memory", &memories), names("strategy", &["baseline", "balanced-online", "best-ratio-drop"])]
}

/// The cells of the page's map: for each its classes and its text.
fn cells(page: &str) -> Vec<(String, String)> {
    let tables =
        page.split("<table class=\"heat winners\">").skip(1).map(|table| table.split("</table>").next().unwrap());
    let cell = |cell: &str| {
        let (class, rest) = cell.split_once("\">").unwrap();
        let text = rest.split("</td>").next().unwrap().replace("<b>", "").replace("</b>", "");
        (class.to_owned(), text)
    };
    tables.flat_map(|table| table.split("<td class=\"").skip(1).map(cell).collect::<Vec<_>>()).collect()
}

/// Two choices whose figure is known: a96 wins below, and does not fit at the largest prefill.
fn two(given: &[usize], choice: &[usize]) -> Option<f64> {
    let (prefill, skip) = (given[0] as f64, given[1] as f64);
    match choice[0] {
        0 => (given[0] < 3).then_some(20e6 + 6e6 * prefill),
        _ => Some(20e6 + 6e6 * skip + 1e6),
    }
}

#[test]
fn every_cell_of_the_map_has_its_true_winner_and_margin() {
    let (_, page) = drawn("two", &decision(two_machines(), vec![prefill(), skip()], two));
    let cells = cells(&page);
    assert_eq!(cells.len(), 12);
    let mut kinds = std::collections::BTreeSet::new();
    for (index, (class, text)) in cells.iter().enumerate() {
        // Rows from the largest skip down, each from the smallest prefill on.
        let given = [index % 4, 2 - index / 4];
        let b = two(&given, &[1]).unwrap();
        let (winner, margin) = match two(&given, &[0]) {
            None => ("b144", None),
            Some(a) if a <= b => ("a96", Some(b / a - 1.0)),
            Some(a) => ("b144", Some(a / b - 1.0)),
        };
        let (strength, shown) = match margin {
            None => ("m4", "only one".to_owned()),
            Some(margin) if margin <= 0.05 => ("same", format!("≈ +{:.0} %", 100.0 * margin)),
            Some(margin) if margin <= 0.1 => ("m1", format!("+{:.0} %", 100.0 * margin)),
            Some(margin) if margin <= 0.3 => ("m2", format!("+{:.0} %", 100.0 * margin)),
            Some(margin) => ("m3", format!("+{:.0} %", 100.0 * margin)),
        };
        let colour = if winner == "a96" { "w0" } else { "w1" };
        assert_eq!(class, &format!("{colour} {strength}"), "{given:?}");
        assert_eq!(text, &format!("{winner} {shown}"), "{given:?}");
        kinds.insert(strength);
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["m1", "m2", "m3", "m4", "same"]);
}

#[test]
fn the_table_the_picture_and_the_page_have_the_same_numbers() {
    let decision = decision(two_machines(), vec![prefill(), skip()], mixed);
    let (svg, page) = drawn("same", &decision);
    let shown = table(&decision).render(false);
    let margins: Vec<String> =
        decision.circumstances.iter().map(|it| format!("+{:.0} %", 100.0 * it.margin(&decision.by).unwrap())).collect();
    for (row, margin) in shown.lines().skip(2).zip(&margins) {
        assert!(row.contains(margin.as_str()), "{row}: {margin}");
        assert!(svg.contains(margin.as_str()) && page.contains(margin.as_str()), "{margin}");
    }
    assert_eq!(shown.lines().count(), 2 + decision.circumstances.len());
}

#[test]
fn the_circumstances_that_change_the_winner_make_the_axes() {
    // The winner depends on prefill and batch alone.
    let value = |given: &[usize], choice: &[usize]| Some(20e6 + 6e6 * ((given[1] + given[3] + choice[0]) % 2) as f64);
    let batch = numbers("sequences", &[1.0, 8.0]);
    let (svg, page) = drawn("axes", &decision(two_machines(), vec![skip(), prefill(), model(), batch], value));
    assert!(page.contains("sequences down, prefill across"));
    for title in ["skip 0, model llama-3.1-70b", "skip 0.4, model Qwen3-235B-A22B-FP8"] {
        assert!(svg.contains(title) && page.contains(title), "{title}");
    }
    assert_eq!(cells(&page).len(), 48);
}

#[test]
fn crossovers_are_marked_in_maps_and_in_lines() {
    let (map, page) = drawn("crossed", &decision(two_machines(), vec![prefill(), skip()], two));
    // Between skip 0 and 0.2 at a prefill of 65536.
    assert!(map.contains(">10 %</text>") && page.contains("<td class=\"text\">10 %</td>"));
    let steep =
        |given: &[usize], choice: &[usize]| Some(20e6 + 6e6 * (given[0] * choice[0]) as f64 - 7e6 * choice[0] as f64);
    let (lines, _) = drawn("lines", &decision(two_machines(), vec![prefill()], steep));
    assert!(lines.contains(">98300</text>") && lines.contains(">TPOT (ms)</text>"), "{lines}");
}

#[test]
fn a_choice_has_one_colour_everywhere() {
    let decision = decision(long_choices(), vec![prefill(), skip(), model()], mixed);
    let (_, page) = drawn("colours", &decision);
    let lines: Vec<&str> =
        page.split("\"label\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()).take(6).collect();
    for (class, text) in cells(&page) {
        let place: usize = class[1..2].parse().unwrap();
        // Long names are in the legend, with their keys.
        let key = text.split(' ').next().unwrap();
        let named = format!("<i class=\"w{place} m4\"></i>{key}: {}</span>", lines[place]);
        assert!(page.contains(&named), "{text} as {class}; lines are {lines:?}");
    }
}

#[test]
fn every_shape_of_a_decision_has_a_picture_with_the_same_bytes_each_time() {
    let bit = |at: usize| numbers(&format!("given{at}"), &[0.0, 1.0]);
    let many = |name: &str, n: usize| numbers(name, &(1..=n).map(|at| 1024.0 * at as f64).collect::<Vec<_>>());
    let one = || numbers("prefill", &[32768.0]);
    let traces = names("trace", &["a-long-trace-of-a-conversation", "b", "code-completion-2026"]);
    let shapes: Vec<(&str, Vec<DecisionAxis>, Vec<DecisionAxis>, &str)> = vec![
        ("one", long_choices(), vec![one()], "Everywhere: prefill 32768."),
        ("none", two_machines(), Vec::new(), "a96"),
        ("names", two_machines(), vec![model()], "model llama-3.1-70b:"),
        ("two_names", long_choices(), vec![model(), traces], "A: hbm96"),
        ("six_lines", long_choices(), vec![many("prefill", 12)], "best-ratio-drop"),
        ("dense", two_machines(), vec![many("prefill", 64), many("kv", 40)], "A: a96"),
        ("sixty_four", two_machines(), (0..6).map(bit).collect(), "given5 1"),
    ];
    for (name, choices, given, shown) in shapes {
        let decision = decision(choices, given, mixed);
        let (first, again) = (drawn(name, &decision), drawn(name, &decision));
        assert_eq!(first, again, "{name}");
        let texts: Vec<&str> = first.0.split("<text").map(|text| text.split_once('>').unwrap_or_default().1).collect();
        assert!(texts.join(" ").replace("</text>", "").contains(shown), "{name}: {shown}");
    }
}

#[test]
fn choices_that_are_decided_first_are_named_with_the_winner_and_share_its_colour() {
    let mut of = decision(long_choices(), vec![prefill(), skip()], mixed);
    of.best = vec![1];
    for circumstance in &mut of.circumstances {
        let mut known: Vec<usize> = Vec::new();
        circumstance.ranking.retain(|ranked| {
            let is_new = !known.contains(&ranked.choice[0]);
            known.push(ranked.choice[0]);
            is_new
        });
    }
    let (_, page) = drawn("best", &of);
    assert!(cells(&page).iter().all(|(class, _)| class.starts_with("w0") || class.starts_with("w1")));
    assert!(page.contains("hbm96-c2c-with-a-very-long-name-of-a-file with balanced-online"));
    assert!(page.contains("Which memory has the lowest TPOT"));
}

#[test]
fn a_price_is_a_column_and_the_command_is_on_the_page() {
    let mut of = decision(two_machines(), vec![prefill()], |_, choice| Some(20e6 + choice[0] as f64 * 1e6));
    of.currency = Some("USD".to_owned());
    for ranked in of.circumstances.iter_mut().flat_map(|it| &mut it.ranking) {
        ranked.cost = Some(0.5);
    }
    let shown = table(&of).render(false);
    assert!(shown.contains("USD per million tokens") && shown.contains("0.500"), "{shown}");
    let (_, page) = drawn("price", &of);
    assert!(page.contains("tiersim decide --choose memory=a96.ron,b144.ron"));
}

#[test]
fn in_a_browser_the_map_is_the_same_and_its_axes_and_choices_can_be_chosen() {
    let Some(browser) = Browser::start(DESKTOP) else { crate::skip!("{NO_BROWSER}") };
    let decision = decision(two_machines(), vec![prefill(), skip(), model()], |given, choice| two(&given[..2], choice));
    let (_, page) = drawn("browser", &decision);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("decision_pictures/browser.html");
    browser.open(&format!("file://{}", file.display()));
    browser.until("document.querySelectorAll('.winners-map select').length == 2");
    let live = browser.script(
        "return Array.from(document.querySelectorAll('table.winners tbody td'), (cell) => [cell.className, cell.textContent])",
    );
    let still: Vec<(String, String)> = cells(&page);
    assert_eq!(live, serde_json::json!(still));
    // The ranking of a cell: its first row is the winner, the second is worse by the margin.
    browser.script("document.querySelector('table.winners tbody td').focus()");
    browser.keys("table.winners tbody td", key::RIGHT);
    browser.until(
        "document.querySelector('.details caption').textContent == 'prefill 65536, skip 0.4, model llama-3.1-70b'",
    );
    let details = browser.text("document.querySelector('.details tbody').textContent");
    assert!(details.contains("a96") && details.contains("+27 %"), "{details}");
    // Without a96, b144 is the only one everywhere.
    browser.click(".winners-map .legend button");
    browser
        .until("Array.from(document.querySelectorAll('table.winners b')).every((name) => name.textContent == 'b144')");
    // The axes exchanged.
    browser.script(
        "const across = document.querySelector('.winners-map select'); across.value = '1'; across.dispatchEvent(new Event('change'));",
    );
    browser.until("document.querySelector('table.winners caption').textContent.endsWith('prefill down, skip across')");
    browser.quiet();
}
