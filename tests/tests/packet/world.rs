//! The connection that every case is about, as user space and the programs know it: CONNECT parsed,
//! CONNACK sent and acknowledged, `n` pings answered. Both streams begin close below 2^32.

use push_common::answer_table::RecordShape;
use push_common::counter::Counter;
use push_common::flow::{Flow, NO_TABLE, bits};
use push_common::heartbeat::{Heartbeat, form};
use push_common::segment::flags;
use push_common::slot::{Slot, state};

use push_common::mac::Mac;
use push_tests::records::{self, Kind};

use crate::bytes::{Bytes, L3, PEER_MAC, key, timestamps};
use crate::rig::{Outcome, Rig, Verdict, Way, now_ns};

pub(crate) const RX_BASE: u32 = u32::MAX - 2;
pub(crate) const TX_BASE: u32 = u32::MAX - 1;
pub(crate) const RX: u32 = 14;
pub(crate) const TX: u32 = 4;
pub(crate) const STACK_WINDOW: u16 = 600;
const CLIENT_WINDOW: u16 = 500;
/// The device of a test run: lo.
const IFACE: u32 = 1;

#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    pub(crate) ipv6: bool,
    pub(crate) flow: Flow,
    pub(crate) slot: Slot,
    pub(crate) gso_bytes: u32,
}

impl World {
    /// After `n` pings, the last one acknowledged.
    pub(crate) fn new(ipv6: bool, n: u32) -> Self {
        Self::with(Heartbeat::PLAIN, ipv6, n)
    }

    /// The same of a client whose heartbeats look like this. Inside TLS, its answer table is that of the rig.
    pub(crate) fn with(heartbeat: Heartbeat, ipv6: bool, n: u32) -> Self {
        let table = if heartbeat.is_sealed() { 0 } else { NO_TABLE };
        let mut flow = Flow::new(0, 7, heartbeat, 0).with_table(table);
        flow.n = n;
        (flow.rx_base, flow.tx_base) = (RX_BASE, TX_BASE);
        flow.ingress_nxt = RX_BASE.wrapping_add(RX);
        flow.egress_nxt = TX_BASE.wrapping_add(TX);
        flow.acked_nxt = flow.egress_nxt;
        (flow.iface, flow.next_hop) = (IFACE, Mac::new(PEER_MAC));
        flow.stack_secs = (now_ns() / 1_000_000_000) as u32;
        (flow.stack_window, flow.peer_window) = (STACK_WINDOW, CLIENT_WINDOW);
        flow.bits = bits::ANCHORED
            | bits::INGRESS_SEEN
            | bits::PEER_WINDOW_KNOWN
            | bits::STACK_WINDOW_KNOWN;
        let slot = Slot {
            rx: RX.into(),
            tx: TX.into(),
            generation: 7,
            state: state::ARMED,
            ..Slot::default()
        };
        Self { ipv6, flow, slot, gso_bytes: 0 }
    }

    /// The same with the last of them not acknowledged.
    pub(crate) fn pending(ipv6: bool, n: u32) -> Self {
        Self::new(ipv6, n).and_pending()
    }

    /// The last ping is not acknowledged.
    pub(crate) fn and_pending(mut self) -> Self {
        let heartbeat = self.flow.heartbeat;
        self.flow.bits |= bits::PENDING;
        self.flow.req_pos = self.client_nxt().wrapping_sub(heartbeat.request_bytes());
        self.flow.resp_pos = self.server_nxt().wrapping_sub(heartbeat.response_bytes());
        self
    }

    /// C-space: where the client goes on, and the server.
    pub(crate) fn client_nxt(&self) -> u32 {
        RX_BASE.wrapping_add(RX).wrapping_add(self.flow.delta_in())
    }

    pub(crate) fn server_nxt(&self) -> u32 {
        TX_BASE.wrapping_add(TX).wrapping_add(self.flow.delta_out())
    }

    /// A bare ACK of the client for all that there is.
    pub(crate) fn client(&self) -> Bytes {
        Bytes::new(Way::Ingress, self.ipv6, self.client_nxt(), self.server_nxt())
    }

    /// A PINGREQ; inside TLS the first one that the table expects.
    pub(crate) fn ping(&self) -> Bytes {
        let flags = flags::ACK | flags::PSH;
        let payload = match self.flow.heartbeat.form() {
            form::WEBSOCKET => frame([1, 2, 3, 4], [0xC0, 0x00]),
            form::TLS => {
                let shape = RecordShape::of(self.flow.heartbeat);
                records::sealed(Kind::Request, shape, records::first(Kind::Request))
            }
            _ => vec![0xC0, 0x00],
        };
        Bytes { flags, payload, ..self.client() }
    }

    /// A bare ACK of the server's stack (S-space).
    pub(crate) fn server(&self) -> Bytes {
        let (seq, ack) = (TX_BASE.wrapping_add(TX), RX_BASE.wrapping_add(RX));
        Bytes { window: STACK_WINDOW + 1, ..Bytes::new(Way::Egress, self.ipv6, seq, ack) }
    }

    pub(crate) fn run(&self, rig: &mut Rig, packet: &Bytes) -> Outcome {
        self.run_raw(rig, packet.way, &packet.build())
    }

    pub(crate) fn run_raw(&self, rig: &mut Rig, way: Way, packet: &[u8]) -> Outcome {
        let slot = Slot { last_seen: now_ns() - 1, ..self.slot };
        rig.run(way, packet, key(self.ipv6), self.flow, slot, self.gso_bytes)
    }

    /// The ping as a stack leaves it to a network card: with the sum of the pseudo header alone.
    #[track_caller]
    pub(crate) fn assert_half_summed_ping_is_answered(&self, rig: &mut Rig) {
        let ping = self.ping();
        let mut packet = ping.build();
        let tcp_len = u16::try_from(20 + ping.payload.len()).expect("a few bytes");
        let addresses = if self.ipv6 { L3 + 8..L3 + 40 } else { L3 + 12..L3 + 20 };
        let sum = etherparse::checksum::Sum16BitWords::new()
            .add_slice(&packet[addresses])
            .add_2bytes([0, 6])
            .add_2bytes(tcp_len.to_be_bytes());
        let at = ping.l4() + 16;
        packet[at..at + 2].copy_from_slice(&(!sum.ones_complement()).to_ne_bytes());
        let outcome = self.run_raw(rig, ping.way, &packet);
        assert_eq!(outcome.verdict, Verdict::Redirect);
        outcome.assert_counted(&[Counter::Answered]);
    }

    /// No bit of the ping, from its IP header on, may change and the ping still be answered.
    #[track_caller]
    pub(crate) fn assert_flipped_bits_are_noticed(&self, rig: &mut Rig) {
        let ping = Bytes { options: timestamps(70, 9), ..self.ping() };
        let right = ping.build();
        for bit in L3 * 8..right.len() * 8 {
            // What an IPv6 header says of traffic class, flow label and hop limit has no checksum.
            if self.ipv6 && ((L3 * 8 + 4..L3 * 8 + 32).contains(&bit) || bit / 8 == L3 + 7) {
                continue;
            }
            let mut packet = right.clone();
            packet[bit / 8] ^= 0x80 >> (bit % 8);
            let outcome = self.run_raw(rig, ping.way, &packet);
            assert_ne!(outcome.verdict, Verdict::Redirect, "bit {bit}: {packet:02x?}");
            assert_eq!(outcome.slot.pings, 0);
        }
    }
}

/// A WebSocket frame of a client: a whole binary message of two bytes.
pub(crate) fn frame(mask: [u8; 4], message: [u8; 2]) -> Vec<u8> {
    let [a, b, c, d] = mask;
    vec![0x82, 0x82, a, b, c, d, message[0] ^ a, message[1] ^ b]
}
