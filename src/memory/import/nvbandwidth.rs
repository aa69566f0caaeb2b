//! The output of NVIDIA's nvbandwidth, as text and as JSON.
//!
//! Each test prints a matrix: a row per host memory (or peer), a column per GPU. Copies are
//! measured with copy engines (`_ce`) and with kernels (`_sm`); a step reads in place, as a kernel
//! does, so that figures of kernels are taken where there are both. The bidirectional tests report
//! the bandwidth of one direction while the other one runs.

use super::error::{ImportError, figure};
use serde_json::Value;

/// What one GPU reaches.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuBandwidths {
    /// What nvbandwidth calls the GPU; empty where it does not say.
    pub device: String,
    /// Copies within its own memory in GB/s: each byte is read and written.
    pub local_copy: Option<f64>,
    /// Host memories, one a row of the tests.
    pub hosts: Vec<HostBandwidths>,
    /// Tests that were read, for the note to the user.
    pub read: Vec<String>,
    /// Tests that have no place in a memory system, or were not run.
    pub ignored: Vec<String>,
}

/// What a GPU reaches of a host memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostBandwidths {
    /// From the host to the GPU, in GB/s.
    pub read: Option<f64>,
    /// From the GPU to the host, in GB/s.
    pub write: Option<f64>,
    /// Both directions at once, together, in GB/s.
    pub both: Option<f64>,
    /// From a kernel's load to its data, in nanoseconds.
    pub latency_ns: Option<f64>,
}

/// A test with its matrix.
struct Test {
    name: String,
    line: usize,
    rows: Vec<Vec<Option<f64>>>,
}

/// Reads the output in `text`, and of it the column of GPU `device`.
///
/// # Errors
/// [`ImportError`] for what is no output of nvbandwidth, is cut short, has figures that no
/// machine has, or has no such GPU.
pub fn nvbandwidth(text: &str, device: u32) -> Result<GpuBandwidths, ImportError> {
    let (tests, devices, mut ignored) =
        if text.trim_start().starts_with('{') { of_json(text)? } else { of_text(text)? };
    if tests.is_empty() {
        return Err(ImportError::missing(
            "tests",
            "nvbandwidth reports no figure: run it without -t, or with the tests of host memory",
        ));
    }
    let mut found = GpuBandwidths {
        device: devices.get(device as usize).cloned().unwrap_or_default(),
        local_copy: None,
        hosts: Vec::new(),
        read: Vec::new(),
        ignored: Vec::new(),
    };
    let column = |test: &Test| -> Result<Vec<Option<f64>>, ImportError> {
        test.rows
            .iter()
            .map(|row| {
                let missing = || {
                    let problem = format!("the table has {} GPUs, from 0: choose one of them with --device", row.len());
                    ImportError::value(test.line, &test.name, &device.to_string(), problem)
                };
                row.get(device as usize).copied().ok_or_else(missing)
            })
            .collect()
    };
    let by_name = |base: &str| {
        let of = |ending: &str| tests.iter().find(|test| test.name == format!("{base}_{ending}"));
        of("sm").or_else(|| of("ce"))
    };
    let mut take = |base: &str| -> Result<Vec<Option<f64>>, ImportError> {
        let Some(test) = by_name(base) else { return Ok(Vec::new()) };
        found.read.push(test.name.clone());
        column(test)
    };
    let reads = take("host_to_device_memcpy")?;
    let writes = take("device_to_host_memcpy")?;
    let reads_of_both = take("host_to_device_bidirectional_memcpy")?;
    let writes_of_both = take("device_to_host_bidirectional_memcpy")?;
    if let Some(test) = tests.iter().find(|test| test.name == "host_device_latency_sm") {
        found.read.push(test.name.clone());
        for (row, latency) in column(test)?.into_iter().enumerate() {
            found.host(row).latency_ns = latency;
        }
    }
    if let Some(test) = tests.iter().find(|test| test.name == "device_local_copy") {
        found.read.push(test.name.clone());
        found.local_copy = column(test)?.into_iter().flatten().next();
    }
    let rows = [&reads, &writes, &reads_of_both, &writes_of_both].map(Vec::len);
    for row in 0..rows.into_iter().max().unwrap_or(0) {
        let at = |list: &[Option<f64>]| list.get(row).copied().flatten();
        let host = found.host(row);
        (host.read, host.write) = (at(&reads), at(&writes));
        host.both = match (at(&reads_of_both), at(&writes_of_both)) {
            (Some(read), Some(write)) => Some(read + write),
            (Some(one), None) | (None, Some(one)) => Some(2.0 * one),
            (None, None) => None,
        };
    }
    ignored.extend(tests.iter().map(|test| test.name.clone()).filter(|name| !found.read.contains(name)));
    found.ignored = ignored;
    Ok(found)
}

impl GpuBandwidths {
    fn host(&mut self, row: usize) -> &mut HostBandwidths {
        if self.hosts.len() <= row {
            self.hosts.resize_with(row + 1, HostBandwidths::default);
        }
        &mut self.hosts[row]
    }
}

type Read = (Vec<Test>, Vec<String>, Vec<String>);

/// Blocks of `Running NAME.`, a line that describes the matrix, the GPUs' numbers, and a row a
/// line.
fn of_text(text: &str) -> Result<Read, ImportError> {
    let (mut tests, mut devices, mut ignored) = (Vec::<Test>::new(), Vec::new(), Vec::new());
    let mut name: Option<String> = None;
    // Whether the lines of a matrix come now, and how many columns it has once that is known.
    let mut columns: Option<Option<usize>> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("Device ").and_then(|rest| rest.split_once(':')) {
            devices.push(rest.1.trim().to_owned());
        } else if let Some(running) = line.strip_prefix("Running ") {
            (name, columns) = (Some(running.trim_end_matches('.').to_owned()), None);
        } else if line.to_ascii_lowercase().starts_with("waived") || line.starts_with("ERROR") {
            ignored.extend(name.take());
        } else if line.ends_with("(GB/s)") || line.ends_with("(ns)") {
            // Of a test with several matrices the first one is kept: it is none that is read here.
            columns = name.is_some().then_some(None);
            if let Some(name) = name.take() {
                tests.push(Test { name, line: number, rows: Vec::new() });
            }
        } else if line.is_empty() || line.starts_with("SUM") {
            columns = None;
        } else if let (Some(width), Some(test)) = (columns.as_mut(), tests.last_mut()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match width {
                None => *width = Some(words.len()),
                Some(width) => {
                    if words.len() != *width + 1 {
                        let problem = format!("is no row of {width} GPUs behind its number: give the output in full");
                        return Err(ImportError::value(number, &test.name, line, problem));
                    }
                    let of = |word: &&str| match *word {
                        "N/A" => Ok(None),
                        word => figure(number, &test.name, word).map(Some),
                    };
                    test.rows.push(words[1..].iter().map(of).collect::<Result<_, _>>()?);
                }
            }
        }
    }
    if let Some(test) = tests.iter().find(|test| test.rows.is_empty()) {
        let problem = "its table has no row: the output is cut short";
        return Err(ImportError::missing(format!("line {}: {}", test.line, test.name), problem));
    }
    Ok((tests, devices, ignored))
}

/// `nvbandwidth.testcases`, with matrices of texts.
fn of_json(text: &str) -> Result<Read, ImportError> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        ImportError::missing(
            format!("line {}", error.line()),
            format!("{error}: give the output of nvbandwidth -j in full"),
        )
    })?;
    let root = &value["nvbandwidth"];
    let Some(cases) = root["testcases"].as_array() else {
        return Err(ImportError::missing(
            "nvbandwidth.testcases",
            "it is missing: this is no output of nvbandwidth -j",
        ));
    };
    let line_of = |name: &str| {
        let at = text.find(&format!("\"{name}\"")).unwrap_or(0);
        text[..at].lines().count().max(1)
    };
    let devices = ["GPU Device list", "devices"].iter().find_map(|list| root[*list].as_array());
    let devices = devices.into_iter().flatten().filter_map(Value::as_str);
    let devices = devices.map(|name| name.split_once(": ").map_or(name, |(_, name)| name).to_owned()).collect();
    let (mut tests, mut ignored) = (Vec::new(), Vec::new());
    for case in cases {
        let Some(name) = case["name"].as_str() else {
            return Err(ImportError::missing(
                "nvbandwidth.testcases[].name",
                "a test has none: give the output as it was printed",
            ));
        };
        let Some(matrix) = case["bandwidth_matrix"].as_array() else {
            ignored.push(name.to_owned());
            continue;
        };
        let line = line_of(name);
        let cell = |cell: &Value| match cell {
            Value::String(text) if text == "N/A" => Ok(None),
            Value::String(text) => figure(line, name, text).map(Some),
            Value::Number(number) => figure(line, name, &number.to_string()).map(Some),
            other => Err(ImportError::value(line, name, &other.to_string(), "is no figure")),
        };
        let row = |row: &Value| row.as_array().into_iter().flatten().map(cell).collect::<Result<Vec<_>, _>>();
        let rows = matrix.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        if rows.is_empty() {
            return Err(ImportError::missing(format!("line {line}: {name}"), "its matrix has no row"));
        }
        tests.push(Test { name: name.to_owned(), line, rows });
    }
    Ok((tests, devices, ignored))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "nvbandwidth Version: v0.8\n\nDevice 0: GPU A (00)\nDevice 1: GPU B (01)\n\n\
        Running host_to_device_memcpy_ce.\nmemcpy CE CPU(row) -> GPU(column) bandwidth (GB/s)\n\
        \x20          0         1\n 0     55.10     54.00\n\nSUM host_to_device_memcpy_ce 109.10\n\n\
        Running device_to_host_memcpy_ce.\nmemcpy CE CPU(row) <- GPU(column) bandwidth (GB/s)\n\
        \x20          0         1\n 0     52.00     51.00\n\nSUM device_to_host_memcpy_ce 103\n\n\
        Running host_to_device_memcpy_sm.\nmemcpy SM CPU(row) -> GPU(column) bandwidth (GB/s)\n\
        \x20          0         1\n 0     50.00     49.00\n\n\
        Running device_to_device_memcpy_read_ce.\nWaived: \n\
        Running host_device_latency_sm.\nmemory latency SM CPU(row) <-> GPU(column) (ns)\n\
        \x20          0         1\n 0    800.00       N/A\n";

    #[test]
    fn kernels_come_before_copy_engines() {
        let found = nvbandwidth(TEXT, 0).unwrap();
        assert_eq!(found.device, "GPU A (00)");
        assert_eq!(
            found.hosts,
            [HostBandwidths { read: Some(50.0), write: Some(52.0), both: None, latency_ns: Some(800.0) }]
        );
        assert_eq!(found.ignored, ["device_to_device_memcpy_read_ce", "host_to_device_memcpy_ce"]);
        assert_eq!(nvbandwidth(TEXT, 1).unwrap().hosts[0].latency_ns, None);
    }

    #[test]
    fn json_has_its_figures_in_texts() {
        let text = "{\"nvbandwidth\": {\"testcases\": [\n{\"name\": \"host_to_device_memcpy_ce\", \"status\": \"Passed\",\n\
            \"bandwidth_matrix\": [[\"55.1\"], [\"20.5\"]], \"sum\": 75.6},\n\
            {\"name\": \"host_to_device_bidirectional_memcpy_ce\", \"bandwidth_matrix\": [[\"40\"], [\"N/A\"]]},\n\
            {\"name\": \"device_to_device_memcpy_read_ce\", \"status\": \"Waived\"}]}}";
        let found = nvbandwidth(text, 0).unwrap();
        assert_eq!((found.hosts[0].read, found.hosts[1].read), (Some(55.1), Some(20.5)));
        assert_eq!((found.hosts[0].both, found.hosts[1].both), (Some(80.0), None));
        assert!(nvbandwidth(&text[..90], 0).unwrap_err().to_string().contains("line 3"));
    }

    #[test]
    fn bad_figures_are_refused_with_their_line() {
        for (from, to, words) in [
            ("50.00     49.00", "fifty     49.00", ["line 23", "'fifty'"]),
            ("50.00     49.00", "0.00     49.00", ["line 23", "'0.00'"]),
            ("50.00     49.00", "NaN     49.00", ["line 23", "'NaN'"]),
            ("50.00     49.00", "50.00", ["line 23", "row of 2 GPUs"]),
            ("\n 0     50.00     49.00\n", "\n", ["line 21", "cut short"]),
        ] {
            let message = nvbandwidth(&TEXT.replace(from, to), 0).unwrap_err().to_string();
            assert!(words.iter().all(|word| message.contains(word)), "{to}: {message}");
        }
        assert!(nvbandwidth(TEXT, 2).unwrap_err().to_string().contains("--device"));
        assert!(nvbandwidth("hello", 0).is_err());
    }
}
