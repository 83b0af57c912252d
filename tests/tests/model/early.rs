//! Rule 16 before there is a flow, in one run by hand: what comes by chance is too rare. A ping is in a
//! datagram with CONNECT, in two fragments; the second comes when the server has read CONNECT otherwise,
//! and the ping was sent once more. Without timestamps, by which TCP would know that it is old.

use push_common::mac::Mac;
use push_common::mutant::{Part, leave_out};
use push_common::segment::flags;

use crate::hooks::{Hooks, Ingress};
use crate::reassembly::Reassembly;
use crate::segment::Seg;
use crate::streams::{CONNACK, CONNECT, Pings};
use crate::tcp::Tcp;

const CLIENT: u32 = u32::MAX - 5;
const SERVER: u32 = u32::MAX - 2;
const CONNECT_BYTES: u32 = CONNECT.len() as u32;
const CONNACK_BYTES: u32 = CONNACK.len() as u32;

/// What the server's application has read, and how many pings the splice has answered.
fn run() -> (Vec<u8>, u64) {
    let (mut hooks, mut reassembly) = (Hooks::new(0, Pings::PLAIN), Reassembly::default());
    let mut server = Tcp::new(SERVER, CLIENT, 60_000, false);
    let mut read = Vec::new();
    let (first, last) = said(0, 0, &[&CONNECT[..], &ping()].concat()).fragmented(4, 1);
    let mut now = 0;
    let mut arrives = |hooks: &mut Hooks, server: &mut Tcp, segment: Seg| {
        now += 10_000;
        let view = hooks.view(now);
        if let (Ingress::ToStack(segment), _) = hooks.ingress(now, &view, segment, Mac::NONE)
            && let Some(segment) = reassembly.take(segment)
        {
            server.on_segment(now, &segment);
            read.extend(server.read(now, usize::MAX));
        }
        server.take_outgoing()
    };
    arrives(&mut hooks, &mut server, first);
    arrives(&mut hooks, &mut server, said(0, 0, &CONNECT));

    hooks.register(CONNECT_BYTES.into(), 0);
    server.write(20_000, &CONNACK);
    for segment in server.take_outgoing() {
        let facts = server.facts();
        hooks.egress(20_000, &facts, segment, Mac::NONE).expect("it passes");
    }
    hooks.tx = CONNACK_BYTES.into();
    hooks.arm(20_000, server.out_of_order);

    arrives(&mut hooks, &mut server, said(CONNECT_BYTES, CONNACK_BYTES, &[]));
    arrives(&mut hooks, &mut server, said(CONNECT_BYTES, CONNACK_BYTES, &ping()));
    // No program looks at it.
    if let Some(segment) = reassembly.take(last) {
        server.on_segment(60_000, &segment);
        read.extend(server.read(60_000, usize::MAX));
    }
    (read, hooks.tally.answered)
}

fn ping() -> Vec<u8> {
    Pings::PLAIN.request()
}

/// A segment of the client, by its places in both streams.
fn said(at: u32, acknowledged: u32, payload: &[u8]) -> Seg {
    Seg {
        seq: CLIENT.wrapping_add(at),
        ack: SERVER.wrapping_add(acknowledged),
        flags: flags::ACK,
        window: 500,
        payload: payload.to_vec(),
        ..Seg::default()
    }
}

#[test]
fn rule_16_ping_of_a_datagram_from_before_the_flow_is_read_once() {
    let (read, answered) = run();
    assert_eq!((read, answered), ([&CONNECT[..], &ping()].concat(), 0));
}

#[test]
fn rule_16_left_out_before_the_flow_is_noticed() {
    leave_out(Some(Part::EarlyFragment));
    let (read, answered) = run();
    leave_out(None);
    // Answered and read: two bytes of what comes next are lost.
    assert_eq!((read, answered), ([&CONNECT[..], &ping()].concat(), 1));
}
