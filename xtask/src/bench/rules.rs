//! Rules for `bench throughput --acl`: the same for our server and for mosquitto.
//!
//! All of them are about every client, none repeats another, and the one that allows what is
//! measured comes last: a server that asks them one by one asks all of them.

use std::fmt::Write;

/// How many rules there are.
pub(super) const RULES: usize = 1_000;

/// The topics of what is measured.
const MEASURED: &str = "load/#";

/// As our server reads them.
pub(super) fn ours() -> String {
    let mut text = String::new();
    for (effect, filter) in filters() {
        let _ =
            writeln!(text, "[[{effect}]]\npublish = [\"{filter}\"]\nsubscribe = [\"{filter}\"]\n");
    }
    text
}

/// As mosquitto reads them.
pub(super) fn mosquittos() -> String {
    let mut text = String::new();
    for (effect, filter) in filters() {
        let access = if effect == "allow" { "readwrite" } else { "deny" };
        let _ = writeln!(text, "topic {access} {filter}");
    }
    text
}

/// Half of them deny. They differ in the first level, or below one that many share.
fn filters() -> impl Iterator<Item = (&'static str, String)> {
    let others = (1..RULES).map(|number| {
        let effect = if number % 2 == 0 { "allow" } else { "deny" };
        let filter = match number % 4 {
            0 | 1 => format!("site-{number}/+/state"),
            _ => format!("load-{}/{number}/#", number % 10),
        };
        (effect, filter)
    });
    others.chain([("allow", MEASURED.to_owned())])
}

#[cfg(test)]
mod tests;
