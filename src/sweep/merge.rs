use super::folder::{BLOCK, Existing, Folder};
use super::{Plan, Row, Shard, SweepError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Merges the shards in `folders` into `out`: the same bytes as the sweep run in one process.
///
/// # Errors
/// [`SweepError`] if they are not of the same sweep, one is unfinished, or a cell is in none or
/// differs between two.
pub fn merge(folders: &[PathBuf], out: &Path) -> Result<(Plan, u64), SweepError> {
    let mut parts: Vec<(Folder, Plan)> = Vec::new();
    for path in folders {
        let (folder, plan) = Folder::open(path)?;
        if let Some((first, known)) = parts.first()
            && known.config() != plan.config()
        {
            let message = format!("it is not of the same sweep as {}", first.path().display());
            return Err(SweepError::Foreign { folder: path.display().to_string(), message });
        }
        if !folder.is_complete(&plan)? {
            return Err(SweepError::Unfinished { folder: path.display().to_string() });
        }
        parts.push((folder, plan));
    }
    let Some(plan) = parts.first().map(|(_, plan)| plan.clone()) else { return Err(SweepError::NothingToMerge) };
    let target = Folder::take(out, &plan, Shard::ALL, Existing::Resume)?;
    let mut merged = 0;
    for block in 0..plan.cells().div_ceil(BLOCK) {
        let mut rows: BTreeMap<u64, (Row, &Path)> = BTreeMap::new();
        for (folder, plan) in &parts {
            for row in folder.rows_of(plan, block, |_| true)? {
                match rows.get(&row.cell) {
                    Some((other, first)) if *other != row => {
                        return Err(SweepError::Differ {
                            cell: row.cell,
                            folders: [first.display().to_string(), folder.path().display().to_string()],
                        });
                    }
                    Some(_) => {}
                    None => drop(rows.insert(row.cell, (row, folder.path()))),
                }
            }
        }
        let wanted = target.cells_of(&plan, block);
        if let Some(missing) = wanted.iter().find(|cell| !rows.contains_key(cell)) {
            let shards = parts.iter().map(|(folder, _)| folder.shard().to_string()).collect::<Vec<_>>().join(", ");
            return Err(SweepError::Missing { cell: *missing, shards });
        }
        if !wanted.is_empty() {
            let rows: Vec<Row> = rows.into_values().map(|(row, _)| row).collect();
            merged += rows.len() as u64;
            target.publish(&plan, block, &rows)?;
        }
    }
    target.finish();
    Ok((plan, merged))
}
