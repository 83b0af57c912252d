//! Handshakes of TLS: their steps, which come after all else of a turn, and what each handshake has led to.

use std::time::Duration;

use super::Shard;
use crate::shard::clients::{Phase, StepWaits};
use crate::shard::counters::ShardCounters;
use crate::shard::notices::NoticeKind;
use crate::shard::ports::{Ports, Wire};
use crate::transport::{TlsHandshake, TlsVersion};

/// Steps that a turn does; others wait for the next one, which does not sleep.
pub(crate) const TLS_STEPS_PER_TURN_MAX: usize = 8;

/// How long a turn does steps; it does one at least. A signature by a long RSA key takes milliseconds.
const STEPS_BUDGET: Duration = Duration::from_millis(2);

/// How a handshake has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsResult {
    Completed,
    Failed,
    /// The client has gone, or given up.
    Left,
    TimedOut,
    /// Others needed its place.
    GaveWay,
}

impl<P: Ports> Shard<P> {
    /// What a client has sent lets its handshake go on.
    pub(super) fn queue_tls_step(&mut self, index: u32) {
        if self.clients.push_tls_step(index) == Some(StepWaits::ForPlace) {
            self.here.counters().limit_tls_handshakes.add(1);
        }
    }

    /// Does steps that are due, after all else of the turn; none while shards rest.
    pub(super) fn do_tls_steps(&mut self) {
        if self.agenda.is_resting() {
            return;
        }
        self.clients.let_tls_in();
        if !self.clients.tls_handshakes().has_due() {
            return;
        }
        // What the turn sends to clients that are there does not wait for newcomers.
        self.wire.submit();
        let begun = self.agenda.read_clock();
        for _ in 0..TLS_STEPS_PER_TURN_MAX {
            let Some(token) = self.clients.tls_handshakes_mut().next_due() else { return };
            if let Some(index) = self.resolve(token) {
                self.do_tls_step(index);
            }
            if self.agenda.read_clock() - begun > STEPS_BUDGET {
                break;
            }
        }
        let is_cut = self.clients.tls_handshakes().has_due();
        self.here.counters().cut_tls_steps.add(u64::from(is_cut));
    }

    fn do_tls_step(&mut self, index: u32) {
        self.on_tls_step(index);
        let now = self.agenda.now();
        if let Some(client) = self.clients.get_mut(index)
            && let Some(pending) = client.pending_mut()
            && let Some(tls) = pending.tls.as_deref_mut()
        {
            tls.is_done(now);
            let next_look = pending.next_look(now);
            self.arm_client_timer(index, next_look);
        }
        // Its flight leaves with the next submission, before that turn's work.
        self.flush_dirty(index);
        self.after_receive(index);
    }

    /// A client's time to connect is not over. It loses it if others need the place of its handshake, and it has left
    /// the server waiting for long. Returns whether it has.
    pub(super) fn gives_way(&mut self, index: u32) -> bool {
        let now = self.agenda.now();
        let Phase::Handshake(pending) = self.clients[index].phase() else { return false };
        if !pending.is_out_of_patience(now) || !self.clients.tls_handshakes().are_places_short() {
            return false;
        }
        self.end_tls_handshake(index, TlsResult::GaveWay);
        let why = "it was silent in its handshake, and others wait (--tls-handshakes-max)";
        self.tell(index, NoticeKind::TlsFailed, &why);
        self.finish(index, Vec::new());
        true
    }

    /// A client's handshake of TLS has ended, if there was one under way: counts it, and gives its place back. Returns
    /// whether there was.
    pub(super) fn end_tls_handshake(&mut self, index: u32, result: TlsResult) -> bool {
        let Some(client) = self.clients.get_mut(index) else { return false };
        let handshake = client.transport.tls_handshake();
        let was_under_way =
            client.pending_mut().is_some_and(|pending| pending.tls.take().is_some());
        if let Some(handshake) = handshake.filter(|_| was_under_way) {
            count_tls_handshake(self.here.counters(), result, handshake);
        }
        was_under_way
    }
}

/// Counts a handshake by how it has ended.
pub(super) fn count_tls_handshake(
    counters: &ShardCounters,
    result: TlsResult,
    handshake: TlsHandshake,
) {
    let TlsHandshake { version, is_resumed, .. } = handshake;
    let is_13 = version == Some(TlsVersion::Tls13);
    let counter = match (result, is_resumed) {
        (TlsResult::Completed, false) if is_13 => &counters.tls_13_full,
        (TlsResult::Completed, true) if is_13 => &counters.tls_13_resumed,
        (TlsResult::Completed, false) => &counters.tls_12_full,
        (TlsResult::Completed, true) => &counters.tls_12_resumed,
        (TlsResult::Failed, _) => match version {
            None => &counters.tls_failed,
            Some(TlsVersion::Tls12) => &counters.tls_12_failed,
            Some(TlsVersion::Tls13) => &counters.tls_13_failed,
        },
        (TlsResult::Left, _) => &counters.tls_left,
        (TlsResult::TimedOut, _) => &counters.tls_timed_out,
        (TlsResult::GaveWay, _) => &counters.tls_gave_way,
    };
    counter.add(1);
}
