//! The counts of `push-load throughput`, and their output.

use serde::Serialize;

use super::super::crew::{Measured, Sum};
use super::super::options::Throughput;
use super::super::tally::{Latencies, RoundTrips};

/// Counts of one thread, or of all.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// PUBLISH packets sent, from the first on.
    pub(super) sent: u64,
    /// Those of them in the time measured.
    pub(super) sent_measured: u64,
    /// Messages that came to subscribers, from the first on.
    pub(super) delivered: u64,
    /// Those of them in the time measured.
    pub(super) delivered_measured: u64,
    /// Deliveries and acknowledgements that never came.
    pub(super) missing: u64,
    /// From when a message was due to when it was written, in the time measured; at a rate only.
    pub(super) late: Latencies,
    /// From when a message was due to its PUBACK, in the time measured.
    pub(super) ack: Latencies,
    /// From when a message was due to a subscriber, in the time measured.
    pub(super) delivery: Latencies,
}

impl Sum for Counts {
    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.sent_measured += other.sent_measured;
        self.delivered += other.delivered;
        self.delivered_measured += other.delivered_measured;
        self.missing += other.missing;
        self.late.add(&other.late);
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
    threads: u16,
    qos: u8,
    /// From the first on.
    sent: u64,
    /// In the time measured.
    sent_measured: u64,
    /// To subscribers, from the first on.
    delivered: u64,
    /// In the time measured.
    delivered_measured: u64,
    /// Deliveries and acknowledgements that never came.
    missing: u64,
    /// From due to written; zeros by a window.
    late_us: RoundTrips,
    /// From due to PUBACK; zeros at QoS 0.
    ack_us: RoundTrips,
    /// From due to the subscriber.
    delivery_us: RoundTrips,
    /// CPU time of this process in the time measured, in microseconds.
    cpu_us: u64,
    /// The time measured.
    seconds: f64,
}

impl Summary {
    pub(super) fn of(options: &Throughput, measured: &Measured<Counts>) -> Self {
        let Measured { counts, took, cpu } = measured;
        Self {
            event: "done",
            mode: "throughput",
            clients: options.common.clients,
            publishers: options.publishers,
            threads: options.common.threads,
            qos: options.qos,
            sent: counts.sent,
            sent_measured: counts.sent_measured,
            delivered: counts.delivered,
            delivered_measured: counts.delivered_measured,
            missing: counts.missing,
            late_us: counts.late.us(),
            ack_us: counts.ack.us(),
            delivery_us: counts.delivery.us(),
            cpu_us: u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX),
            seconds: took.as_secs_f64(),
        }
    }

    /// Prints it for people, on stderr.
    pub(super) fn tell(&self) {
        let Self { sent, delivered, missing, seconds, .. } = *self;
        eprintln!("push-load: {sent} messages sent, {delivered} delivered, {missing} missing");
        if self.delivered_measured > 0 && seconds > 0.0 {
            let RoundTrips { p50, p99, p999, max } = self.delivery_us;
            let busy = self.cpu_us as f64 / (seconds * 1e4 * f64::from(self.threads));
            eprintln!(
                "push-load: {:.0} sent/s, {:.0} delivered/s in {seconds:.1} s; delivery p50 {p50} \
                 us, p99 {p99} us, p999 {p999} us, max {max} us; own threads {busy:.0} % busy",
                self.sent_measured as f64 / seconds,
                self.delivered_measured as f64 / seconds,
            );
        }
    }
}
