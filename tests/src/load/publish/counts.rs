//! The counts of `push-load publish`, and their output.

use serde::Serialize;

use super::super::crew::{Measured, Sum};
use super::super::options::Publish;
use super::super::tally::{Latencies, RoundTrips};

/// Counts of one thread, or of all.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// PUBLISH packets sent, from the first on.
    pub(super) sent: u64,
    /// PUBACK packets received, from the first on.
    pub(super) acknowledged: u64,
    /// Those of them in the time measured.
    pub(super) measured: u64,
    /// Messages that came to subscribers, from the first on.
    pub(super) delivered: u64,
    /// Those of them in the time measured.
    pub(super) delivered_measured: u64,
    /// Messages that came with DUP.
    pub(super) repeated: u64,
    /// From PUBLISH to PUBACK, in the time measured.
    pub(super) ack: Latencies,
    /// From PUBLISH to the subscriber, in the time measured.
    pub(super) delivery: Latencies,
}

impl Sum for Counts {
    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.measured += other.measured;
        self.delivered += other.delivered;
        self.delivered_measured += other.delivered_measured;
        self.repeated += other.repeated;
        self.ack.add(&other.ack);
        self.delivery.add(&other.delivery);
    }
}

/// The last line on stdout.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    event: &'static str,
    mode: &'static str,
    clients: u32,
    publishers: u32,
    /// From the first on.
    sent: u64,
    /// From the first on.
    acknowledged: u64,
    /// Sent and not acknowledged in the end.
    missing: u64,
    /// To subscribers, from the first on.
    delivered: u64,
    /// Of `delivered`, with DUP.
    repeated: u64,
    /// Acknowledged in the time measured.
    measured: u64,
    /// Delivered in the time measured.
    delivered_measured: u64,
    /// From PUBLISH to PUBACK.
    ack_us: RoundTrips,
    /// From PUBLISH to the subscriber.
    delivery_us: RoundTrips,
    /// CPU time of this process in the time measured, in microseconds.
    cpu_us: u64,
    /// The time measured.
    seconds: f64,
}

impl Summary {
    pub(super) fn of(options: &Publish, measured: &Measured<Counts>) -> Self {
        let Measured { counts, took, cpu } = measured;
        Self {
            event: "done",
            mode: "publish",
            clients: options.common.clients,
            publishers: options.publishers,
            sent: counts.sent,
            acknowledged: counts.acknowledged,
            missing: counts.sent - counts.acknowledged,
            delivered: counts.delivered,
            repeated: counts.repeated,
            measured: counts.measured,
            delivered_measured: counts.delivered_measured,
            ack_us: counts.ack.us(),
            delivery_us: counts.delivery.us(),
            cpu_us: u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX),
            seconds: took.as_secs_f64(),
        }
    }

    /// Prints it for people, on stderr.
    pub(super) fn tell(&self) {
        let Self { sent, acknowledged, missing, delivered, repeated, measured, .. } = *self;
        eprintln!(
            "push-load: {sent} messages sent, {acknowledged} acknowledged, {missing} not, \
             {delivered} delivered ({repeated} again)"
        );
        if measured > 0 && self.seconds > 0.0 {
            let RoundTrips { p50, p99, p999, max } = self.ack_us;
            eprintln!(
                "push-load: {:.0} acknowledged/s, {:.0} delivered/s in {:.1} s; PUBACK p50 {p50} \
                 us, p99 {p99} us, p999 {p999} us, max {max} us; delivery p50 {} us, p99 {} us; \
                 own CPU {:.2} us a message",
                measured as f64 / self.seconds,
                self.delivered_measured as f64 / self.seconds,
                self.seconds,
                self.delivery_us.p50,
                self.delivery_us.p99,
                self.cpu_us as f64 / measured as f64,
            );
        }
    }
}
