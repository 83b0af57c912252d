use super::*;
use crate::bench::load::{Published, RoundTrips};

fn visit(round: u32, mode: Mode, messages_per_s: f64) -> Visit {
    let times = RoundTrips { p50: 1.0, p99: 2.0, p999: 3.0, max: 4.0 };
    let outcome = Published {
        sent: 1,
        acknowledged: 1,
        missing: 0,
        delivered: 0,
        measured: 1,
        delivered_measured: 0,
        ack_us: times,
        delivery_us: times,
        cpu_us: 1.0,
        seconds: 1.0,
    };
    Visit {
        round,
        scenario: Scenario::Absent,
        mode,
        messages_per_s,
        delivered_per_s: 0.0,
        server_us_per_message: 5.0,
        machine_us_per_message: 9.0,
        client_us_per_message: 1.0,
        disk_bytes_per_message: 200.0,
        store: None,
        outcome,
        commands: Default::default(),
    }
}

#[test]
fn ratios_are_taken_within_a_round() {
    let visits = [
        visit(0, Mode::Fsync, 50.0),
        visit(0, Mode::Off, 100.0),
        visit(1, Mode::Fsync, 10.0),
        visit(1, Mode::Off, 40.0),
        visit(2, Mode::Fsync, 10.0),
    ];
    let rows = summary(&visits);
    assert_eq!(rows.len(), QUANTITIES.len());
    let ratio = rows[0].fsync_to_off.unwrap();
    assert_eq!((ratio.min, ratio.max), (0.25, 0.5));
    assert!(rows[0].fsync_to_mosquitto.is_none());
    // Nothing was delivered, and no fsync counted.
    assert_eq!(table(&rows).rows.len(), QUANTITIES.len() - 3);
}

#[test]
fn an_earlier_build_has_columns_only_where_it_was_measured() {
    let visits = [visit(0, Mode::Off, 90.0), visit(0, Mode::BeforeOff, 100.0)];
    let rows = summary(&visits);
    assert_eq!(rows[0].off_to_before.unwrap().median, 0.9);
    assert_eq!(table(&rows).head.last().unwrap(), "off/before");
    assert_eq!(table(&summary(&visits[..1])).head.last().unwrap(), "fsync/mosquitto");
}
