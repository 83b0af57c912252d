//! Whether a figure may be the generator's or the machine's rather than the server's.

use serde::Serialize;

use super::super::load::RoundTrips;
use super::scenario::Load;

/// From this share of its threads' time on, a process may be what sets the pace.
const BUSY_SHARE: f64 = 0.85;

/// From this share on, no processor was left for whoever wanted one.
const FULL_SHARE: f64 = 0.97;

/// Most of a delivery's time that may be the generator's own lateness.
const LATE_SHARE_MAX: f64 = 0.25;

/// Shares of their time that they were busy.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Busy {
    /// Of the server's shards; above 1 when it has more threads than are known.
    pub(super) server: f64,
    /// Of the generator's threads.
    pub(super) generator: f64,
    /// Of all processors, whoever was busy.
    pub(super) machine: f64,
}

/// Why a figure is doubtful; `None`: it is the server's. What a unit costs holds either way.
pub(super) fn doubt(
    load: Load,
    busy: &Busy,
    times_us: &RoundTrips,
    late_us: Option<&RoundTrips>,
) -> Option<String> {
    let percent = |share: f64| (share * 100.0).round();
    let Busy { server, generator, machine } = *busy;
    if load == Load::Rate {
        let late = late_us?;
        let share = (late.p50 / times_us.p50).max(late.p99 / times_us.p99);
        if share > LATE_SHARE_MAX {
            let (p50, p99) = (late.p50, late.p99);
            return Some(format!(
                "the generator itself sent p50 {p50:.0} us and p99 {p99:.0} us late, which is in \
                 the times"
            ));
        }
        return (generator >= BUSY_SHARE || machine >= FULL_SHARE).then(|| {
            format!(
                "the generator was {} % busy and the machine {} %: messages that came may have \
                 waited to be read",
                percent(generator),
                percent(machine)
            )
        });
    }
    if generator >= BUSY_SHARE && generator > server {
        return Some(format!(
            "the generator was {} % busy and the server {} %: the rate may be the generator's",
            percent(generator),
            percent(server)
        ));
    }
    if server >= BUSY_SHARE {
        return None;
    }
    Some(if machine >= FULL_SHARE {
        format!(
            "the machine was {} % busy and the server {} %: the rate may be the machine's",
            percent(machine),
            percent(server)
        )
    } else {
        // Too little is on its way, or all of it goes through one of many threads.
        format!(
            "the server was {} % busy and the generator {} %: the rate may be that of the window, \
             or of one thread of the server",
            percent(server),
            percent(generator)
        )
    })
}

#[cfg(test)]
mod tests {
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
}
