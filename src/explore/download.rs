//! The files of a setting's runs as one archive: those that `tiersim run` writes, a folder for each
//! strategy.

use super::app::App;
use super::error::Refused;
use super::lines::Writer;
use super::simulate::simulate;
use super::state::Setting;
use crate::report;
use crate::simulation::file_name;
use axum::http::StatusCode;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// Simulates the setting and sends the archive.
pub fn archive(app: &App, setting: &Setting, writer: &Writer) {
    match packed(app, setting, writer) {
        Ok(Some(bytes)) => writer.whole(bytes),
        Ok(None) => writer.end(),
        Err(refused) => writer.refuse(refused),
    }
}

/// `None` if it is not wanted any more. The same setting gives the same bytes.
fn packed(app: &App, setting: &Setting, writer: &Writer) -> Result<Option<Vec<u8>>, Refused> {
    let scenarios = setting.scenarios(&app.base, setting.state.steps)?;
    let Some(ran) = simulate(&scenarios, &app.room, writer) else { return Ok(None) };
    let failed = |error: &dyn std::fmt::Display| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let mut folders: Vec<String> = Vec::new();
    for ((strategy, scenario), run) in scenarios.iter().zip(ran) {
        let cannot = |error: &str| {
            let message = format!("{} cannot run, so there are no files of it: {error}", strategy.name());
            Refused::new(StatusCode::UNPROCESSABLE_ENTITY, message)
        };
        let scenario = scenario.as_ref().map_err(|error| cannot(error))?;
        let mut report = run.map_err(|error| cannot(&error))?;
        report.charge(scenario).map_err(|error| failed(&error))?;
        let name = file_name(&strategy.name());
        let same = folders.iter().filter(|known| **known == name).count();
        let folder = if same == 0 { name.clone() } else { format!("{name}-{}", same + 1) };
        folders.push(name);
        for file in report::run_files(&mut report).map_err(|error| failed(&error))? {
            // With forward slashes on every system.
            let parts: Vec<_> = file.path.iter().map(|part| part.to_string_lossy()).collect();
            archive.start_file(format!("{folder}/{}", parts.join("/")), options).map_err(|error| failed(&error))?;
            archive.write_all(&file.bytes).map_err(|error| failed(&error))?;
        }
        if writer.is_over() {
            return Ok(None);
        }
    }
    Ok(Some(archive.finish().map_err(|error| failed(&error))?.into_inner()))
}
