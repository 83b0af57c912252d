//! docs/metrics.md and docs/limits.md: every metric of a server that runs, every value of its labels,
//! every limit.

use std::collections::{BTreeMap, BTreeSet};

use push_common::counter::{Class, Counter};
use push_tests::both_paths;
use push_tests::certificates::{Folder, LOCAL_NAMES};
use push_tests::server::{PingPath, Server};
use push_tests::skip::{Skip, TestResult};
use push_tests::stand_in;

use super::assert_same;
use super::markdown::{Document, code_spans};

both_paths! {
    each_metric_is_documented_and_each_documented_one_exists,
    each_value_of_a_label_is_documented_and_each_documented_one_exists,
    each_limit_is_documented_and_each_documented_one_exists,
    metrics_that_the_documents_name_exist,
}

/// What there is only while the kernel path is active.
const OF_THE_KERNEL_PATH: &str = "push_kernel_path_durable";

const HIT: &str = "push_limits_hit_total";
const IN_FORCE: &str = "push_limit";

/// Metrics by name, and the values of the label that each has.
type Metrics = BTreeMap<String, BTreeSet<String>>;

fn each_metric_is_documented_and_each_documented_one_exists(path: PingPath) -> TestResult {
    let documented = documented().into_keys().collect();
    assert_same(&documented, &exposed(path)?.into_keys().collect(), "metrics");
    Ok(())
}

fn each_value_of_a_label_is_documented_and_each_documented_one_exists(
    path: PingPath,
) -> TestResult {
    let exposed = exposed(path)?;
    // Those of `limit` are in docs/limits.md; others without documented values are free text.
    for (name, values) in documented().into_iter().filter(|(_, values)| !values.is_empty()) {
        assert_same(&values, &exposed[&name], &name);
    }
    Ok(())
}

fn each_limit_is_documented_and_each_documented_one_exists(path: PingPath) -> TestResult {
    let (exposed, document) = (exposed(path)?, Document::read("docs/limits.md"));
    let (mut in_force, mut hit) = (BTreeSet::new(), BTreeSet::new());
    for table in document.tables() {
        let column = |name| table.columns.iter().position(|column| column == name);
        let in_force_column = column("`push_limit`").expect("a column of push_limit");
        let counter_column = column("counter").expect("a column of counters");
        for row in &table.rows {
            in_force.extend(code_spans(&row[in_force_column]).map(str::to_owned));
            let counters = code_spans(&row[counter_column]);
            hit.extend(counters.filter(|name| !name.starts_with("push_")).map(str::to_owned));
        }
    }
    assert_same(&in_force, &exposed[IN_FORCE], IN_FORCE);
    assert_same(&hit, &exposed[HIT], HIT);
    Ok(())
}

/// Wherever they are named, with the value of a label or without.
fn metrics_that_the_documents_name_exist(path: PingPath) -> TestResult {
    let exposed = exposed(path)?;
    let mut missing = Vec::new();
    for document in Document::of_today() {
        for span in document.code_spans() {
            let is_metric = span.starts_with("push_") || span.starts_with("process_");
            let is_code = span.contains("::") || span.ends_with("()");
            if !is_metric || is_code {
                continue;
            }
            let (name, value) = match span.split_once('{') {
                Some((name, label)) => {
                    (name, label.split('"').nth(1).filter(|value| *value != "..."))
                }
                None => (span, None),
            };
            let values = exposed.get(name);
            if values.is_none_or(|values| value.is_some_and(|value| !values.contains(value))) {
                missing.push(format!("{}: {span}", document.name));
            }
        }
    }
    assert!(missing.is_empty(), "named, and not there: {missing:?}");
    Ok(())
}

/// What docs/metrics.md has: names, and the values that it lists for a label.
fn documented() -> Metrics {
    let document = Document::read("docs/metrics.md");
    let mut metrics = Metrics::new();
    for table in document.tables() {
        let listed = code_spans(&table.heading).next().and_then(|name| name.split_once('{'));
        for row in table.rows {
            let name = code_spans(&row[0]).next().expect("a name").to_owned();
            match listed {
                Some((metric, _)) => {
                    let values = metrics.entry(metric.to_owned()).or_default();
                    assert!(values.insert(name), "twice: {}", row[0]);
                }
                None => {
                    let values = code_spans(&row[1]).map(str::to_owned);
                    metrics.entry(name).or_default().extend(values);
                }
            }
        }
    }
    metrics
}

/// What a server exposes that has a store and listens for TLS. What it would expose with the other path
/// is added.
fn exposed(path: PingPath) -> Result<Metrics, Skip> {
    stand_in::not_for("has no metrics")?;
    let directory = tempfile::tempdir().expect("make a directory");
    let folder = Folder::make(directory.path(), &LOCAL_NAMES).expect("make certificates");
    let server = Server::with(path).tls(&folder).start()?;
    let scraped = server.metrics();
    let mut metrics = Metrics::new();
    for line in scraped.text().lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let name = match family.split_once(' ') {
                Some((name, "counter")) => format!("{name}_total"),
                Some((name, _)) => name.to_owned(),
                None => continue,
            };
            metrics.entry(name).or_default();
        } else if let Some((name, labels)) = line.split_once('{')
            && let Some(values) = metrics.get_mut(name)
        {
            let (labels, _) = labels.rsplit_once("\"}").expect("labels");
            let found = labels.split("\",").filter_map(|label| label.split_once("=\""));
            // A label without a value says nothing.
            values
                .extend(found.map(|(_, value)| value.to_owned()).filter(|value| !value.is_empty()));
        }
    }
    if path == PingPath::User {
        metrics.insert(OF_THE_KERNEL_PATH.to_owned(), BTreeSet::new());
        for counter in Counter::ALL {
            let family = match counter.class() {
                Class::Declined => "push_kernel_path_declined_total",
                Class::Answered | Class::Step | Class::Dropped => "push_kernel_path_events_total",
            };
            metrics.entry(family.to_owned()).or_default().insert(counter.name().to_owned());
        }
    }
    server.finish();
    Ok(metrics)
}
