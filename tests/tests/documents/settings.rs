//! docs/settings.md: every flag of `push-server run`, every key of the file, and their defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use push_tests::claims;
use push_tests::server::server_binary;
use push_tests::skip::{Skip, TestResult};
use push_tests::stand_in;

use super::assert_same;
use super::markdown::{Document, code_spans};

claims! {
    each_flag_is_documented_and_each_documented_one_exists,
    each_key_of_the_file_is_documented_and_each_documented_one_exists,
    each_key_of_a_listener_is_documented_and_each_documented_one_exists,
    documented_defaults_are_those_in_force,
    documented_settings_that_a_reload_applies_are_those_of_the_help,
}

/// Flags of `run` that are no settings.
const NO_SETTINGS: [&str; 2] = ["config", "help"];

/// Its default is the machine's.
const OF_THE_MACHINE: &str = "shards";

fn each_flag_is_documented_and_each_documented_one_exists() -> TestResult {
    let flags = flags_of(&["run"])?.into_keys();
    let flags = flags.filter(|flag| !NO_SETTINGS.contains(&flag.as_str())).collect();
    assert_same(&documented().into_keys().collect(), &flags, "flags of push-server run");
    Ok(())
}

fn each_key_of_the_file_is_documented_and_each_documented_one_exists() -> TestResult {
    let settings = checked("")?;
    let keys = settings.lines().filter_map(|line| {
        let line = line.trim_start_matches("# ");
        Some(line.split_once(" = ").or_else(|| line.split_once(" is not set"))?.0.to_owned())
    });
    assert_same(&documented().into_keys().collect(), &keys.collect(), "keys of the file");
    Ok(())
}

/// Its table is in docs/listeners.md, and its defaults are for all listeners' flags to say.
fn each_key_of_a_listener_is_documented_and_each_documented_one_exists() -> TestResult {
    let settings = checked("[[listener]]\naddress = '127.0.0.1:0'\n")?;
    let (_, table) = settings.split_once("[[listener]]\n").expect("the table");
    let keys = table.lines().filter_map(|line| {
        let line = line.trim_start_matches("# ");
        Some(line.split_once(" = ").or_else(|| line.split_once(" is not set"))?.0.to_owned())
    });
    let document = Document::read("docs/listeners.md");
    let tables = document.tables().into_iter().filter(|table| table.columns[0] == "key");
    let documented = tables.flat_map(|table| table.rows);
    let documented = documented.filter_map(|row| code_spans(&row[0]).next().map(str::to_owned));
    assert_same(&documented.collect(), &keys.collect(), "keys of a [[listener]]");
    Ok(())
}

/// A default may be documented with a unit: the server itself tells what that means.
fn documented_defaults_are_those_in_force() -> TestResult {
    let in_force = flags_of(&["run"])?;
    let mut file = String::new();
    for (key, documented) in documented() {
        let default = in_force.get(&key).cloned().flatten();
        if key == OF_THE_MACHINE || default == documented {
            continue;
        }
        let documented = documented.unwrap_or_else(|| panic!("--{key} has a default: {default:?}"));
        assert!(default.is_some(), "--{key} has no default, and `{documented}` is documented");
        let number = documented.replace(',', "");
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        let value = if is_number { number } else { format!("{documented:?}") };
        file.push_str(&format!("{key} = {value}\n"));
    }
    let lines = |settings: String| settings.lines().map(str::to_owned).collect();
    assert_same(&lines(checked(&file)?), &lines(checked("")?), "settings by default");
    Ok(())
}

/// A section of its own lists them.
fn documented_settings_that_a_reload_applies_are_those_of_the_help() -> TestResult {
    let text = Document::read("docs/settings.md").text().to_owned();
    let (_, section) = text.split_once("It applies ").expect("the section");
    let (listed, _) = section.split_once(". ").expect("the end of its sentence");
    let listed = code_spans(listed).map(str::to_owned);
    let help = said(&["run", "--help"])?;
    let (mut applied, mut flag) = (Vec::new(), String::new());
    for line in help.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("--") {
            let name = rest.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).next();
            flag = name.unwrap_or_default().to_owned();
        } else if line.contains("[a reload applies it]") {
            applied.push(flag.clone());
        }
    }
    assert_same(
        &listed.collect(),
        &applied.into_iter().collect(),
        "settings that a reload applies",
    );
    Ok(())
}

/// The settings of docs/settings.md, and their defaults where they have one.
pub(crate) fn documented() -> BTreeMap<String, Option<String>> {
    let document = Document::read("docs/settings.md");
    let tables = document.tables().into_iter().filter(|table| table.columns[0] == "setting");
    let mut settings = BTreeMap::new();
    for row in tables.flat_map(|table| table.rows) {
        let name = code_spans(&row[0]).next().and_then(|name| name.strip_prefix("--"));
        let name = name.unwrap_or_else(|| panic!("no setting: {}", row[0])).to_owned();
        let is_exact = row[2].starts_with('`');
        let default = is_exact.then(|| row[2].replace('`', ""));
        assert!(settings.insert(name, default).is_none(), "twice: {}", row[0]);
    }
    settings
}

/// The flags of a subcommand, by its help, and their defaults where they have one.
pub(crate) fn flags_of(subcommand: &[&str]) -> Result<BTreeMap<String, Option<String>>, Skip> {
    let help = said(&[subcommand, &["--help"]].concat())?;
    let mut flags = Vec::<(String, String)>::new();
    for line in help.lines().map(str::trim) {
        let line = line.strip_prefix("-h, ").unwrap_or(line);
        // Text of a flag is indented deeper, and begins with a word.
        if let Some(rest) = line.strip_prefix("--") {
            let name = rest.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).next();
            flags.push((name.unwrap_or_default().to_owned(), String::new()));
        } else if let Some((_, text)) = flags.last_mut() {
            text.push(' ');
            text.push_str(line);
        }
    }
    let default = |text: &str| {
        let (_, default) = text.split_once("[default: ")?;
        // An address may have brackets of its own.
        Some(
            default
                .split_once("] ")
                .map_or(default.trim_end_matches(']'), |(text, _)| text)
                .to_owned(),
        )
    };
    Ok(flags.into_iter().map(|(name, text)| (name, default(text.trim()))).collect())
}

/// The flags of every subcommand.
pub(crate) fn all_flags() -> Result<BTreeSet<String>, Skip> {
    let mut flags = BTreeSet::from(["version".to_owned()]);
    for subcommand in [
        &["run"][..],
        &["check-config"],
        &["reload"],
        &["user", "set"],
        &["user", "remove"],
        &["user", "list"],
        &["user", "verify"],
        &["scram-user"],
        &["acl", "check"],
        &["acl", "import"],
        &["detach"],
    ] {
        flags.extend(flags_of(subcommand)?.into_keys());
    }
    // Names of settings that they had before, which the help does not show.
    flags.insert("scram-users".to_owned());
    flags.insert("outbox-bytes-total".to_owned());
    Ok(flags)
}

/// The settings that a file gives, as the server prints them; its data directory is one of ours.
fn checked(text: &str) -> Result<String, Skip> {
    let directory = tempfile::tempdir().expect("make a directory");
    let file = directory.path().join("push.toml");
    let data_dir = format!("data-dir = {:?}\n", directory.path().join("data"));
    std::fs::write(&file, data_dir + text).expect("write the file");
    let settings = said(&["check-config", file.to_str().expect("a plain path")])?;
    Ok(settings.replace(directory.path().to_str().expect("a plain path"), ""))
}

/// What the server prints, given arguments that it ends by with 0.
fn said(arguments: &[&str]) -> Result<String, Skip> {
    stand_in::not_for("has other flags")?;
    let mut command = Command::new(server_binary()?);
    let output = command.args(arguments).stdin(Stdio::null()).output().expect("run the server");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
