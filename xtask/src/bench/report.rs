//! From measurements to output: medians and slopes, tables for people and for the README, JSON.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::workspace::say;

/// Several measurements of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// `None`: there is no value, or one is not a number.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min: values[0], max: values[values.len() - 1] })
    }

    /// `12.3`.
    pub(super) fn median_text(&self, decimals: usize) -> String {
        grouped(self.median, decimals)
    }

    /// `0.58 (0.57-0.60)`, or without the bracket when both ends print alike.
    pub(super) fn text(&self, decimals: usize) -> String {
        let (min, max) = (grouped(self.min, decimals), grouped(self.max, decimals));
        let median = self.median_text(decimals);
        if min == max { median } else { format!("{median} ({min}-{max})") }
    }
}

/// A straight line through points.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Line {
    pub(super) slope: f64,
    pub(super) intercept: f64,
    /// Standard error of the slope: how far the points lie from the line.
    pub(super) slope_error: f64,
}

impl Line {
    /// Least squares; `None`: fewer than three points, or all have the same x.
    pub(super) fn through(points: &[(f64, f64)]) -> Option<Self> {
        if points.len() < 3 {
            return None;
        }
        let count = points.len() as f64;
        let mean_x = points.iter().map(|&(x, _)| x).sum::<f64>() / count;
        let mean_y = points.iter().map(|&(_, y)| y).sum::<f64>() / count;
        let spread_x: f64 = points.iter().map(|&(x, _)| (x - mean_x).powi(2)).sum();
        if spread_x == 0.0 {
            return None;
        }
        let slope =
            points.iter().map(|&(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread_x;
        let intercept = mean_y - slope * mean_x;
        let off: f64 = points.iter().map(|&(x, y)| (y - intercept - slope * x).powi(2)).sum();
        Some(Self { slope, intercept, slope_error: (off / (count - 2.0) / spread_x).sqrt() })
    }
}

/// Rows of text under a head; the first column has words, the others numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    /// With columns aligned, for a terminal.
    pub(super) fn plain(&self) -> String {
        let width = |column: usize| {
            let cells = self.all().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let mut text = String::new();
        for row in self.all() {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                // Writing to a string does not fail.
                let _ = match column {
                    0 => write!(line, "{cell:<width$}"),
                    _ => write!(line, "   {cell:>width$}"),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// For a README.
    pub(super) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(&self.head);
        text.push_str("|---|");
        text.push_str(&"---:|".repeat(self.head.len().saturating_sub(1)));
        text.push('\n');
        for row in &self.rows {
            text.push_str(&line(row));
        }
        text
    }

    fn all(&self) -> impl Iterator<Item = &Vec<String>> {
        std::iter::once(&self.head).chain(&self.rows)
    }
}

/// The machine of a measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    pub(super) processor: String,
    pub(super) cores: usize,
    pub(super) memory_bytes: u64,
    pub(super) kernel: String,
    /// UTC, ISO 8601.
    pub(super) date: String,
    /// Followed by `+` if files differ from it.
    pub(super) commit: Option<String>,
    pub(super) mosquitto: Option<String>,
    /// The resolution of machine processor time.
    pub(super) tick_us: u64,
}

impl Machine {
    /// Reads all of it; what the kernel does not tell stays `unknown`.
    pub(super) fn look(commit: Option<String>, mosquitto: Option<String>, tick_us: u64) -> Self {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let memory = file("/proc/meminfo");
        let kilobytes = field(&memory, "MemTotal").and_then(|value| value.split(' ').next());
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            processor: field(&file("/proc/cpuinfo"), "model name").unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: kilobytes
                .and_then(|text| text.parse().ok())
                .map_or(0, |kb: u64| kb * 1024),
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            date: iso_date(since.as_secs()),
            commit,
            mosquitto,
            tick_us,
        }
    }

    /// One sentence, for below a table.
    pub(super) fn text(&self) -> String {
        format!(
            "{}, {} cores, {:.0} GB, Linux {}, {}, commit {}, mosquitto {}",
            self.processor,
            self.cores,
            self.memory_bytes as f64 / f64::from(1 << 30),
            self.kernel,
            self.date.split('T').next().unwrap_or_default(),
            self.commit.as_deref().unwrap_or("unknown"),
            self.mosquitto.as_deref().unwrap_or("not installed"),
        )
    }
}

/// The output of a finished benchmark.
pub(super) struct Shown<'a> {
    pub(super) table: Table,
    /// What was measured, and where.
    pub(super) about: String,
    /// Whether to print the table for the README, too.
    pub(super) markdown: bool,
    /// The figures that are missing, and why.
    pub(super) refused: &'a [String],
}

/// Writes the report and prints the table. The exit code tells whether any figure was refused.
pub(super) fn finish(path: &Path, report: &impl Serialize, shown: &Shown) -> Result<ExitCode> {
    let Shown { table, about, markdown, refused } = shown;
    write_json(path, report)?;
    println!("\n{}\n{about}", table.plain());
    for line in *refused {
        println!("refused: {line}");
    }
    if *markdown {
        println!("\n{}\n{about}", table.markdown());
    }
    say(format_args!("wrote {}", path.display()));
    Ok(if refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes a report over that of the previous run.
fn write_json(path: &Path, report: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(report).context("the report is no JSON")?;
    text.push('\n');
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// With thousands set apart by commas.
pub(super) fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), ""), |(w, f)| (w, f));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut out = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    // -0.0 reads as 0.0.
    if out.trim_start_matches('-').chars().all(|c| matches!(c, '0' | '.')) {
        out.trim_start_matches('-').to_owned()
    } else {
        out
    }
}

/// The first `name : value` line of a file in `/proc`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().strip_prefix(':')?.trim()))
}

/// Seconds since 1970 as UTC; the calendar by Howard Hinnant's `civil_from_days`.
fn iso_date(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let leap_days = day_of_era / 1_460 + day_of_era / 146_096;
    let year_of_era = (day_of_era + day_of_era / 36_524 - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

#[cfg(test)]
mod tests;
