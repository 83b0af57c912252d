use super::super::load::RoundTrips;
use super::*;

fn outcome() -> Outcome {
    let rtt_us = RoundTrips { p50: 20.0, p99: 90.0, p999: 200.0, max: 900.0 };
    Outcome {
        sent: 20_000,
        answered: 20_000,
        missing: 0,
        closed: 0,
        skipped: 0,
        rtt_us,
        cpu_us: 100_000.0,
        seconds: 10.0,
    }
}

fn figures_of(machine_us_per_ping: f64, kernel_share: Option<f64>) -> Figures {
    Figures {
        pings_per_s: 2_000.0,
        machine_us_per_ping,
        machine_not_idle_us_per_ping: machine_us_per_ping,
        server_us_per_ping: 0.0,
        client_us_per_ping: 5.0,
        kernel_share,
        sampled_s: 8.0,
        outcome: outcome(),
    }
}

fn visit_of(round: u32, variant: Variant, machine_us_per_ping: f64) -> Visit {
    let share = match variant {
        Variant::Kernel | Variant::BeforeKernel => Some(1.0),
        Variant::User | Variant::BeforeUser | Variant::UserRules => Some(0.0),
        Variant::Mosquitto | Variant::MosquittoRules => None,
    };
    let figures = figures_of(machine_us_per_ping, share);
    Visit { round, variant, closed_loop: figures, fixed_rate: figures }
}

#[test]
fn figures_of_the_wrong_path_are_refused() {
    assert!(check_path(Variant::Kernel, Some(0.96), "").is_ok());
    let error = check_path(Variant::Kernel, Some(0.5), "busy 9").unwrap_err().to_string();
    assert!(error.contains("only 50.0 % of the pings took the kernel path"), "{error}");
    assert!(error.contains("the kernel declined: busy 9"), "{error}");
    assert!(check_path(Variant::User, Some(0.04), "").is_ok());
    assert!(check_path(Variant::User, Some(0.06), "").is_err());
    assert!(check_path(Variant::Kernel, None, "").is_err());
    assert!(check_path(Variant::Mosquitto, None, "").is_ok());
}

#[test]
fn figures_of_lost_pings_are_refused() {
    assert!(check_outcome(&Outcome { missing: 20, skipped: 20, ..outcome() }).is_ok());
    assert!(check_outcome(&Outcome { missing: 21, ..outcome() }).is_err());
    assert!(check_outcome(&Outcome { skipped: 21, ..outcome() }).is_err());
    assert!(check_outcome(&Outcome { closed: 1, ..outcome() }).is_err());
    assert!(check_outcome(&Outcome { sent: 0, answered: 0, ..outcome() }).is_err());
}

#[test]
fn cost_is_of_the_pings_between_first_and_last_sample() {
    let at = Instant::now();
    let sample = |seconds: u64, busy_us, idle_us| Sample {
        at: at + Duration::from_secs(seconds),
        machine: MachineTime { busy_us, idle_us, stolen_us: 0, processors: 2 },
        server: ProcessTime::default(),
    };
    let samples = [sample(1, 500_000, 1_000_000), sample(2, 0, 0), sample(5, 580_000, 8_900_000)];
    let figures = figures(&samples, outcome(), None).unwrap();
    // 4 s at 2,000 pings/s; 80 ms busy, 7.9 of 8 s idle.
    assert!((figures.machine_us_per_ping - 10.0).abs() < 1e-9, "{figures:?}");
    assert!((figures.machine_not_idle_us_per_ping - 12.5).abs() < 1e-9, "{figures:?}");
    assert!((figures.client_us_per_ping - 5.0).abs() < 1e-9, "{figures:?}");
    assert!(super::figures(&samples[..1], outcome(), None).is_err());
}

#[test]
fn ratios_are_taken_within_a_round() {
    // A machine that slows down by ten in round 1 does not show in the ratio.
    let visits = [
        visit_of(0, Variant::Kernel, 10.0),
        visit_of(0, Variant::User, 20.0),
        visit_of(0, Variant::Mosquitto, 25.0),
        visit_of(1, Variant::User, 200.0),
        visit_of(1, Variant::Kernel, 100.0),
        visit_of(2, Variant::Kernel, 12.0),
    ];
    let rows = summary(&visits);
    let row = &rows[0];
    let ratio = row.kernel_to_user.unwrap();
    assert_eq!((ratio.median, ratio.min, ratio.max), (0.5, 0.5, 0.5));
    assert_eq!(row.kernel_to_mosquitto.unwrap().median, 0.4);
    assert_eq!(row.kernel.unwrap().median, 12.0);
    let table = table(&rows);
    assert_eq!(
        table.rows[0][1..],
        ["12.00 (10.00-100.00)", "110.00 (20.00-200.00)", "25.00", "0.50", "0.40"]
    );
    let share = table.rows.last().unwrap();
    assert_eq!(share[1..], ["100.0", "0.0", "-", "-", "-"]);
}

#[test]
fn an_earlier_build_is_set_against_the_same_path_in_the_same_round() {
    let visits = [
        visit_of(0, Variant::Kernel, 10.2),
        visit_of(0, Variant::BeforeKernel, 10.0),
        visit_of(0, Variant::User, 19.0),
        visit_of(0, Variant::BeforeUser, 20.0),
        visit_of(1, Variant::BeforeKernel, 50.0),
    ];
    let table = table(&summary(&visits));
    assert_eq!(table.head[6..], ["kernel/before", "user/before"]);
    assert_eq!(table.rows[0][6..], ["1.020", "0.950"]);
}
