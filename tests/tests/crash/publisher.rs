//! A publisher as the protocol wants it: what is not acknowledged is kept, and sent again on the
//! next connection with the same packet id, as PUBLISH with DUP, or as PUBREL once PUBREC came.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use push_tests::wire::{Packet, Version, property};
use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::link::{self, Link, Lost};
use crate::world::{Era, Phase, World};
use push_tests::ledger::message::{self, MessageId};
use push_tests::ledger::{Flows, Publication};

/// Messages a second, at most.
const RATE: f64 = 500.0;

/// Messages that a pause may have saved up.
const BURST: f64 = 40.0;

/// Messages unacknowledged, unless the server wants fewer.
const WINDOW: u16 = 48;

/// Packet ids are used in turn up to here, so that each is used again soon.
const PACKET_ID_MAX: u16 = 90;

/// How long acknowledgements are waited for before more is sent.
const TURN: Duration = Duration::from_millis(4);

/// A turn ends the connection for no reason with this probability.
const LEAVE: f64 = 0.001;

/// A refused connection is tried again so much later.
const RETRY: Duration = Duration::from_millis(10);

/// Topics of the live messages.
pub(crate) const BRANCHES: [&str; 4] = ["0", "1", "2", "3"];
/// Their last levels.
pub(crate) const LEAVES: [&str; 3] = ["a", "b", "c"];
/// Retained topics of a publisher.
const RETAINED: u32 = 6;

/// Who publishes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publisher {
    pub(crate) name: &'static str,
    pub(crate) version: Version,
    /// How often in ten QoS 0, 1 and 2 are chosen.
    pub(crate) weights: [u32; 3],
}

/// A publisher's state, which outlives its connections as the server's does.
struct State<'a> {
    world: &'a World,
    who: Publisher,
    index: u32,
    rng: StdRng,
    flows: Flows,
    next_number: u32,
    tokens: f64,
    refilled: Instant,
    rested: bool,
}

/// Publishes until the end.
pub(crate) fn run(world: &World, who: Publisher, index: u32) {
    let mut state = State {
        world,
        who,
        index,
        rng: world.chance(u64::from(index)),
        flows: Flows::new(who.version, PACKET_ID_MAX),
        next_number: 0,
        tokens: 0.0,
        refilled: Instant::now(),
        rested: false,
    };
    // In 3.1.1 a clean session would end with its connection.
    let mut clean = who.version == Version::V5;
    while world.phase() != Phase::Stop {
        let Some((target, era)) = world.server() else { continue };
        match Link::open(&target, who.version, who.name, clean) {
            Ok(link) => {
                world.ledger().connected(who.name, clean, link.connack.session_present);
                clean = false;
                if state.serve(link, era) == Err(Lost) {
                    world.lost(who.name, era);
                }
            }
            Err(Lost) => std::thread::sleep(RETRY),
        }
    }
}

impl State<'_> {
    fn serve(&mut self, mut link: Link, era: Era) -> Result<(), Lost> {
        let receive_max = link.connack.properties.number(property::RECEIVE_MAXIMUM);
        let window = receive_max.map_or(WINDOW, |max| WINDOW.min(max as u16));
        self.resume(&mut link)?;
        while self.world.is_in(era) {
            let phase = self.world.phase();
            self.world.rest(phase == Phase::Drain && self.flows.is_empty(), &mut self.rested);
            match phase {
                Phase::Stop => return Ok(()),
                Phase::Load if self.rng.random_bool(LEAVE) => return Ok(()),
                Phase::Load => self.publish(&mut link, window)?,
                Phase::Drain => {}
            }
            let mut within = TURN;
            while let Some(packet) = link.receive(within)? {
                self.hear(&mut link, &packet);
                within = Duration::from_millis(1);
                if link.unsent() > 0 && self.rng.random_bool(0.5) {
                    break;
                }
            }
            link.flush()?;
        }
        Err(Lost)
    }

    /// [MQTT-4.4.0-1]; without a session everything is new to the server.
    fn resume(&mut self, link: &mut Link) -> Result<(), Lost> {
        let present = link.connack.session_present;
        let say = |packet: &[u8]| link.say(packet);
        let releases = self.flows.resume(&mut self.world.ledger(), present, say);
        self.world.releases_resent.fetch_add(releases, Ordering::Relaxed);
        link.flush()
    }

    fn publish(&mut self, link: &mut Link, window: u16) -> Result<(), Lost> {
        let elapsed = std::mem::replace(&mut self.refilled, Instant::now()).elapsed();
        self.tokens = (self.tokens + elapsed.as_secs_f64() * RATE).min(BURST);
        while self.tokens >= 1.0 && self.flows.len() < usize::from(window) {
            self.tokens -= 1.0;
            let id = MessageId { publisher: self.index, number: self.next_number };
            self.next_number += 1;
            let what = self.choose();
            let payload = if what.empty { Vec::new() } else { message::make(&mut self.rng, id) };
            link.say(&self.flows.publish(&mut self.world.ledger(), id, what, payload));
        }
        link.flush()
    }

    fn choose(&mut self) -> Publication {
        let weights = self.who.weights;
        let mut dice = self.rng.random_range(0..weights.iter().sum());
        let mut qos = 0;
        while dice >= weights[usize::from(qos)] {
            dice -= weights[usize::from(qos)];
            qos += 1;
        }
        // What is retained at QoS 0 is promised to nobody.
        let retain = qos > 0 && self.rng.random_bool(0.15);
        let topic: Arc<str> = if retain {
            format!("r/{}/{}", self.index, self.rng.random_range(0..RETAINED)).into()
        } else {
            let branch = BRANCHES[self.rng.random_range(0..BRANCHES.len())];
            let leaf = LEAVES[self.rng.random_range(0..LEAVES.len())];
            format!("t/{branch}/{leaf}").into()
        };
        Publication {
            topic,
            qos,
            retain,
            empty: retain && self.rng.random_bool(0.1),
            expiry_secs: None,
        }
    }

    fn hear(&mut self, link: &mut Link, packet: &Packet) {
        let name = self.who.name;
        let (kind, packet_id, reason) = match packet {
            Packet::Ack { kind, packet_id, reason } => (*kind, *packet_id, *reason),
            Packet::Disconnect { reason: link::SHUTTING_DOWN, .. } => return,
            other => return self.world.ledger().fault(format_args!("{name}: what is {other:?}?")),
        };
        let reply =
            self.flows.acknowledged(&mut self.world.ledger(), name, (kind, packet_id, reason));
        if let Some(reply) = reply {
            link.say(&reply);
        }
    }
}
