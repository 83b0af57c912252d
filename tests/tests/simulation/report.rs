//! What runs came to, in figures.

use std::fmt;
use std::time::Duration;

use crate::actors::caller;
use crate::actors::strangers;

/// What a run was made of, for the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) runs: u64,
    pub(crate) steps: u64,
    pub(crate) turns: u64,
    pub(crate) virtual_time: Duration,
    pub(crate) acknowledged: [u64; 2],
    pub(crate) delivered: u64,
    pub(crate) repeated: u64,
    pub(crate) resumed: u64,
    pub(crate) retained: u64,
    pub(crate) wills: u64,
    pub(crate) wills_kept: u64,
    pub(crate) expired: u64,
    pub(crate) kernel_pings: u64,
    pub(crate) crashes: u64,
    pub(crate) stops: u64,
    pub(crate) disk_failures: u64,
    pub(crate) resets: u64,
    pub(crate) take_overs: u64,
    /// Moves begun; sessions that have come to another shard, and that have stayed.
    pub(crate) moves: u64,
    pub(crate) moved: u64,
    pub(crate) stayed: u64,
    pub(crate) full_mailboxes: u64,
    /// Of groups: first deliveries, and what went from one member to another.
    pub(crate) shared: u64,
    pub(crate) handed_on: u64,
    /// Messages that may have had their time, and packets that were too large for somebody.
    pub(crate) timed_out: u64,
    pub(crate) too_large: u64,
    /// Crashes in the middle of a write, or of the machine; and how often the wall clock was set.
    pub(crate) torn: u64,
    pub(crate) boots: u64,
    pub(crate) clock_sets: u64,
    /// What came in by a door.
    pub(crate) called: caller::Tally,
    /// Clients whose authentication was answered late.
    pub(crate) strangers: strangers::Tally,
    /// Of every packet that clients with long sessions were sent, and of when everything happened.
    pub(crate) digest: u64,
}

impl Report {
    pub(crate) fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.turns += other.turns;
        self.virtual_time += other.virtual_time;
        self.acknowledged[0] += other.acknowledged[0];
        self.acknowledged[1] += other.acknowledged[1];
        self.delivered += other.delivered;
        self.repeated += other.repeated;
        self.resumed += other.resumed;
        self.retained += other.retained;
        self.wills += other.wills;
        self.wills_kept += other.wills_kept;
        self.expired += other.expired;
        self.kernel_pings += other.kernel_pings;
        self.crashes += other.crashes;
        self.stops += other.stops;
        self.disk_failures += other.disk_failures;
        self.resets += other.resets;
        self.take_overs += other.take_overs;
        self.moves += other.moves;
        self.moved += other.moved;
        self.stayed += other.stayed;
        self.full_mailboxes += other.full_mailboxes;
        self.shared += other.shared;
        self.handed_on += other.handed_on;
        self.timed_out += other.timed_out;
        self.too_large += other.too_large;
        self.torn += other.torn;
        self.boots += other.boots;
        self.clock_sets += other.clock_sets;
        self.called.add(other.called);
        self.strangers.add(other.strangers);
        self.digest ^= other.digest;
    }

    /// The path taken: everything that can happen has.
    pub(crate) fn prove(&self) {
        let taken = [
            self.acknowledged[0],
            self.acknowledged[1],
            self.repeated,
            self.resumed,
            self.retained,
            self.wills,
            self.wills_kept,
            self.expired,
            self.kernel_pings,
            self.crashes,
            self.stops,
            self.disk_failures,
            self.resets,
            self.take_overs,
            self.moves,
            self.moved,
            self.stayed,
            self.full_mailboxes,
            self.shared,
            self.handed_on,
            self.timed_out,
            self.too_large,
            self.torn,
            self.boots,
            self.clock_sets,
            self.called.taken,
            self.called.refused,
            self.called.confirmed,
            self.strangers.accepted,
            self.strangers.refused,
            self.strangers.steps,
            self.strangers.in_vain,
        ];
        assert!(taken.iter().all(|&count| count > 0), "{self:?}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, steps, turns, acknowledged: [least, once], .. } = *self;
        let hours = self.virtual_time.as_secs_f64() / 3_600.0;
        write!(
            formatter,
            "simulation: {runs} runs, {steps} steps, {turns} turns, {hours:.1} hours of virtual time; \
             {least} QoS 1 and {once} QoS 2 messages acknowledged, {} delivered, {} again; {} sessions \
             resumed, {} retained topics compared, {} wills published and {} kept back, {} connections \
             expired, {} pings answered by the kernel; {} crashes, {} stops, {} failures of the disk, {} \
             resets, {} take-overs, {} moves begun, {} sessions moved to another shard and {} stayed, mailboxes full {} times; {} messages for a group, {} handed on to \
             another member, {} that may have expired, {} too large for somebody; {} torn writes, {} boots \
             of the machine, the wall clock set {} times; by a door {} messages taken, {} refused, {} \
             acknowledgements told; {} clients accepted and {} refused by late answers, {} further steps, {} answers in vain",
            self.delivered,
            self.repeated,
            self.resumed,
            self.retained,
            self.wills,
            self.wills_kept,
            self.expired,
            self.kernel_pings,
            self.crashes,
            self.stops,
            self.disk_failures,
            self.resets,
            self.take_overs,
            self.moves,
            self.moved,
            self.stayed,
            self.full_mailboxes,
            self.shared,
            self.handed_on,
            self.timed_out,
            self.too_large,
            self.torn,
            self.boots,
            self.clock_sets,
            self.called.taken,
            self.called.refused,
            self.called.confirmed,
            self.strangers.accepted,
            self.strangers.refused,
            self.strangers.steps,
            self.strangers.in_vain,
        )
    }
}
