//! The counts of `push-load connects`, and their output.

use serde::Serialize;

use super::super::crew::{Measured, Sum};
use super::super::options::Connects;
use super::super::tally::{Latencies, RoundTrips};

/// Counts of one thread, or of all.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// CONNACK packets received, from the first on.
    pub(super) connects: u64,
    /// Those of them in the time measured.
    pub(super) connects_measured: u64,
    /// Of these, whose handshake of TLS was by a ticket.
    pub(super) resumed_measured: u64,
    /// Connections that ended in order, from the first on.
    pub(super) goodbyes: u64,
    /// From the SYN to CONNACK, in the time measured.
    pub(super) connack: Latencies,
}

impl Sum for Counts {
    fn add(&mut self, other: &Self) {
        self.connects += other.connects;
        self.connects_measured += other.connects_measured;
        self.resumed_measured += other.resumed_measured;
        self.goodbyes += other.goodbyes;
        self.connack.add(&other.connack);
    }
}

/// The last line on stdout.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    event: &'static str,
    mode: &'static str,
    clients: u32,
    threads: u16,
    /// Connects that were accepted, from the first on.
    connects: u64,
    /// In the time measured.
    connects_measured: u64,
    /// Of these, whose handshake of TLS was by a ticket.
    resumed_measured: u64,
    /// Connections that ended in order, from the first on.
    goodbyes: u64,
    /// From the SYN to CONNACK.
    connack_us: RoundTrips,
    /// CPU time of this process in the time measured, in microseconds.
    cpu_us: u64,
    /// The time measured.
    seconds: f64,
}

impl Summary {
    pub(super) fn of(options: &Connects, measured: &Measured<Counts>) -> Self {
        let Measured { counts, took, cpu } = measured;
        Self {
            event: "done",
            mode: "connects",
            clients: options.common.clients,
            threads: options.common.threads,
            connects: counts.connects,
            connects_measured: counts.connects_measured,
            resumed_measured: counts.resumed_measured,
            goodbyes: counts.goodbyes,
            connack_us: counts.connack.us(),
            cpu_us: u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX),
            seconds: took.as_secs_f64(),
        }
    }

    /// Prints it for people, on stderr.
    pub(super) fn tell(&self) {
        let Self { connects, goodbyes, seconds, .. } = *self;
        eprintln!("push-load: {connects} connects, {goodbyes} goodbyes");
        if self.resumed_measured > 0 {
            let Self { resumed_measured, connects_measured, .. } = self;
            eprintln!("push-load: {resumed_measured} of {connects_measured} resumed a TLS session");
        }
        if self.connects_measured > 0 && seconds > 0.0 {
            let RoundTrips { p50, p99, p999, max } = self.connack_us;
            let busy = self.cpu_us as f64 / (seconds * 1e4 * f64::from(self.threads));
            eprintln!(
                "push-load: {:.0} connects/s in {seconds:.1} s; SYN to CONNACK p50 {p50} us, p99 \
                 {p99} us, p999 {p999} us, max {max} us; own threads {busy:.0} % busy",
                self.connects_measured as f64 / seconds,
            );
        }
    }
}
