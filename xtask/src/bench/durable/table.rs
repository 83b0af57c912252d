//! The table: quantities of each row by server, and the costs of durability as ratios within one
//! run.

use serde::Serialize;

use super::super::report::{Spread, Table};
use super::arguments::{Mode, Scenario};
use super::visit::{StoreFigures, Visit};

/// A line of the table.
struct Quantity {
    label: &'static str,
    decimals: usize,
    /// Whether the table has ratios of it.
    compared: bool,
    value: fn(&Visit) -> Option<f64>,
}

const fn quantity(
    label: &'static str,
    decimals: usize,
    compared: bool,
    value: fn(&Visit) -> Option<f64>,
) -> Quantity {
    Quantity { label, decimals, compared, value }
}

const QUANTITIES: [Quantity; 10] = [
    quantity("messages acknowledged/s", 0, true, |visit| Some(visit.messages_per_s)),
    quantity("PUBACK p50, us", 0, true, |visit| Some(visit.outcome.ack_us.p50)),
    quantity("PUBACK p99, us", 0, true, |visit| Some(visit.outcome.ack_us.p99)),
    quantity("to the subscriber p99, us", 0, true, |visit| {
        Some(visit.outcome.delivery_us.p99).filter(|_| visit.scenario != Scenario::Absent)
    }),
    quantity("server CPU a message, us", 2, true, |visit| Some(visit.server_us_per_message)),
    quantity("client CPU a message, us", 2, false, |visit| Some(visit.client_us_per_message)),
    quantity("machine CPU a message, us", 2, true, |visit| Some(visit.machine_us_per_message)),
    quantity("bytes to the disk a message", 0, false, |visit| Some(visit.disk_bytes_per_message)),
    quantity("fsyncs/s", 0, false, |visit| store(visit, |store| Some(store.fsyncs_per_s))),
    quantity("messages an fsync", 0, false, |visit| store(visit, |store| store.messages_per_fsync)),
];

fn store(visit: &Visit, value: impl Fn(&StoreFigures) -> Option<f64>) -> Option<f64> {
    visit.store.as_ref().and_then(value)
}

/// A line of the table with its numbers.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    scenario: Scenario,
    label: &'static str,
    #[serde(skip)]
    decimals: usize,
    fsync: Option<Spread>,
    os: Option<Spread>,
    off: Option<Spread>,
    mosquitto: Option<Spread>,
    fsync_before: Option<Spread>,
    off_before: Option<Spread>,
    fsync_to_off: Option<Spread>,
    os_to_off: Option<Spread>,
    fsync_to_mosquitto: Option<Spread>,
    /// This build divided by that of `--before`.
    fsync_to_before: Option<Spread>,
    off_to_before: Option<Spread>,
}

pub(super) fn summary(visits: &[Visit]) -> Vec<Row> {
    let measured = |scenario: &Scenario| visits.iter().any(|visit| visit.scenario == *scenario);
    let scenarios = Scenario::chosen(&[]).into_iter().filter(measured);
    scenarios
        .flat_map(|scenario| {
            let visits: Vec<&Visit> =
                visits.iter().filter(|visit| visit.scenario == scenario).collect();
            let row = move |quantity: &Quantity| row(scenario, quantity, &visits);
            QUANTITIES.iter().map(row).collect::<Vec<Row>>()
        })
        .collect()
}

fn row(scenario: Scenario, quantity: &Quantity, visits: &[&Visit]) -> Row {
    let values = |mode: Mode| {
        let own = visits.iter().filter(move |visit| visit.mode == mode);
        own.filter_map(|visit| Some((visit.round, (quantity.value)(visit)?)))
    };
    let spread = |mode| Spread::of(values(mode).map(|(_, value)| value));
    // Ratios are of one round each.
    let ratio = |one: Mode, other: Mode| {
        let of = |(round, value): (u32, f64)| {
            let (_, other) = values(other).find(|(other, _)| *other == round)?;
            Some(value / other)
        };
        Spread::of(values(one).filter_map(of)).filter(|_| quantity.compared)
    };
    Row {
        scenario,
        label: quantity.label,
        decimals: quantity.decimals,
        fsync: spread(Mode::Fsync),
        os: spread(Mode::Os),
        off: spread(Mode::Off),
        mosquitto: spread(Mode::Mosquitto),
        fsync_before: spread(Mode::BeforeFsync),
        off_before: spread(Mode::BeforeOff),
        fsync_to_off: ratio(Mode::Fsync, Mode::Off),
        os_to_off: ratio(Mode::Os, Mode::Off),
        fsync_to_mosquitto: ratio(Mode::Fsync, Mode::Mosquitto),
        fsync_to_before: ratio(Mode::Fsync, Mode::BeforeFsync),
        off_to_before: ratio(Mode::Off, Mode::BeforeOff),
    }
}

/// Builds the table; it has columns of the build of `--before` if that was measured.
pub(super) fn table(rows: &[Row]) -> Table {
    let mut head =
        vec!["", "fsync", "os", "off", "mosquitto", "fsync/off", "os/off", "fsync/mosquitto"];
    let has_before = rows.iter().any(|row| row.fsync_before.is_some() || row.off_before.is_some());
    if has_before {
        head.extend(["fsync before", "off before", "fsync/before", "off/before"]);
    }
    let figure = |spread: Option<Spread>, decimals: usize| {
        spread.map_or_else(|| "-".to_owned(), |spread| spread.text(decimals))
    };
    let cells = |row: &Row| {
        let mut cells = vec![format!("{}: {}", row.scenario, row.label)];
        let values = [row.fsync, row.os, row.off, row.mosquitto];
        cells.extend(values.map(|spread| figure(spread, row.decimals)));
        let ratios = [row.fsync_to_off, row.os_to_off, row.fsync_to_mosquitto];
        cells.extend(ratios.map(|spread| figure(spread, 2)));
        if has_before {
            let values = [row.fsync_before, row.off_before];
            cells.extend(values.map(|spread| figure(spread, row.decimals)));
            let ratios = [row.fsync_to_before, row.off_to_before];
            cells.extend(ratios.map(|spread| figure(spread, 3)));
        }
        cells
    };
    let is_there = |row: &&Row| {
        let values = [row.fsync, row.os, row.off, row.mosquitto, row.fsync_before, row.off_before];
        values.iter().any(Option::is_some)
    };
    let rows = rows.iter().filter(is_there).map(cells).collect();
    Table { head: head.into_iter().map(str::to_owned).collect(), rows }
}

#[cfg(test)]
mod tests;
