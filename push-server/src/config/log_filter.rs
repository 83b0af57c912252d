//! `--log`: which lines are logged. tracing takes any word for the name of a crate, so a misspelt
//! level (`inof`) would silence the server; this file refuses unknown words.

use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::values::{Expected, deserialize_from_str};

/// The levels, as they are written.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// This crate, as its log lines name it.
const OWN: &str = "push_server";

/// Its modules that a filter may name.
const ROOMS: [&str; 10] = [
    "access",
    "broker",
    "config",
    "control",
    "kernel",
    "mqtt",
    "ring",
    "shard",
    "store",
    "transport",
];

/// Other crates that log.
const LIBRARIES: [&str; 7] =
    ["aya", "aya_obj", "fjall", "lsm_tree", "push_ebpf", "sfa", "tungstenite"];

/// A filter of log lines: a level, or targets with levels, separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(pub String);

impl FromStr for LogFilter {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let is_filter = EnvFilter::builder().parse(text).is_ok();
        // The fields of a span may have commas and any words.
        let is_known = match text.contains('[') {
            true => true,
            false => text.split(',').all(is_directive),
        };
        if is_filter && is_known {
            return Ok(Self(text.to_owned()));
        }
        Err(Expected(format!(
            "a level ({}), or targets with a level each, as info,push_server::shard=debug; \
             targets are {OWN}, {OWN}::MODULE ({}), and {}",
            LEVELS.join(", "),
            ROOMS.join(", "),
            LIBRARIES.join(", "),
        )))
    }
}

deserialize_from_str!(LogFilter);

/// Whether `text` is a level, or an existing target with or without one.
fn is_directive(text: &str) -> bool {
    match text.split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(text) || is_target(text),
    }
}

/// Whether `text` is a level by name, or by its number in tracing.
fn is_level(text: &str) -> bool {
    !text.is_empty() && text.parse::<LevelFilter>().is_ok()
}

fn is_target(text: &str) -> bool {
    let mut modules = text.split("::");
    let root = modules.next().unwrap_or_default();
    match modules.next() {
        Some(room) if root == OWN => ROOMS.contains(&room),
        _ => root == OWN || LIBRARIES.contains(&root),
    }
}

#[cfg(test)]
mod tests;
