//! As much of Markdown as the documents use: headings, tables, code spans, links.

use std::path::{Path, PathBuf};

use push_tests::server::workspace_path;

/// The documents, from the workspace's root, but those of `docs`.
const AT_THE_ROOT: [&str; 5] =
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];

/// A document.
#[derive(Debug)]
pub(crate) struct Document {
    /// From the workspace's root.
    pub(crate) name: String,
    text: String,
}

/// A table, with the last heading above it.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) heading: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Document {
    /// Reads one.
    pub(crate) fn read(name: &str) -> Self {
        let path = workspace_path(name);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        Self { name: name.to_owned(), text }
    }

    /// Reads all of them.
    pub(crate) fn all() -> Vec<Self> {
        let docs = std::fs::read_dir(workspace_path("docs")).expect("list docs");
        let docs = docs.map(|entry| entry.expect("an entry").file_name());
        let docs = docs.filter_map(|name| Some(format!("docs/{}", name.to_str()?)));
        AT_THE_ROOT
            .map(str::to_owned)
            .into_iter()
            .chain(docs)
            .map(|name| Self::read(&name))
            .collect()
    }

    /// All but the change log, which also tells of what is no more.
    pub(crate) fn of_today() -> impl Iterator<Item = Self> {
        Self::all().into_iter().filter(|document| document.name != "CHANGELOG.md")
    }

    /// The folder that its links start from.
    pub(crate) fn folder(&self) -> PathBuf {
        workspace_path(&self.name).parent().map(Path::to_owned).expect("a folder")
    }

    /// As it is written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Its lines outside of fenced blocks.
    fn prose(&self) -> impl Iterator<Item = &str> {
        self.split_by_fences(false)
    }

    /// The lines of its fenced blocks.
    pub(crate) fn fenced(&self) -> impl Iterator<Item = &str> {
        self.split_by_fences(true)
    }

    fn split_by_fences(&self, wanted: bool) -> impl Iterator<Item = &str> {
        let mut is_inside = false;
        self.text.lines().filter(move |line| {
            let is_fence = line.starts_with("```");
            is_inside ^= is_fence;
            !is_fence && is_inside == wanted
        })
    }

    /// What its headings are called in links.
    pub(crate) fn anchors(&self) -> Vec<String> {
        self.prose().filter_map(heading).map(anchor).collect()
    }

    /// What stands between backticks. A span does not go over a line's end.
    pub(crate) fn code_spans(&self) -> Vec<&str> {
        self.prose().flat_map(code_spans).collect()
    }

    /// Targets of its links.
    pub(crate) fn links(&self) -> Vec<&str> {
        let targets = |line| {
            let parts = str::split(line, "](").skip(1);
            parts.filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
        };
        self.prose().flat_map(targets).collect()
    }

    /// Its tables.
    pub(crate) fn tables(&self) -> Vec<Table> {
        let (mut tables, mut title, mut open) = (Vec::<Table>::new(), String::new(), false);
        for line in self.prose() {
            if let Some(heading) = heading(line) {
                heading.clone_into(&mut title);
            }
            if !line.starts_with('|') {
                open = false;
                continue;
            }
            let cells = cells(line);
            if !std::mem::replace(&mut open, true) {
                let heading = title.clone();
                tables.push(Table { heading, columns: cells, rows: Vec::new() });
            } else if !line.starts_with("|---")
                && let Some(table) = tables.last_mut()
            {
                table.rows.push(cells);
            }
        }
        tables
    }
}

/// What stands between backticks.
pub(crate) fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn heading(line: &str) -> Option<&str> {
    let title = line.trim_start_matches('#');
    (title.len() < line.len()).then(|| title.trim())
}

/// As GitHub makes them.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

/// A row's cells; `\|` is no border.
fn cells(line: &str) -> Vec<String> {
    let line = line.replace("\\|", "\u{0}");
    let cells = line.trim().trim_matches('|').split('|');
    cells.map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

#[test]
fn a_table_has_its_heading_columns_and_rows() {
    let text = "## A\n\n| x | `y` |\n|---|---|\n| `a\\|b`, `c` | 1 |\n\ntext\n".to_owned();
    let tables = Document { name: String::new(), text }.tables();
    assert_eq!(tables.len(), 1);
    let Table { heading, columns, rows } = &tables[0];
    assert_eq!(
        (heading.as_str(), columns.as_slice()),
        ("A", &["x".to_owned(), "`y`".to_owned()][..])
    );
    assert_eq!(code_spans(&rows[0][0]).collect::<Vec<_>>(), ["a|b", "c"]);
    assert_eq!(anchor("Topics that begin with `$`"), "topics-that-begin-with-");
}
