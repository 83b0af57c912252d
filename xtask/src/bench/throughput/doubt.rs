//! Whether a figure may show the generator's or the machine's limit instead of the server's.

use serde::Serialize;

use super::super::load::RoundTrips;
use super::scenario::Load;

/// Share of its threads' time from which a process may be the bottleneck.
const BUSY_SHARE: f64 = 0.85;

/// Share of all processors from which none was free.
const FULL_SHARE: f64 = 0.97;

/// Most of a delivery's time that may be the generator's own lateness.
const LATE_SHARE_MAX: f64 = 0.25;

/// Shares of the time that processes were busy.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Busy {
    /// The server's shards; above 1 if it has more threads than we know of.
    pub(super) server: f64,
    /// The generator's threads.
    pub(super) generator: f64,
    /// All processors.
    pub(super) machine: f64,
}

/// Why a figure is doubtful; `None`: it is the server's. The cost of a unit holds either way.
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
mod tests;
