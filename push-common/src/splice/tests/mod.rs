//! One fixture, and a claim a test. The fixture's numbers wrap: both streams begin three bytes
//! before 2^32, so every rule is tested across the wrap.

mod answer;
mod fragments;
mod lengths;
mod life;
mod pending;
mod probes;
mod sealed;
mod timestamps;

use super::*;
use crate::heartbeat::Heartbeat;
use crate::rate::Rate;
use crate::segment::FRAGMENTED_BYTES_MAX;

/// S-space position of the client's stream byte 0; CONNECT takes 14 bytes.
const RX_BASE: u32 = u32::MAX - 2;
/// S-space position of the server's stream byte 0; CONNACK takes 4 bytes.
const TX_BASE: u32 = u32::MAX - 2;
const RX: u32 = 14;
const TX: u32 = 4;
const IFACE: u32 = 7;
const WINDOW: u16 = 500;
const STACK_WINDOW: u16 = 600;
const NOW: Monotonic = Monotonic(100_000_000_000);

/// A connection as the splice sees it: CONNECT parsed, CONNACK sent and acknowledged.
struct World {
    flow: Flow,
    slot: SlotView,
    pace: Pace,
    now: Monotonic,
}

impl World {
    fn new() -> Self {
        let mut world = Self::unanchored();
        let decision = world.egress(world.connack());
        assert_eq!(decision.counter, Some(Counter::Anchored));
        let ack = world.bare_ack(TX_BASE.wrapping_add(TX));
        assert_eq!(world.ingress(ack).verdict, Verdict::Pass);
        world
    }

    fn unanchored() -> Self {
        let slot = SlotView {
            rx: RX,
            tx: TX,
            generation: 3,
            state: state::ARMED,
            ping_interval_ns: 0,
            ping_due: NOW,
            heartbeat_ns: NOW.0 - 1_000_000_000,
            silence_secs_max: 0,
        };
        Self {
            flow: Flow::new(1, 3, Heartbeat::PLAIN, 0),
            slot,
            pace: Rate::PINGS.ping_pace(0),
            now: NOW,
        }
    }

    /// A world with `n` answered and acknowledged pings.
    fn after_pings(n: u32) -> Self {
        let mut world = Self::new();
        for _ in 0..n {
            world.answered_ping();
            let ack = world.ack_of_pingresp();
            assert_eq!(world.ingress(ack).counter, Some(Counter::Absorbed));
        }
        world
    }

    fn ingress(&mut self, segment: Segment) -> Decision {
        on_ingress(&mut self.flow, &self.slot, &segment, self.pace, self.now)
    }

    fn egress(&mut self, segment: Segment) -> Decision {
        let facts = self.facts();
        on_egress(&mut self.flow, &segment, Some(&facts), self.now)
    }

    fn facts(&self) -> SocketFacts {
        SocketFacts {
            rcv_nxt: RX_BASE.wrapping_add(RX),
            bytes_received: RX,
            snd_una: TX_BASE,
            bytes_acked: 0,
        }
    }

    /// The client's next sequence number, if it has nothing in flight.
    fn client_nxt(&self) -> u32 {
        RX_BASE.wrapping_add(self.slot.rx).wrapping_add(self.flow.delta_in())
    }

    /// What a client acknowledges that has received everything.
    fn server_nxt(&self) -> u32 {
        TX_BASE.wrapping_add(self.slot.tx).wrapping_add(self.flow.delta_out())
    }

    fn connack(&self) -> Segment {
        self.server_data(TX_BASE, TX)
    }

    fn server_data(&self, seq: u32, payload_bytes: u32) -> Segment {
        Segment { seq, payload_bytes, ..self.server_ack() }
    }

    fn server_ack(&self) -> Segment {
        Segment {
            seq: TX_BASE.wrapping_add(self.slot.tx),
            ack: RX_BASE.wrapping_add(self.slot.rx),
            window: STACK_WINDOW,
            flags: flags::ACK,
            options_known: true,
            plain: true,
            plain_or_sack: true,
            iface: IFACE,
            ..Segment::default()
        }
    }

    fn bare_ack(&self, ack: u32) -> Segment {
        Segment {
            seq: self.client_nxt(),
            ack,
            window: WINDOW,
            flags: flags::ACK,
            verified: true,
            options_known: true,
            plain: true,
            plain_or_sack: true,
            iface: IFACE,
            ..Segment::default()
        }
    }

    fn ping(&self) -> Segment {
        let ack = self.bare_ack(self.server_nxt());
        Segment { payload_bytes: 2, pingreq: true, flags: flags::ACK | flags::PSH, ..ack }
    }

    fn client_data(&self, payload_bytes: u32) -> Segment {
        Segment { payload_bytes, verified: false, ..self.bare_ack(self.server_nxt()) }
    }

    fn ack_of_pingresp(&self) -> Segment {
        self.bare_ack(self.flow.resp_pos.wrapping_add(2))
    }

    fn answered_ping(&mut self) -> Decision {
        let ping = self.ping();
        let decision = self.ingress(ping);
        assert_eq!(decision.counter, Some(Counter::Answered), "{:?}", self.flow);
        decision
    }

    /// A ping must be left to user space for this reason, and nothing be answered.
    #[track_caller]
    fn declines(&mut self, ping: Segment, reason: Counter) {
        let n = self.flow.n;
        let decision = self.ingress(ping);
        assert_eq!(decision.counter, Some(reason));
        assert!(matches!(decision.verdict, Verdict::Pass | Verdict::Translate), "{decision:?}");
        assert_eq!(self.flow.n, n);
    }
}
