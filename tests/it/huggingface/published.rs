//! Real configurations, which are not part of the project: `TIERSIM_CONFIGS=folder` names a folder of
//! `PUBLISHER--MODEL.json` files. Without it this test says so and checks nothing.

use std::path::{Path, PathBuf};
use tiersim::workload::ModelConfig;
use tiersim::workload::huggingface::{ImportOptions, Imported, import};

/// The files in the folder that `TIERSIM_CONFIGS` names.
fn files() -> Vec<PathBuf> {
    let Some(folder) = std::env::var_os("TIERSIM_CONFIGS") else {
        eprintln!("skipped: set TIERSIM_CONFIGS to a folder of published config.json files");
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(Path::new(&folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect();
    files.sort();
    files
}

fn read(path: &Path) -> Result<Imported, String> {
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let options = ImportOptions { name: name.clone(), ..ImportOptions::default() };
    import(&text, &name, &options).map_err(|error| error.to_string())
}

/// A file that cannot be imported is refused by name; what is imported is read back as it was written.
#[test]
fn each_is_imported_or_refused_by_name() {
    for file in files() {
        match read(&file) {
            Ok(imported) => {
                let text = imported.text("config.json");
                assert_eq!(tiersim::config::parse::<ModelConfig>(&text, "written").unwrap(), imported.model, "{text}");
            }
            Err(error) => assert!(error.contains("cannot be imported") && error.contains("by hand"), "{error}"),
        }
    }
}
