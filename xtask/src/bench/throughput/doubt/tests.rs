use super::*;

fn times(p50: f64, p99: f64) -> RoundTrips {
    RoundTrips { p50, p99, p999: p99, max: p99 }
}

fn of_window(server: f64, generator: f64, machine: f64) -> Option<String> {
    let busy = Busy { server, generator, machine };
    doubt(Load::Window, &busy, &times(50.0, 90.0), None)
}

#[test]
fn a_rate_is_the_servers_when_the_server_is_the_busier() {
    assert_eq!(of_window(0.99, 0.60, 0.80), None);
    assert_eq!(of_window(0.99, 0.95, 1.0), None);
}

#[test]
fn a_rate_with_a_busy_generator_and_a_server_that_waits_is_doubtful() {
    let why = of_window(0.70, 0.96, 0.85).unwrap();
    assert!(why.contains("generator was 96 % busy and the server 70 %"), "{why}");
}

#[test]
fn a_rate_on_a_full_machine_with_an_idle_server_is_doubtful() {
    let why = of_window(0.60, 0.50, 0.99).unwrap();
    assert!(why.contains("may be the machine's"), "{why}");
    assert_eq!(of_window(0.90, 0.50, 0.99), None);
}

#[test]
fn a_rate_at_which_nobody_was_busy_is_doubtful() {
    let why = of_window(0.60, 0.50, 0.80).unwrap();
    assert!(why.contains("may be that of the window"), "{why}");
}

#[test]
fn times_that_are_mostly_the_generators_lateness_are_doubtful() {
    let of_rate = |late| {
        let busy = Busy { server: 0.2, generator: 0.3, machine: 0.3 };
        doubt(Load::Rate, &busy, &times(60.0, 200.0), Some(&late))
    };
    assert_eq!(of_rate(times(10.0, 40.0)), None);
    assert!(of_rate(times(20.0, 40.0)).is_some());
    assert!(of_rate(times(10.0, 60.0)).is_some());
}

#[test]
fn times_are_doubtful_when_nobody_had_time_to_read() {
    let of_rate = |generator, machine| {
        let busy = Busy { server: 0.2, generator, machine };
        doubt(Load::Rate, &busy, &times(60.0, 200.0), Some(&times(1.0, 2.0)))
    };
    assert_eq!(of_rate(0.5, 0.9), None);
    assert!(of_rate(0.9, 0.9).is_some());
    assert!(of_rate(0.5, 0.99).is_some());
}
