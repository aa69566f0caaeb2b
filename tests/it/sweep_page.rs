//! The data of a sweep's interactive page, and the run of one of its cells.

use crate::common::program::tiersim;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tiersim::sweep::{Measure, Results};

/// A sweep of twelve cells in `folder`, of which those of the least HBM do not fit.
fn swept(folder: &Path, more: &[&str]) {
    let base = ["run", "study", "--decode", "8", "--out", "out", "--set", "memory.external.capacity=\"1200 MiB\""];
    let axes = [
        "--vary",
        "memory.hbm.capacity=100MiB,2GiB,4GiB",
        "--vary",
        "strategy=baseline,best-ratio",
        "--vary",
        "prefill_tokens=256,512",
    ];
    let _ = tiersim(folder, &[&base[..], &axes[..], more].concat()).output().unwrap();
}

/// The points that a sweep's page embeds.
fn embedded(folder: &Path) -> Value {
    let html = fs::read_to_string(folder.join("out/report/report.html")).unwrap();
    let data = html.split("id=\"cells\">").nth(1).unwrap().split("</script>").next().unwrap();
    serde_json::from_str(data).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn the_data_of_a_page_is_that_of_the_dataset() {
    let folder = TempDir::new().unwrap();
    swept(folder.path(), &[]);
    let data = embedded(folder.path());
    let figures = list(&data["figures"]);
    let paths: Vec<&str> = figures.iter().map(|figure| figure["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"tokens_per_s") && paths.contains(&"alpha.mean") && paths.len() >= 8, "{paths:?}");
    let results = Results::read(&folder.path().join("out"), &paths).unwrap();
    assert_eq!(list(&data["cells"]).len(), results.points.len());
    for (index, point) in results.points.iter().enumerate() {
        assert_eq!(data["cells"][index], point.cell);
        for (place, axis) in results.axes() {
            let shown = list(&data["axes"]).iter().find(|shown| shown["name"] == axis.name.as_str()).unwrap();
            let level = shown["of"][index].as_u64().unwrap() as usize;
            assert_eq!(shown["levels"][level], axis.shown(point.levels[place]));
        }
        for figure in figures {
            let measure = Measure::Figure(figure["path"].as_str().unwrap().to_owned());
            let most =
                results.points.iter().filter_map(|point| results.value(point, &measure)).fold(f64::MIN, f64::max);
            let (factor, unit) = results.scale(&measure, most);
            assert_eq!(figure["unit"], unit);
            let (shown, value) = (figure["values"][index].as_f64(), results.value(point, &measure));
            let near = |(shown, value): (f64, f64)| (shown * factor - value).abs() <= 1e-5 * value.abs();
            assert!(shown.is_some() == value.is_some() && shown.zip(value).is_none_or(near), "{figure} {index}");
        }
    }
    // Cells that do not fit have no figures and are there all the same.
    assert_eq!(list(&data["unfit"]).len() as u64, results.no_room);
    assert!(results.no_room > 0);
}

#[test]
fn a_cell_runs_by_itself_into_the_sweeps_folder() {
    let folder = TempDir::new().unwrap();
    swept(folder.path(), &[]);
    let last = Results::read(&folder.path().join("out"), &["simulated_ns"]).unwrap();
    let point = last.points.last().unwrap();
    let number = point.cell.to_string();
    tiersim(folder.path(), &["sweep", "cell", "out", &number]).assert().success();
    let run = folder.path().join("out/runs").join(&number);
    assert!(run.join("report.html").is_file());
    let summary: Value = serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
    let value = last.value(point, &last.measure("simulated_ns").unwrap());
    assert_eq!(summary["simulated_ns"].as_f64(), value);
    // The sweep's next page has a link to it, and the sweep is still whole.
    assert!(embedded(folder.path())["runs"].is_null());
    tiersim(folder.path(), &["sweep", "report", "out"]).assert().success();
    assert_eq!(embedded(folder.path())["runs"], serde_json::json!([point.cell]));
    for (cell, message) in [("12", "has the cells 0 to 11"), ("x", "invalid value 'x'")] {
        let output = tiersim(folder.path(), &["sweep", "cell", "out", cell]).assert().code(2);
        let said = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(said.contains(message), "{said}");
    }
}

/// A cell without room is refused like a run without room, with the reason.
#[test]
fn a_cell_that_does_not_fit_says_so() {
    let folder = TempDir::new().unwrap();
    swept(folder.path(), &[]);
    let output = tiersim(folder.path(), &["sweep", "cell", "out", "1"]).assert().failure();
    let said = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(said.contains("cell 1") && said.contains("more than the tiers hold"), "{said}");
}
