//! What a person writes of a DRAM part, and what it cannot be.

use crate::units::{Bandwidth, Bytes, SimTime};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The timing of a DRAM part, as its data sheet or a simulator's preset gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DramConfig {
    /// The peak bandwidth of one channel, its pseudo channels together.
    pub channel: Bandwidth,
    /// How many pseudo channels share a channel's commands; 1 for DDR and LPDDR.
    #[serde(default = "one", deserialize_with = "crate::config::not_zero")]
    pub pseudo_channels: u32,
    /// Bank groups of a pseudo channel.
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub bank_groups: u32,
    /// Banks of a bank group of one rank, over all stack ids.
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub banks: u32,
    /// Ranks of a channel: sets of chips that share its data bus, each with banks and limits on
    /// activations of its own. The stack ids of HBM are no ranks in this sense, as those limits
    /// hold for all of a pseudo channel.
    #[serde(default = "one", deserialize_with = "crate::config::not_zero")]
    pub ranks: u32,
    /// The address map: how many contiguous bytes lie in one bank group (and pseudo channel) before
    /// the next one's. Consecutive pieces go to the pseudo channels first, then to the bank groups,
    /// along their rows; then to ranks and banks.
    #[serde(default = "line", deserialize_with = "crate::config::not_zero")]
    pub interleave: Bytes,
    /// A row (page) of a bank of a pseudo channel.
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub row: Bytes,
    /// The data of one column command.
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub access: Bytes,
    /// Reads that the controller's queue holds.
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub read_queue: u32,
    /// Writes that it holds.
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub write_queue: u32,
    /// What opening and closing a row take of the bus for row commands.
    pub row_commands: SimTime,
    /// What reading or writing a column takes of that bus, where column commands have none of their
    /// own.
    #[serde(default)]
    pub column_command: SimTime,
    /// From a read command to its data.
    pub t_cl: SimTime,
    /// From a write command to its data.
    pub t_cwl: SimTime,
    /// The data of one column command on the bus.
    pub t_burst: SimTime,
    /// From a column command to the next one in the same bank group; left out: no more than the
    /// data take.
    #[serde(default)]
    pub t_ccd_l: SimTime,
    /// How long the data bus is idle between the data of two ranks.
    #[serde(default)]
    pub t_rank_switch: SimTime,
    /// From opening a row to reading from it.
    pub t_rcd_read: SimTime,
    /// From opening a row to writing to it.
    pub t_rcd_write: SimTime,
    /// From closing a row to opening another.
    pub t_rp: SimTime,
    /// From opening a row to opening another in the same bank.
    pub t_rc: SimTime,
    /// From opening a row to opening one in another bank group of the rank.
    pub t_rrd: SimTime,
    /// At most four rows of a rank (of a pseudo channel) are opened in this time.
    pub t_faw: SimTime,
    /// From the last data written to closing the row.
    pub t_wr: SimTime,
    /// From the last read command to closing the row.
    pub t_rtp: SimTime,
    /// From the last data written to a read command in another bank group.
    pub t_wtr: SimTime,
    /// From a read command to a write command.
    pub t_rtw: SimTime,
    /// How long a refresh of all banks takes.
    pub t_rfc: SimTime,
    /// How often there is one.
    pub t_refi: SimTime,
}

fn one() -> u32 {
    1
}

fn line() -> Bytes {
    Bytes::new(64)
}

/// What a DRAM part's timing cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum DramError {
    #[error("{field}: {value}, but it must be between {least} and {most}")]
    Range { field: &'static str, value: String, least: String, most: String },
    #[error(
        "t_refi: {refi} is less than twice what a refresh takes in all ({refresh}): most of the time would be lost"
    )]
    Refresh { refi: SimTime, refresh: SimTime },
    #[error("{field}: {bytes} is more than a row of {row}")]
    Row { field: &'static str, bytes: Bytes, row: Bytes },
}

/// Checks `config`, field by field.
pub(super) fn check(config: &DramConfig) -> Result<(), DramError> {
    let range = |field, value: String, least: String, most: String| DramError::Range { field, value, least, most };
    for (field, count, most) in [
        ("pseudo_channels", config.pseudo_channels, 16),
        ("bank_groups", config.bank_groups, 64),
        ("banks", config.banks, 1024),
        ("ranks", config.ranks, 64),
        ("read_queue", config.read_queue, 65_536),
        ("write_queue", config.write_queue, 65_536),
    ] {
        if !(1..=most).contains(&count) {
            return Err(range(field, count.to_string(), "1".to_owned(), most.to_string()));
        }
    }
    let longest_row = Bytes::new(1 << 20);
    for (field, bytes) in [("row", config.row), ("access", config.access), ("interleave", config.interleave)] {
        if bytes == Bytes::ZERO || bytes > longest_row {
            return Err(range(field, bytes.to_string(), "1 B".to_owned(), longest_row.to_string()));
        }
    }
    for (field, bytes) in [("access", config.access), ("interleave", config.interleave)] {
        if bytes > config.row {
            return Err(DramError::Row { field, bytes, row: config.row });
        }
    }
    let longest = SimTime::from_ps(1_000_000_000);
    for (field, time, least) in [
        ("row_commands", config.row_commands, 0),
        ("column_command", config.column_command, 0),
        ("t_cl", config.t_cl, 0),
        ("t_cwl", config.t_cwl, 0),
        ("t_burst", config.t_burst, 1),
        ("t_ccd_l", config.t_ccd_l, 0),
        ("t_rank_switch", config.t_rank_switch, 0),
        ("t_rcd_read", config.t_rcd_read, 0),
        ("t_rcd_write", config.t_rcd_write, 0),
        ("t_rp", config.t_rp, 0),
        ("t_rc", config.t_rc, 1),
        ("t_rrd", config.t_rrd, 0),
        ("t_faw", config.t_faw, 0),
        ("t_wr", config.t_wr, 0),
        ("t_rtp", config.t_rtp, 0),
        ("t_wtr", config.t_wtr, 0),
        ("t_rtw", config.t_rtw, config.t_burst.as_ps()),
        ("t_rfc", config.t_rfc, 0),
        ("t_refi", config.t_refi, 1),
    ] {
        if time.as_ps() < least || time > longest {
            return Err(range(field, time.to_string(), SimTime::from_ps(least).to_string(), longest.to_string()));
        }
    }
    let reopened =
        config.t_cwl + config.t_burst + config.t_wr + config.t_rp + config.t_rcd_write.max(config.t_rcd_read);
    let refresh = config.t_rfc + reopened + config.t_rtp;
    if config.t_refi < refresh + refresh {
        return Err(DramError::Refresh { refi: config.t_refi, refresh });
    }
    Ok(())
}
