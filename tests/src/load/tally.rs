//! The counts of `push-load`, added up over threads, and their output.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Round trips are kept from 1 us...
const RTT_NS_MIN: u64 = 1_000;
/// ...to 60 s,
const RTT_NS_MAX: u64 = 60_000_000_000;
/// to three significant digits.
const RTT_DIGITS: u8 = 3;
/// Most faults kept in words; others are only counted.
const FAULTS_TOLD_MAX: usize = 5;

/// Times from a question to its answer.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(
            Histogram::new_with_bounds(RTT_NS_MIN, RTT_NS_MAX, RTT_DIGITS)
                .expect("constant bounds that hdrhistogram accepts"),
        )
    }
}

impl Latencies {
    /// Records one time.
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// Adds what another thread recorded.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("histograms of the same bounds");
    }

    /// In microseconds; zeros if there are none.
    pub fn us(&self) -> RoundTrips {
        let us = |ns: u64| (ns + 500) / 1_000;
        let quantile = |q| if self.0.is_empty() { 0 } else { self.0.value_at_quantile(q) };
        RoundTrips {
            p50: us(quantile(0.5)),
            p99: us(quantile(0.99)),
            p999: us(quantile(0.999)),
            max: us(self.0.max()),
        }
    }
}

/// Counts of one thread, or of all.
#[derive(Debug, Default)]
pub struct Tally {
    /// Connections that are up.
    pub connected: u64,
    /// PINGREQ sent in the time measured.
    pub sent: u64,
    /// Those of `sent` that were answered.
    pub answered: u64,
    /// Turns not used: the client's last ping was unanswered, or the generator too late.
    pub skipped: u64,
    /// Connections that ended without our doing.
    pub closed: u64,
    /// Packets that a server must not send.
    pub bad: u64,
    /// PUBLISH sent.
    pub publishes_sent: u64,
    /// PUBLISH received.
    pub publishes_received: u64,
    /// The first faults, in words.
    pub faults: Vec<String>,
    rtt: Latencies,
}

impl Tally {
    /// An answer came `rtt_ns` after its ping.
    pub fn record_answer(&mut self, rtt_ns: u64) {
        self.answered += 1;
        self.rtt.record(rtt_ns);
    }

    /// Keeps a fault in words, while there are few.
    pub fn tell(&mut self, fault: impl FnOnce() -> String) {
        if self.faults.len() < FAULTS_TOLD_MAX {
            self.faults.push(fault());
        }
    }

    /// Adds what another thread counted.
    pub fn add(&mut self, other: &Self) {
        self.connected += other.connected;
        self.sent += other.sent;
        self.answered += other.answered;
        self.skipped += other.skipped;
        self.closed += other.closed;
        self.bad += other.bad;
        self.publishes_sent += other.publishes_sent;
        self.publishes_received += other.publishes_received;
        let room = FAULTS_TOLD_MAX.saturating_sub(self.faults.len());
        self.faults.extend(other.faults.iter().take(room).cloned());
        self.rtt.add(&other.rtt);
    }

    /// The round trips in microseconds; zeros if there are none.
    pub fn rtt_us(&self) -> RoundTrips {
        self.rtt.us()
    }
}

/// Round trip times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct RoundTrips {
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

/// The last line on stdout.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Always `done`: the other lines say `ready`.
    pub event: &'static str,
    /// `ping`, `idle` or `demo`.
    pub mode: &'static str,
    /// Clients asked for.
    pub clients: u64,
    /// Clients that were up at the end, before they said goodbye.
    pub connected: u64,
    /// PINGREQ sent in the time measured.
    pub sent: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Of these, unanswered 2 s after the last was sent.
    pub missing: u64,
    /// Turns not used: the client's last ping was unanswered, or the generator too late.
    pub skipped: u64,
    /// Connections that ended before we ended them, from the start.
    pub closed: u64,
    /// Packets that a server must not send, from the start.
    pub bad: u64,
    /// PUBLISH sent, from the first on.
    pub publishes_sent: u64,
    /// PUBLISH received, from the first on.
    pub publishes_received: u64,
    /// Round trips of the pings answered.
    pub rtt_us: RoundTrips,
    /// CPU time of this process in the time measured, user and system, in microseconds.
    pub cpu_us: u64,
    /// The time measured.
    pub seconds: f64,
    /// From the first connect to the last CONNACK, the initial clients only.
    pub connect_seconds: f64,
}

impl Summary {
    /// Prints it for people, on stderr.
    pub fn tell(&self, faults: &[String]) {
        let Self { sent, answered, missing, skipped, closed, bad, .. } = *self;
        let rate = if self.seconds > 0.0 { answered as f64 / self.seconds } else { 0.0 };
        eprintln!(
            "push-load: {sent} pings sent, {answered} answered ({rate:.0}/s), {missing} missing, \
             {skipped} turns skipped, {closed} connections closed, {bad} bad packets"
        );
        if answered > 0 {
            let RoundTrips { p50, p99, p999, max } = self.rtt_us;
            let per_ping = self.cpu_us as f64 / answered as f64;
            eprintln!(
                "push-load: round trip p50 {p50} us, p99 {p99} us, p999 {p999} us, max {max} us; \
                 own CPU {per_ping:.1} us a ping, {:.1} s measured",
                self.seconds
            );
        }
        if self.publishes_sent + self.publishes_received > 0 {
            let Self { publishes_sent, publishes_received, .. } = self;
            eprintln!("push-load: {publishes_sent} publishes sent, {publishes_received} received");
        }
        for fault in faults {
            eprintln!("push-load: {fault}");
        }
    }
}

/// CPU time of this process so far, all threads, user and system.
pub fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests;
