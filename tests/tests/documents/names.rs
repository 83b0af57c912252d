//! What the documents name: flags, links, files and functions.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use push_tests::claims;
use push_tests::server::workspace_path;
use push_tests::skip::TestResult;

use super::markdown::Document;
use super::settings::all_flags;

claims! {
    flags_that_the_documents_name_exist,
}

/// Where names of files may start.
const FILES_START_AT: [&str; 3] = ["", "push-server/src", "push-server/src/shard"];

/// Folders of our sources.
const SOURCES: [&str; 5] = ["push-common", "push-ebpf", "push-server", "tests", "xtask"];

/// Those of `push-server` by its help, those of `cargo xtask` by their fields in its source.
fn flags_that_the_documents_name_exist() -> TestResult {
    let server = all_flags()?;
    let xtask = fields(&sources(&["xtask"]).concat());
    let is_xtask = |flag: &str| xtask.contains(&flag.replace('-', "_"));
    let mut missing = Vec::new();
    for document in Document::of_today() {
        let lines = document.fenced().map(|line| line.split('#').next().unwrap_or_default());
        for text in document.code_spans().into_iter().chain(lines) {
            // Other programs have flags of their own.
            let is_ours = text.contains("push-server ") || text.starts_with("--");
            if !is_ours && !text.contains("cargo xtask") {
                continue;
            }
            for flag in flags(text) {
                let is_there = server.contains(flag) || is_xtask(flag);
                if !is_there {
                    missing.push(format!("{}: {text}", document.name));
                }
            }
        }
    }
    assert!(missing.is_empty(), "flags that there are not: {missing:?}");
    Ok(())
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for document in Document::all() {
        for link in document.links() {
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = if file.is_empty() {
                workspace_path(&document.name)
            } else {
                document.folder().join(file)
            };
            let has_anchor = || {
                let path = fs::canonicalize(&path).expect("a file");
                let name = path.strip_prefix(canonical_root()).expect("a file of ours").to_owned();
                let target = Document::read(name.to_str().expect("a plain name"));
                target.anchors().iter().any(|known| known == anchor)
            };
            if !path.exists() || !(anchor.is_empty() || has_anchor()) {
                broken.push(format!("{}: {link}", document.name));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere: {broken:?}");
}

#[test]
fn files_that_the_documents_name_exist() {
    let mut missing = Vec::new();
    for document in Document::of_today() {
        for span in document.code_spans().into_iter().filter(|span| is_file(span)) {
            let places = FILES_START_AT.map(|start| workspace_path(start).join(span));
            if !places.iter().any(|place| exists(place)) {
                missing.push(format!("{}: {span}", document.name));
            }
        }
    }
    assert!(missing.is_empty(), "files that there are not: {missing:?}");
}

#[test]
fn functions_that_the_documents_name_exist() {
    let sources = sources(&SOURCES).concat();
    let mut missing = Vec::new();
    for document in Document::of_today() {
        for span in document.code_spans() {
            let Some(name) = span.strip_suffix("()") else { continue };
            let is_there =
                ["(", "<"].iter().any(|end| sources.contains(&format!("fn {name}{end}")));
            if !is_there {
                missing.push(format!("{}: {span}", document.name));
            }
        }
    }
    assert!(missing.is_empty(), "functions that there are not: {missing:?}");
}

/// What stands as the name of a field at the beginning of a line, public or not.
fn fields(source: &str) -> BTreeSet<String> {
    let names = source.lines().filter_map(|line| {
        let line = line.trim_start();
        let visible = line.strip_prefix("pub(").and_then(|rest| rest.split_once(") "));
        let (name, _) = visible.map_or(line, |(_, field)| field).split_once(": ")?;
        Some(name.to_owned())
    });
    names.collect()
}

/// The flags in a command, without their dashes.
fn flags(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split([' ', '[', ']']).filter_map(|word| word.strip_prefix("--"));
    let names = words.map(|word| {
        word.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).next().unwrap_or_default()
    });
    names.filter(|name| !name.is_empty())
}

/// Whether a span is the name of a file or folder of ours, a pattern perhaps.
fn is_file(span: &str) -> bool {
    let is_plain =
        span.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./*".contains(&byte));
    let first = span.split('/').next().unwrap_or_default();
    let is_of_ours = ["", "push-server/src"]
        .iter()
        .any(|start| !first.is_empty() && workspace_path(start).join(first).is_dir());
    let is_below = span.contains('/') && is_of_ours && first != "target";
    is_plain && (is_below || span.ends_with(".rs"))
}

fn exists(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match (name.strip_suffix('*'), path.parent()) {
        (Some(beginning), Some(folder)) => fs::read_dir(folder).is_ok_and(|mut entries| {
            entries.any(|entry| {
                entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with(beginning))
            })
        }),
        _ => path.exists(),
    }
}

fn canonical_root() -> PathBuf {
    fs::canonicalize(workspace_path("")).expect("the workspace")
}

/// The text of every Rust file of these folders.
fn sources(folders: &[&str]) -> Vec<String> {
    let mut left: Vec<PathBuf> = folders.iter().map(|folder| workspace_path(folder)).collect();
    let mut texts = Vec::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("list a folder");
            left.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            texts.push(fs::read_to_string(&path).expect("read a source"));
        }
    }
    texts
}
