//! Every normative statement of MQTT 3.1.1 and MQTT 5 (their appendices B), kept as two tables:
//! what it says in a line, whom it binds, and which tests hold it, or why none does. Here the tables
//! themselves are held: none is missing, and what they name exists.
//!
//! Columns, separated by tabs: id; `server`, `client` or `both`; the statement; its tests as
//! `file::test`, the file below `tests/tests` or `push-server/src` and without `.rs`. Instead of
//! tests `reason: ...` says why there are none, and `pending: WORD` that they come with a feature
//! under way. What binds clients alone may have `-`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const V311: &str = include_str!("conformance/statements/v311.tsv");
const V5: &str = include_str!("conformance/statements/v5.tsv");

/// Features under way that statements may wait for. To be empty in the end.
const PENDING: &[&str] = &[];

#[test]
fn every_statement_of_mqtt_3_1_1_is_listed_once() {
    assert_complete(V311, 141, &V311_GROUPS);
}

#[test]
fn every_statement_of_mqtt_5_is_listed_once() {
    assert_complete(V5, 251, &V5_GROUPS);
}

#[test]
fn what_binds_a_server_has_a_test_or_a_reason() {
    for (name, table) in [("3.1.1", V311), ("5.0", V5)] {
        let statements = statements(table);
        for statement in &statements {
            let Statement { id, binds, proof, .. } = statement;
            let is_proven = match proof {
                Proof::Tests(tests) => !tests.is_empty() || *binds == "client",
                Proof::Reason(why) => !why.is_empty(),
                Proof::Pending(word) => PENDING.contains(word),
            };
            assert!(is_proven, "MQTT {name}, {id}: neither a test nor a reason");
        }
        println!("MQTT {name}: {}", summary(&statements));
    }
}

#[test]
fn every_test_named_exists() {
    let mut sources = BTreeMap::new();
    let mut missing = BTreeSet::new();
    for statement in [V311, V5].into_iter().flat_map(statements) {
        let Proof::Tests(tests) = statement.proof else { continue };
        for test in tests {
            let (file, name) = test.rsplit_once("::").expect("file::test");
            let source = sources.entry(file).or_insert_with(|| source(file));
            if !source.as_deref().is_some_and(|source| has_test(source, name)) {
                missing.insert(format!("{test} ({})", statement.id));
            }
        }
    }
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

#[test]
fn nothing_waits_for_a_feature_that_is_not_under_way() {
    let waiting: BTreeSet<&str> = [V311, V5]
        .into_iter()
        .flat_map(statements)
        .filter_map(|statement| match statement.proof {
            Proof::Pending(word) => Some(word),
            Proof::Tests(_) | Proof::Reason(_) => None,
        })
        .collect();
    assert_eq!(waiting, BTreeSet::from_iter(PENDING.iter().copied()));
}

/// A row of a table.
#[derive(Debug)]
struct Statement<'a> {
    id: &'a str,
    binds: &'a str,
    says: &'a str,
    proof: Proof<'a>,
}

#[derive(Debug)]
enum Proof<'a> {
    Tests(Vec<&'a str>),
    Reason(&'a str),
    Pending(&'a str),
}

fn statements(table: &str) -> Vec<Statement<'_>> {
    table.lines().map(statement).collect()
}

fn statement(line: &str) -> Statement<'_> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [id, binds, says, proof] = columns[..] else { panic!("not four columns: {line}") };
    let proof = if let Some(why) = proof.strip_prefix("reason: ") {
        Proof::Reason(why)
    } else if let Some(word) = proof.strip_prefix("pending: ") {
        Proof::Pending(word)
    } else if proof == "-" {
        Proof::Tests(Vec::new())
    } else {
        Proof::Tests(proof.split(", ").collect())
    };
    Statement { id, binds, says, proof }
}

/// The statements of each section are numbered without a gap from its first number to its last: a
/// row that was lost, or came twice, shows.
fn assert_complete(table: &str, count: usize, groups: &[(&str, u32, u32)]) {
    let statements = statements(table);
    let mut expected = groups.iter().flat_map(|&(section, first, last)| {
        (first..=last).map(move |number| format!("MQTT-{section}-{number}"))
    });
    for statement in &statements {
        assert_eq!(Some(statement.id.to_owned()), expected.next(), "in the order of the sections");
        assert!(["server", "client", "both"].contains(&statement.binds), "{statement:?}");
        assert!(!statement.says.is_empty() && statement.says.trim() == statement.says);
    }
    assert_eq!(expected.next(), None, "missing at the end");
    assert_eq!(statements.len(), count);
}

fn summary(statements: &[Statement<'_>]) -> String {
    let client = statements.iter().filter(|statement| statement.binds == "client").count();
    let (mut tested, mut reasoned, mut pending) = (0, 0, BTreeMap::new());
    for statement in statements.iter().filter(|statement| statement.binds != "client") {
        match statement.proof {
            Proof::Tests(_) => tested += 1,
            Proof::Reason(_) => reasoned += 1,
            Proof::Pending(word) => *pending.entry(word).or_insert(0) += 1,
        }
    }
    let waiting: u32 = pending.values().sum();
    format!(
        "{} statements, {client} of them for clients alone; {tested} tested, {reasoned} with a \
         reason, {waiting} pending {pending:?}",
        statements.len()
    )
}

/// The text of a file as the tables name it.
fn source(file: &str) -> Option<String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let places: [PathBuf; 3] = [
        format!("tests/tests/{file}.rs"),
        format!("tests/tests/{file}/main.rs"),
        format!("push-server/src/{file}.rs"),
    ]
    .map(|place| workspace.join(place));
    places.iter().find_map(|path| fs::read_to_string(path).ok())
}

/// Whether a source has that test: a function marked so, or one that `both_paths!` or `claims!`
/// makes tests of.
fn has_test(source: &str, name: &str) -> bool {
    let function = format!("fn {name}(");
    let mut marked = false;
    let mut listed = false;
    for line in source.lines().map(str::trim) {
        if line == format!("{name},") {
            listed = true;
        } else if line.starts_with(&function) {
            return marked || listed;
        }
        marked = line == "#[test]" || (marked && line.starts_with("#["));
    }
    // The macro names it here, and the function is in another file.
    listed
}

/// The sections of MQTT 3.1.1 with the first and last number of their statements.
const V311_GROUPS: [(&str, u32, u32); 39] = [
    ("1.5.3", 1, 3),
    ("2.2.2", 1, 2),
    ("2.3.1", 1, 7),
    ("3.1.0", 1, 2),
    ("3.1.2", 1, 24),
    ("3.1.3", 1, 11),
    ("3.1.4", 1, 5),
    ("3.2.0", 1, 1),
    ("3.2.2", 1, 6),
    ("3.3.1", 1, 12),
    ("3.3.2", 1, 3),
    ("3.3.4", 1, 1),
    ("3.3.5", 1, 2),
    ("3.6.1", 1, 1),
    ("3.8.1", 1, 1),
    ("3.8.3", 1, 4),
    ("3.8.4", 1, 6),
    ("3.9.3", 1, 2),
    ("3.10.1", 1, 1),
    ("3.10.3", 1, 2),
    ("3.10.4", 1, 6),
    ("3.12.4", 1, 1),
    ("3.14.1", 1, 1),
    ("3.14.4", 1, 3),
    ("4.1.0", 1, 2),
    ("4.3.1", 1, 1),
    ("4.3.2", 1, 2),
    ("4.3.3", 1, 2),
    ("4.4.0", 1, 1),
    ("4.5.0", 1, 2),
    ("4.6.0", 1, 6),
    ("4.7.1", 1, 3),
    ("4.7.2", 1, 1),
    ("4.7.3", 1, 4),
    ("4.8.0", 1, 2),
    ("6.0.0", 1, 4),
    ("7.0.0", 1, 2),
    ("7.1.1", 1, 1),
    ("7.1.2", 1, 1),
];

/// The same of MQTT 5.0, whose numbers in section 2.2.1 begin with 2.
const V5_GROUPS: [(&str, u32, u32); 56] = [
    ("1.5.4", 1, 3),
    ("1.5.5", 1, 1),
    ("1.5.7", 1, 1),
    ("2.1.3", 1, 1),
    ("2.2.1", 2, 6),
    ("2.2.2", 1, 1),
    ("3.1.0", 1, 2),
    ("3.1.2", 1, 30),
    ("3.1.3", 1, 12),
    ("3.1.4", 1, 6),
    ("3.2.0", 1, 2),
    ("3.2.2", 1, 22),
    ("3.3.1", 1, 13),
    ("3.3.2", 1, 20),
    ("3.3.4", 1, 10),
    ("3.4.2", 1, 3),
    ("3.5.2", 1, 3),
    ("3.6.1", 1, 1),
    ("3.6.2", 1, 3),
    ("3.7.2", 1, 3),
    ("3.8.1", 1, 1),
    ("3.8.3", 1, 5),
    ("3.8.4", 1, 8),
    ("3.9.2", 1, 2),
    ("3.9.3", 1, 2),
    ("3.10.1", 1, 1),
    ("3.10.3", 1, 2),
    ("3.10.4", 1, 6),
    ("3.11.2", 1, 2),
    ("3.11.3", 1, 2),
    ("3.12.4", 1, 1),
    ("3.14.0", 1, 1),
    ("3.14.1", 1, 1),
    ("3.14.2", 1, 4),
    ("3.14.4", 1, 3),
    ("3.15.1", 1, 1),
    ("3.15.2", 1, 3),
    ("4.1.0", 1, 2),
    ("4.2", 1, 1),
    ("4.3.1", 1, 1),
    ("4.3.2", 1, 5),
    ("4.3.3", 1, 13),
    ("4.4.0", 1, 2),
    ("4.5.0", 1, 2),
    ("4.6.0", 1, 6),
    ("4.7.0", 1, 1),
    ("4.7.1", 1, 2),
    ("4.7.2", 1, 1),
    ("4.7.3", 1, 4),
    ("4.8.2", 1, 6),
    ("4.9.0", 1, 3),
    ("4.12.0", 1, 7),
    ("4.12.1", 1, 2),
    ("4.13.1", 1, 1),
    ("4.13.2", 1, 1),
    ("6.0.0", 1, 4),
];
