//! The table: the figures of each server in each scenario, and ratios within one run.

use serde::Serialize;

use super::super::brokers::Variant;
use super::super::report::{Spread, Table};
use super::arguments::ThroughputArguments;
use super::contenders::Contender;
use super::scenario::{Load, Scenario};
use super::visit::Visit;

/// Follows a figure that may not show the server's limit.
const DOUBT_MARK: &str = "?";

/// A quantity taken from a visit.
struct Quantity {
    /// `UNIT` stands for the scenario's unit.
    label: &'static str,
    decimals: usize,
    /// The loads that it makes sense for.
    loads: &'static [Load],
    /// Whether the table has ratios of it.
    is_compared: bool,
    /// Whether doubt about a visit concerns it: costs stay valid.
    is_doubted: bool,
    value: fn(&Visit) -> Option<f64>,
}

const EVERY_LOAD: &[Load] = &[Load::Window, Load::Rate, Load::Connects];

const QUANTITIES: [Quantity; 13] = [
    rate("deliveries/s", &[Load::Window]),
    rate("connects/s", &[Load::Connects]),
    time("to the subscriber p50, us", &[Load::Rate], |visit| Some(visit.times_us.p50)),
    time("to the subscriber p99, us", &[Load::Rate], |visit| Some(visit.times_us.p99)),
    time("to the subscriber p99.9, us", &[Load::Rate], |visit| Some(visit.times_us.p999)),
    cost("server CPU a UNIT, us", true, |visit| Some(visit.server_us)),
    cost("machine CPU a UNIT, us", true, |visit| Some(visit.machine_us)),
    cost("generator CPU a UNIT, us", false, |visit| Some(visit.generator_us)),
    time("SYN to CONNACK p50, us", &[Load::Connects], |visit| Some(visit.times_us.p50)),
    time("SYN to CONNACK p99, us", &[Load::Connects], |visit| Some(visit.times_us.p99)),
    share("server busy, %", EVERY_LOAD, |visit| Some(visit.busy.server * 100.0)),
    share("generator busy, %", EVERY_LOAD, |visit| Some(visit.busy.generator * 100.0)),
    share("generator late p99, us", &[Load::Rate], |visit| Some(visit.late_us?.p99)),
];

const fn rate(label: &'static str, loads: &'static [Load]) -> Quantity {
    let value: fn(&Visit) -> Option<f64> = |visit| Some(visit.per_s);
    Quantity { label, decimals: 0, loads, is_compared: true, is_doubted: true, value }
}

const fn time(
    label: &'static str,
    loads: &'static [Load],
    value: fn(&Visit) -> Option<f64>,
) -> Quantity {
    Quantity { label, decimals: 0, loads, is_compared: true, is_doubted: true, value }
}

const fn cost(
    label: &'static str,
    is_compared: bool,
    value: fn(&Visit) -> Option<f64>,
) -> Quantity {
    Quantity { label, decimals: 2, loads: EVERY_LOAD, is_compared, is_doubted: false, value }
}

const fn share(
    label: &'static str,
    loads: &'static [Load],
    value: fn(&Visit) -> Option<f64>,
) -> Quantity {
    Quantity { label, decimals: 0, loads, is_compared: false, is_doubted: false, value }
}

/// A line of the table with its numbers.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    scenario: Scenario,
    label: String,
    #[serde(skip)]
    decimals: usize,
    servers: Vec<Figure>,
    ratios: Vec<Ratio>,
}

/// One quantity of one server over all rounds.
#[derive(Debug, Serialize)]
struct Figure {
    server: String,
    spread: Option<Spread>,
    /// Whether a round of it is in doubt.
    is_doubtful: bool,
}

/// One server over another, round by round.
#[derive(Debug, Serialize)]
struct Ratio {
    server: String,
    over: String,
    spread: Option<Spread>,
}

/// The pairs to compare: our user path with every other broker, each path with the earlier build's,
/// with and without the programs on the interface, and with and without rules.
fn pairs(contenders: &[Contender]) -> Vec<(String, String)> {
    let known = |variant| {
        let contender = Contender::Known(variant);
        contenders.contains(&contender).then(|| contender.name())
    };
    let (kernel, user) = (known(Variant::Kernel), known(Variant::User));
    let mut pairs = vec![(kernel.clone(), user.clone())];
    let with_rules = (known(Variant::UserRules), known(Variant::MosquittoRules));
    let is_other = |contender: &&Contender| {
        !contender.is_ours() && **contender != Contender::Known(Variant::MosquittoRules)
    };
    let others = contenders.iter().filter(is_other);
    let ours = user.clone().or_else(|| kernel.clone());
    pairs.extend(others.map(|other| (ours.clone(), Some(other.name()))));
    pairs.push((kernel, known(Variant::BeforeKernel)));
    pairs.push((user.clone(), known(Variant::BeforeUser)));
    pairs.push((with_rules.0.clone(), user));
    pairs.push((with_rules.1.clone(), known(Variant::Mosquitto)));
    pairs.push(with_rules);
    pairs.into_iter().filter_map(|(server, over)| Some((server?, over?))).collect()
}

pub(super) fn summary(
    arguments: &ThroughputArguments,
    contenders: &[Contender],
    visits: &[Visit],
) -> Vec<Row> {
    let pairs = pairs(contenders);
    let mut rows = Vec::new();
    for scenario in arguments.scenarios() {
        let visits: Vec<&Visit> =
            visits.iter().filter(|visit| visit.scenario == scenario).collect();
        if visits.is_empty() {
            continue;
        }
        let quantities = QUANTITIES.iter().filter(|one| one.loads.contains(&scenario.load()));
        rows.extend(quantities.map(|quantity| {
            let what = quantity.label.replace("UNIT", scenario.unit());
            Row {
                scenario,
                label: format!("{}: {what}", arguments.label(scenario)),
                decimals: quantity.decimals,
                servers: contenders
                    .iter()
                    .map(|contender| figure(quantity, contender.name(), &visits))
                    .collect(),
                ratios: pairs.iter().map(|pair| ratio(quantity, pair, &visits)).collect(),
            }
        }));
    }
    rows
}

fn figure(quantity: &Quantity, server: String, visits: &[&Visit]) -> Figure {
    let own = || visits.iter().filter(|visit| visit.server == server);
    let spread = Spread::of(own().filter_map(|visit| (quantity.value)(visit)));
    let is_doubtful = quantity.is_doubted && own().any(|visit| visit.doubt.is_some());
    Figure { spread, is_doubtful, server }
}

fn ratio(quantity: &Quantity, (server, over): &(String, String), visits: &[&Visit]) -> Ratio {
    let value = |server: &str, round: u32| {
        let visit = visits.iter().find(|visit| visit.server == server && visit.round == round)?;
        (quantity.value)(visit)
    };
    let rounds = visits.iter().filter(|visit| visit.server == *server).map(|visit| visit.round);
    let of = |round| Some(value(server, round)? / value(over, round)?);
    let spread = Spread::of(rounds.filter_map(of)).filter(|_| quantity.is_compared);
    Ratio { server: server.clone(), over: over.clone(), spread }
}

pub(super) fn table(contenders: &[Contender], rows: &[Row]) -> Table {
    let mut head = vec![String::new()];
    head.extend(contenders.iter().map(Contender::name));
    let ratio_name = |(server, over): (String, String)| {
        // Without the word that all of ours share; the earlier build's path is the same.
        let over = if over.ends_with(" before") { "before" } else { over.as_str() };
        format!("{server}/{over}").replace(" path", "")
    };
    head.extend(pairs(contenders).into_iter().map(ratio_name));
    let cells = |row: &Row| {
        let figure = |figure: &Figure| {
            let mark = if figure.is_doubtful { DOUBT_MARK } else { "" };
            let text = figure.spread.map(|spread| spread.text(row.decimals) + mark);
            text.unwrap_or_else(|| "-".to_owned())
        };
        let ratio = |ratio: &Ratio| {
            ratio.spread.map_or_else(|| "-".to_owned(), |spread| spread.text(RATIO_DECIMALS))
        };
        let mut cells = vec![row.label.clone()];
        cells.extend(row.servers.iter().map(figure));
        cells.extend(row.ratios.iter().map(ratio));
        cells
    };
    Table { head, rows: rows.iter().map(cells).collect() }
}

/// Enough to see a change of 3 %.
const RATIO_DECIMALS: usize = 3;

/// The lines below the table: what is in doubt, in which rounds, and the first reason.
pub(super) fn doubts(
    arguments: &ThroughputArguments,
    contenders: &[Contender],
    visits: &[Visit],
) -> Vec<String> {
    let mut lines = Vec::new();
    for scenario in arguments.scenarios() {
        for server in contenders.iter().map(Contender::name) {
            let is_own = |visit: &&Visit| visit.scenario == scenario && visit.server == server;
            let doubtful = visits.iter().filter(is_own);
            let doubtful: Vec<(u32, &String)> = doubtful
                .filter_map(|visit| Some((visit.round + 1, visit.doubt.as_ref()?)))
                .collect();
            let Some((_, why)) = doubtful.first() else { continue };
            let rounds: Vec<String> = doubtful.iter().map(|(round, _)| round.to_string()).collect();
            let (label, rounds) = (arguments.label(scenario), rounds.join(", "));
            lines.push(format!("{label}, {server}, round {rounds}: {why}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests;
