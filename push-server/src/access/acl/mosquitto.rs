//! Translates a file of mosquitto's (`acl_file`, as of 2.0.11) into rules of ours, and says what it
//! cannot carry over.

use std::fmt::Write as _;

use super::pattern::{Pattern, has_names};

/// A translated file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The rules, as TOML.
    pub text: String,
    /// What the rules do otherwise than mosquitto does, and lines that are left out.
    pub remarks: Vec<Remark>,
}

/// A remark on a line of mosquitto's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The line, counted from 1; `None`: on the whole file.
    pub line: Option<usize>,
    /// What is different.
    pub text: &'static str,
    /// Whether the line is left out, so somebody has to look at it.
    pub is_left_out: bool,
}

/// What the rules do otherwise than mosquitto does.
mod differences {
    pub(super) const UNKNOWN: &str = "this is no line of mosquitto's, which are user NAME, topic [ACCESS] FILTER and pattern \
         [ACCESS] FILTER";
    pub(super) const FILTER: &str = "its filter is not valid";
    pub(super) const LITERAL: &str = "mosquitto takes %u and %c in a topic line as they are, and rules here cannot: there they \
         stand for names. Make it a pattern line if that was meant";
    pub(super) const SLASH: &str = "mosquitto lets a user or client id with / in it match %u and %c; here it matches none, and \
         such clients lose what this line allows them (CVE-2017-7650)";
    pub(super) const PATTERN_DENY: &str =
        "mosquitto lets a topic line of a user override this; here what is denied stays denied";
    pub(super) const WIDE: &str = "mosquitto grants every subscription and keeps back messages that the client may not read; \
         here a filter that is wider than what the client may read is refused in the SUBACK";
    pub(super) const NAMES: &str = "mosquitto denies a client with + or # in its user or id whatever pattern lines allow; here \
         it loses only those that name it by %u or %c";
}

/// Whom a line is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Whom {
    Anonymous,
    User(String),
    Everybody,
}

/// What a line allows, or that it denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    Both,
    Deny,
}

/// Lines that become one rule.
#[derive(Debug)]
struct Table {
    whom: Whom,
    is_deny: bool,
    publish: Vec<String>,
    subscribe: Vec<String>,
}

/// Translates a file of mosquitto's.
pub fn import(text: &str) -> Imported {
    let mut whom = Whom::Anonymous;
    let mut tables: Vec<Table> = Vec::new();
    let mut remarks: Vec<Remark> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut remark = |text: &'static str, is_left_out: bool| {
            remarks.push(Remark { line: Some(number), text, is_left_out });
        };
        let line = line.trim_end();
        // mosquitto takes a comment only at the beginning of a line.
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = split_word(line);
        match word {
            "user" if !rest.is_empty() => whom = Whom::User(rest.to_owned()),
            "topic" | "pattern" if !rest.is_empty() => {
                let Some((access, filter)) = access_of(rest) else {
                    remark(differences::UNKNOWN, true);
                    continue;
                };
                if Pattern::parse(filter, None).is_err() {
                    remark(differences::FILTER, true);
                    continue;
                }
                let is_named = has_names(filter);
                if word == "topic" && is_named {
                    remark(differences::LITERAL, true);
                    continue;
                }
                if is_named {
                    remark(differences::SLASH, false);
                }
                if word == "pattern" && access == Access::Deny {
                    remark(differences::PATTERN_DENY, false);
                }
                let whom = if word == "topic" { whom.clone() } else { Whom::Everybody };
                add(&mut tables, whom, access, filter);
            }
            _ => remark(differences::UNKNOWN, true),
        }
    }
    let of_all = |text| Remark { line: None, text, is_left_out: false };
    if tables.iter().any(|table| !table.subscribe.is_empty()) {
        remarks.push(of_all(differences::WIDE));
    }
    if tables.iter().any(|table| table.whom == Whom::Everybody) {
        remarks.push(of_all(differences::NAMES));
    }
    Imported { text: written(&tables), remarks }
}

fn split_word(text: &str) -> (&str, &str) {
    match text.split_once(' ') {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (text, ""),
    }
}

/// The access of a line, and its filter; `None`: there is no such access. Without a word for it the
/// access is both.
fn access_of(text: &str) -> Option<(Access, &str)> {
    let (word, filter) = split_word(text);
    if filter.is_empty() {
        return Some((Access::Both, text));
    }
    let access = match word {
        "read" => Access::Read,
        "write" => Access::Write,
        "readwrite" => Access::Both,
        "deny" => Access::Deny,
        _ => return None,
    };
    Some((access, filter))
}

/// Adds a filter to the rule of the line before, if both are about the same clients.
fn add(tables: &mut Vec<Table>, whom: Whom, access: Access, filter: &str) {
    let is_deny = access == Access::Deny;
    let same = tables.iter().position(|table| table.whom == whom && table.is_deny == is_deny);
    let index = same.unwrap_or_else(|| {
        tables.push(Table { whom, is_deny, publish: Vec::new(), subscribe: Vec::new() });
        tables.len() - 1
    });
    let Table { publish, subscribe, .. } = &mut tables[index];
    if access != Access::Read {
        publish.push(filter.to_owned());
    }
    if access != Access::Write {
        subscribe.push(filter.to_owned());
    }
}

fn written(tables: &[Table]) -> String {
    let mut text = String::new();
    for (index, table) in tables.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        text.push_str(if table.is_deny { "[[deny]]\n" } else { "[[allow]]\n" });
        match &table.whom {
            Whom::Everybody => {}
            Whom::Anonymous => text.push_str("anonymous = true\n"),
            Whom::User(name) => {
                text.push_str("users = [");
                quote(&mut text, name);
                text.push_str("]\n");
            }
        }
        for (key, filters) in [("publish", &table.publish), ("subscribe", &table.subscribe)] {
            if filters.is_empty() {
                continue;
            }
            let _ = writeln!(text, "{key} = [");
            for filter in filters {
                text.push_str("    ");
                quote(&mut text, filter);
                text.push_str(",\n");
            }
            text.push_str("]\n");
        }
    }
    text
}

/// Writes a text as TOML does.
fn quote(out: &mut String, text: &str) {
    out.push_str(&toml::Value::String(text.to_owned()).to_string());
}

#[cfg(test)]
mod tests;
