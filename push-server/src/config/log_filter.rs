//! `--log`: what is logged. tracing takes any word for the name of a crate, so that a level with a
//! slip in it (`inof`) silences the server; here every word has to mean something.

use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::values::{Expected, deserialize_from_str};

/// The levels, as they are written.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// This crate, as its log lines name it.
const OWN: &str = "push_server";

/// Its modules that may be named.
const ROOMS: [&str; 9] =
    ["broker", "config", "control", "kernel", "mqtt", "ring", "shard", "store", "transport"];

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
        // A span's fields may have commas and words of their own.
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

/// Whether `text` is a level, or a target that exists with or without one.
fn is_directive(text: &str) -> bool {
    match text.split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(text) || is_target(text),
    }
}

/// A level by its name, or by its number as tracing has them.
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
