//! Packets changed at random, against an oracle of its own on top of etherparse: nothing is accepted
//! that the rules decline, and with answered pings nothing of the connection passes untranslated.
//!
//! `PUSH_FUZZ_SECONDS` says how long, `PUSH_FUZZ_SEED` runs one seed again.

use std::time::{Duration, Instant};

use etherparse::{TcpOptionElement, TcpOptionsIterator};
use push_common::answer_table::RecordShape;
use push_common::counter::Counter;
use push_common::flow::bits;
use push_common::heartbeat::Heartbeat;
use push_common::segment::flags;
use push_tests::records::{Kind, SHAPES, fill, fill_pending, first, sealed};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::bytes::{Bytes, Read, read, sack, timestamps};
use crate::cases;
use crate::rig::{Outcome, Rig, Verdict, Way, now_ns};
use crate::world::World;

/// How long an ordinary run goes on, for each address family.
const SECONDS: u64 = 4;

cases! {
    nothing_is_accepted_that_the_rules_decline,
}

fn nothing_is_accepted_that_the_rules_decline(rig: &mut Rig, ipv6: bool) {
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let seconds = number("PUSH_FUZZ_SECONDS").unwrap_or(SECONDS);
    let seed = number("PUSH_FUZZ_SEED").unwrap_or_else(rand::random);
    let mut rng = SmallRng::seed_from_u64(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut runs, mut accepted) = (0_u64, 0_u64);
    while runs == 0 || Instant::now() < end {
        let world = world(&mut rng, ipv6);
        let heartbeats = Heartbeats::of(&world);
        let is_claimed = heartbeats.prepare(&mut rng, rig, &world);
        let (way, packet) = packet(&mut rng, &world, &heartbeats);
        let outcome = world.run_raw(rig, way, &packet);
        let fault = match way {
            Way::Ingress => ingress_fault(&world, &heartbeats, &packet, &outcome),
            Way::Egress => egress_fault(&world, &packet, &outcome),
        };
        let fault = fault.or_else(|| heartbeats.fault(&outcome, is_claimed));
        if let Some(fault) = fault {
            panic!(
                "PUSH_FUZZ_SEED={seed}, run {runs}: {fault}\n{packet:02x?}\n{world:?}\n{outcome:x?}"
            );
        }
        runs += 1;
        accepted += u64::from(outcome.verdict == Verdict::Redirect);
    }
    println!("fuzz: {runs} packets, {accepted} accepted, seed {seed}");
    assert!(accepted > 0, "a fuzz that is never accepted proves nothing");
}

/// What the heartbeats of a world look like: in clear, or as records that come next.
struct Heartbeats {
    shape: Option<RecordShape>,
    request: Vec<u8>,
    answer: Vec<u8>,
    /// The answer that left last, if it is not acknowledged.
    kept: Vec<u8>,
}

impl Heartbeats {
    fn of(world: &World) -> Self {
        let heartbeat = world.flow.heartbeat;
        let shape = heartbeat.is_sealed().then(|| RecordShape::of(heartbeat));
        let Some(of) = shape else {
            let answer = vec![0xD0, 0x00];
            return Self { shape, request: vec![0xC0, 0x00], answer: answer.clone(), kept: answer };
        };
        let more = u64::from(world.flow.has(bits::PENDING));
        let next = |kind, more| sealed(kind, of, first(kind).after(more).expect("small numbers"));
        let [request, answer] = [Kind::Request, Kind::Answer].map(|kind| next(kind, more));
        Self { shape, request, answer, kept: next(Kind::Answer, 0) }
    }

    /// Fills the answer table; now and then user space holds the claim for good. Returns whether it does.
    fn prepare(&self, rng: &mut SmallRng, rig: &Rig, world: &World) -> bool {
        let Some(shape) = self.shape else { return false };
        if world.flow.has(bits::PENDING) {
            fill_pending(rig.table, shape);
        } else {
            fill(rig.table, shape);
        }
        rng.random_range(0..16) == 0 && rig.table.claim().is_some()
    }

    /// What is wrong with the answer that has left, if one has.
    fn fault(&self, outcome: &Outcome, is_claimed: bool) -> Option<&'static str> {
        let answers = |counter| outcome.counted.contains(&(counter, 1));
        let again = [Counter::Refilled, Counter::Resent, Counter::StaleBytes];
        let expected = match () {
            () if answers(Counter::Answered) => &self.answer,
            () if again.into_iter().any(answers) => &self.kept,
            () => return None,
        };
        if is_claimed && answers(Counter::Answered) {
            return Some("answered while user space held the claim");
        }
        // A packet that TCP might not take need not become one that it takes.
        let left = read(&outcome.packet).filter(|left| left.ip_plain && left.from_server)?;
        (left.payload != *expected).then_some("another answer than the one that was to leave")
    }
}

fn world(rng: &mut SmallRng, ipv6: bool) -> World {
    let n = [0, 1, 7, u32::MAX][rng.random_range(0..4)];
    let heartbeat = match SHAPES.get(rng.random_range(0..2 * SHAPES.len())) {
        Some(shape) => shape.heartbeat(),
        None => Heartbeat::PLAIN,
    };
    let mut world = World::with(heartbeat, ipv6, n);
    if n > 0 && rng.random() {
        world = world.and_pending();
    }
    if rng.random_range(0..8) == 0 {
        world.flow.bits = rng.random();
        if n > 0 {
            world.flow.bits |= bits::ANCHORED;
        }
    }
    if rng.random_range(0..3) == 0 {
        world.flow.bits |= bits::CLIENT_TS_KNOWN;
        world.flow.client_ts = rng.random();
        // Comparable still, or not any more.
        let age_secs = [0, 60, 100_000][rng.random_range(0..3)];
        world.flow.client_ts_secs = now_secs().saturating_sub(age_secs);
    }
    // Silent for long, or not.
    let silence_secs = [0, 80_000, 100_000][rng.random_range(0..3)];
    world.flow.stack_secs = now_secs().wrapping_sub(silence_secs);
    world
}

/// A packet of the connection, right or not, and then some bytes of it changed.
fn packet(rng: &mut SmallRng, world: &World, heartbeats: &Heartbeats) -> (Way, Vec<u8>) {
    let mut packet = match rng.random_range(0..8) {
        0..=2 => Bytes { payload: heartbeats.request.clone(), ..world.ping() },
        // Inside TLS the one before, if there was one.
        3 => world.ping(),
        4..=5 => world.client(),
        _ => world.server(),
    };
    if rng.random_range(0..3) == 0 {
        packet.ack = packet.ack.wrapping_sub(world.flow.heartbeat.response_bytes());
    }
    if rng.random_range(0..4) == 0 {
        let bytes = [0, 1, 2, 3, 4, 22, 23, 24, 25, 31, 32, 33, 40, 1_400][rng.random_range(0..14)];
        packet.payload = (0..bytes).map(|_| rng.random()).collect();
    }
    packet.options = match rng.random_range(0..6) {
        0 => {
            let near = world.flow.client_ts.wrapping_add(rng.random_range(0..5)).wrapping_sub(2);
            timestamps(if rng.random() { near } else { rng.random() }, rng.random())
        }
        1 => sack(&[(packet.ack.wrapping_add(2), packet.ack.wrapping_add(4))]),
        2 => (0..4 * rng.random_range(0..11)).map(|_| rng.random()).collect(),
        _ => vec![],
    };
    if rng.random_range(0..6) == 0 {
        packet.flags = rng.random();
    }
    if rng.random_range(0..10) == 0 {
        packet.window = rng.random_range(0..2 * world.flow.heartbeat.response_bytes() as u16);
    }
    if rng.random_range(0..10) == 0 {
        packet.padding = rng.random_range(0..20);
    }
    if rng.random_range(0..10) == 0 {
        let extension: Vec<u8> = (0..8).map(|_| rng.random()).collect();
        packet.extensions = vec![([0, 43, 44, 60][rng.random_range(0..4)], extension)];
        packet.ip_options = vec![rng.random(), 4, 0, 0];
    }
    let mut bytes = packet.build();
    if rng.random_range(0..3) == 0 {
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(12..bytes.len());
            bytes[at] = rng.random();
        }
    }
    if rng.random_range(0..12) == 0 {
        bytes.truncate(rng.random_range(60..=bytes.len().max(60)));
    }
    (packet.way, bytes)
}

/// What the client may have meant, by the rules' text alone.
fn ingress_fault(
    world: &World,
    heartbeats: &Heartbeats,
    packet: &[u8],
    outcome: &Outcome,
) -> Option<&'static str> {
    let read = read(packet);
    match outcome.verdict {
        Verdict::Redirect => {
            let Some(read) = read else { return Some("what is no TCP segment was accepted") };
            let room = world.flow.heartbeat.response_bytes();
            if !is_sound(&read) || u32::from(read.window) < room {
                return Some("a segment that TCP might not take was accepted");
            }
            if is_old(world, &read) {
                return Some("a segment of old was accepted");
            }
            let next = read.seq == world.client_nxt();
            let is_ping = read.payload == heartbeats.request
                && read.flags & !flags::PSH == flags::ACK
                && next
                && read.ack == world.server_nxt()
                && now_secs().wrapping_sub(world.flow.stack_secs) < 90_000
                && timestamps_at_most(&read.options)
                && (timestamp(&read).is_some() || !world.flow.has(bits::CLIENT_TS_KNOWN));
            let misses = read.payload.is_empty()
                && read.flags & !(flags::ECE | flags::CWR) == flags::ACK
                && world.flow.has(bits::PENDING)
                && read.ack == world.flow.resp_pos;
            (!is_ping && !misses).then_some("neither a ping to answer nor an ACK that misses one")
        }
        Verdict::Drop => {
            // Absorbed or refused. What the stack must hear goes on, before the first answer.
            (world.flow.n == 0).then_some("dropped before the first answer")
        }
        Verdict::Next => {
            let passes_as_old = read.as_ref().is_some_and(|read| {
                let for_this_host = packet[..6] == [0; 6];
                let counts = read.from_client && for_this_host && read.sums_right;
                let exempt = read.flags & (flags::SYN | flags::RST) != 0;
                world.flow.n > 0 && counts && !exempt && is_old(world, read)
            });
            if passes_as_old {
                return Some("a segment of old passed after an answer");
            }
            untranslated(world, read.as_ref(), packet, outcome)
        }
    }
}

fn egress_fault(world: &World, packet: &[u8], outcome: &Outcome) -> Option<&'static str> {
    match outcome.verdict {
        Verdict::Redirect => Some("a segment of the server was turned around"),
        Verdict::Drop if world.flow.n == 0 => Some("dropped before the first answer"),
        Verdict::Drop => None,
        Verdict::Next => {
            let read = read(packet).filter(|read| {
                // The reset of a refused connection has no number of the old one.
                read.flags & (flags::RST | flags::ACK) != flags::RST | flags::ACK || read.seq != 0
            });
            untranslated(world, read.as_ref(), packet, outcome)
        }
    }
}

/// With answered pings, whatever is of the connection must have been shifted; a SYN is not of it.
fn untranslated(
    world: &World,
    read: Option<&Read>,
    packet: &[u8],
    outcome: &Outcome,
) -> Option<&'static str> {
    let for_this_host = packet[..6] == [0; 6];
    let read = read?;
    let of_the_flow = read.from_server || (read.from_client && for_this_host);
    let followed = of_the_flow && read.sums_right && read.flags & flags::SYN == 0;
    (world.flow.n > 0 && followed && outcome.packet == packet)
        .then_some("a segment of the connection passed untranslated")
}

/// Older than what was taken before it (RFC 7323, section 5.3).
fn is_old(world: &World, read: &Read) -> bool {
    let age_secs = now_secs() - world.flow.client_ts_secs;
    let comparable = world.flow.has(bits::CLIENT_TS_KNOWN) && age_secs < 2_000;
    let older = |ts_val: u32| world.flow.client_ts.wrapping_sub(ts_val) as i32 > 0;
    comparable && timestamp(read).is_some_and(older)
}

fn timestamp(read: &Read) -> Option<u32> {
    TcpOptionsIterator::from_slice(&read.options).find_map(|option| match option {
        Ok(TcpOptionElement::Timestamp(value, _)) => Some(value),
        _ => None,
    })
}

fn now_secs() -> u32 {
    (now_ns() / 1_000_000_000) as u32
}

/// Nothing about it that TCP, or the way to it, might refuse or read differently.
fn is_sound(read: &Read) -> bool {
    read.from_client && read.sums_right && read.ip_plain
}

fn timestamps_at_most(options: &[u8]) -> bool {
    let mut rest = options;
    loop {
        match rest {
            [] | [0, ..] => return true,
            [1, rest_of @ ..] => rest = rest_of,
            [8, 10, rest_of @ ..] if rest_of.len() >= 8 => rest = &rest_of[8..],
            _ => return false,
        }
    }
}
