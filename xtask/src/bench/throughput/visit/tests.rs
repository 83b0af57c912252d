use super::*;

const TIMES: RoundTrips = RoundTrips { p50: 50.0, p99: 90.0, p999: 200.0, max: 900.0 };

fn carried() -> Carried {
    Carried {
        sent: 60_000,
        delivered: 60_000,
        missing: 0,
        sent_measured: 50_000,
        delivered_measured: 50_000,
        late_us: TIMES,
        ack_us: TIMES,
        delivery_us: TIMES,
        threads: 2,
        cpu_us: 1_000_000.0,
        seconds: 5.0,
    }
}

#[test]
fn figures_of_lost_messages_and_missed_rates_are_refused() {
    assert!(check(&carried(), Some(10_000)).is_ok());
    assert!(check(&carried(), Some(10_200)).is_err());
    assert!(check(&carried(), None).is_ok());
    assert!(check(&Carried { missing: 1, ..carried() }, None).is_err());
}

#[test]
fn costs_are_of_a_delivery_and_shares_of_the_threads() {
    let at = Instant::now();
    let reading = |seconds, busy_us, idle_us| Reading {
        at: at + Duration::from_secs(seconds),
        machine: MachineTime { busy_us, idle_us, stolen_us: 0, processors: 2 },
        server: ProcessTime::default(),
    };
    let (first, last) = (reading(0, 0, 0), reading(5, 7_500_000, 2_500_000));
    let visit = figures(&first, &last, &Counted::deliveries(&carried(), true), 1).unwrap();
    assert_eq!((visit.per_s, visit.machine_us, visit.generator_us), (10_000.0, 150.0, 20.0));
    // A second of two threads in five seconds.
    assert_eq!((visit.busy.generator, visit.busy.machine), (0.1, 0.75));
    assert_eq!(visit.late_us.map(|late| late.p50), Some(50.0));
    let nothing = Carried { delivered_measured: 0, ..carried() };
    assert!(figures(&first, &last, &Counted::deliveries(&nothing, false), 1).is_err());
}
