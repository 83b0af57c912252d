//! ARCHITECTURE.md and the licences, held against the source.

use std::collections::BTreeSet;
use std::fs;

use push_tests::server::workspace_path;

use super::assert_same;
use super::markdown::{Document, code_spans};

#[test]
fn each_room_of_the_server_is_in_the_architecture() {
    let document = Document::read("ARCHITECTURE.md");
    let tables = document.tables();
    let table = tables.iter().find(|table| table.columns[0].starts_with("room")).expect("rooms");
    let rooms = table.rows.iter().flat_map(|row| code_spans(&row[0])).map(str::to_owned);
    let there = files_in("push-server/src").into_iter().filter(|name| name != "lib.rs");
    // A file's folder.
    let files = files_in("push-server/src");
    let there = there.filter(|name| !files.contains(&format!("{name}.rs")));
    assert_same(&rooms.collect(), &there.collect(), "rooms of push-server");
}

#[test]
fn each_file_of_a_shard_is_in_the_architecture() {
    let document = Document::read("ARCHITECTURE.md");
    let named: BTreeSet<_> = document.code_spans().into_iter().collect();
    let is_named = |file: &String| {
        named.contains(file.as_str()) || named.contains(format!("shard/{file}").as_str())
    };
    let files = sources_below("push-server/src/shard", "");
    let missing: Vec<_> = files.into_iter().filter(|file| !is_named(file)).collect();
    assert!(missing.is_empty(), "not in ARCHITECTURE.md: {missing:?}");
}

#[test]
fn each_import_rule_of_the_lint_is_in_the_architecture() {
    let rules =
        fs::read_to_string(workspace_path("xtask/src/lint/rules.rs")).expect("read the rules");
    let rules = rules.split("why: \"").skip(1).filter_map(|rest| rest.split_once('"'));
    let rules: BTreeSet<_> = rules.map(|(why, _)| why.to_owned()).collect();
    let document = Document::read("ARCHITECTURE.md");
    let (_, section) = document.text().split_once("## Who may import whom").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("another section");
    let listed = section.lines().filter_map(|line| line.strip_prefix("- ").map(str::to_owned));
    assert_same(&listed.collect(), &rules, "import rules");
}

/// The kernel goes by what the object declares.
#[test]
fn the_licence_that_the_ebpf_object_declares_is_one_of_its_crates() {
    let manifest = |krate: &str| {
        let path = workspace_path(krate).join("Cargo.toml");
        fs::read_to_string(path).expect("read a manifest")
    };
    let source = fs::read_to_string(workspace_path("push-ebpf/src/main.rs")).expect("read it");
    assert!(source.contains(r#"= *b"Dual MIT/GPL\0";"#), "the object declares something else");
    let licence = r#"license = "MIT OR Apache-2.0 OR GPL-2.0-only""#;
    assert!(manifest("push-ebpf").contains(licence), "the crate has another licence");
    assert!(manifest("").contains(r#"license = "MIT OR Apache-2.0""#));
    for krate in ["push-common", "push-server", "tests", "xtask"] {
        assert!(manifest(krate).contains("license.workspace = true"), "{krate}");
    }
    for text in ["LICENSE-MIT", "LICENSE-APACHE", "push-ebpf/LICENSE-GPL-2.0"] {
        assert!(workspace_path(text).exists(), "{text} is missing");
    }
}

/// Paths from `folder` on, but for those of unit tests.
fn sources_below(folder: &str, prefix: &str) -> Vec<String> {
    let is_of_tests = |name: &str| name == "tests" || name == "tests.rs";
    let names = files_in(folder).into_iter().filter(|name| !is_of_tests(name));
    let paths = names.flat_map(|name| {
        let path = format!("{prefix}{name}");
        match name.ends_with(".rs") {
            true => vec![path],
            false => sources_below(&format!("{folder}/{name}"), &format!("{path}/")),
        }
    });
    paths.collect()
}

fn files_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(workspace_path(folder)).expect("list a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names.map(|name| name.into_string().expect("a plain name")).collect()
}
