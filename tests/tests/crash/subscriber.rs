//! A subscriber as the protocol wants it: it acknowledges what it takes, and remembers the packet
//! ids of QoS 2 messages from PUBLISH to PUBREL, across connections. Some of them stay away for a
//! while, some change their subscriptions, some acknowledge late.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use push_tests::wire::{self, PUBACK, PUBCOMP, PUBREC, PUBREL, Packet, Publish, Version};
use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::link::{self, Link, Lost};
use crate::world::{Era, Phase, World};
use push_tests::ledger::Delivery;
use push_tests::ledger::message;

/// How long packets are waited for at a time.
const TURN: Duration = Duration::from_millis(10);

/// How long a turn may go on without a look at what else there is to do.
const TURN_MAX: Duration = Duration::from_millis(30);

/// Acknowledgements that a late subscriber keeps back at most.
const LATE_BYTES_MAX: usize = 60;

/// A turn ends the connection for no reason with this probability.
const LEAVE: f64 = 0.002;

/// A turn begins a change of a subscription with this probability, where they change.
const CHANGE: f64 = 0.05;

/// A refused connection is tried again so much later.
const RETRY: Duration = Duration::from_millis(10);

/// How a subscriber behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscriber {
    pub(crate) name: &'static str,
    pub(crate) version: Version,
    /// What it subscribes to at first.
    pub(crate) filters: &'static [(&'static str, u8)],
    /// What it subscribes to and unsubscribes from later, at any QoS.
    pub(crate) changes: &'static [&'static str],
    /// Whether it stays away for a while now and then.
    pub(crate) stays_away: bool,
    /// Whether it acknowledges late.
    pub(crate) is_late: bool,
}

/// Its state, which outlives its connections as the server's does.
struct State<'a> {
    world: &'a World,
    who: Subscriber,
    index: usize,
    rng: StdRng,
    /// What is to be asked for; the first one is asked for already, when `asked_as` is there.
    changes: VecDeque<Change>,
    asked_as: Option<u16>,
    packet_id: u16,
    subscribed: HashSet<&'static str>,
    unreleased: HashSet<u16>,
    rested: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Subscribe(&'static str, u8),
    Unsubscribe(&'static str),
}

/// Subscribes until the end.
pub(crate) fn run(world: &World, who: Subscriber, index: usize, client: u64) {
    let first = who.filters.iter().map(|(filter, qos)| Change::Subscribe(filter, *qos));
    let mut state = State {
        world,
        who,
        index,
        rng: world.chance(client),
        changes: first.collect(),
        asked_as: None,
        packet_id: 0,
        subscribed: HashSet::new(),
        unreleased: HashSet::new(),
        rested: false,
    };
    // In 3.1.1 a clean session would end with its connection.
    let mut clean = who.version == Version::V5;
    while world.phase() != Phase::Stop {
        state.stay_away();
        let Some((target, era)) = world.server() else { continue };
        match Link::open(&target, who.version, who.name, clean) {
            Ok(link) => {
                state.begin(&link, clean, era.life);
                clean = false;
                if state.serve(link, era) == Err(Lost) {
                    world.lost(who.name, era);
                }
                state.asked_as = None;
            }
            Err(Lost) => std::thread::sleep(RETRY),
        }
    }
}

impl State<'_> {
    /// Now and then, but not while everything is to come to an end.
    fn stay_away(&mut self) {
        if !self.who.stays_away || self.subscribed.is_empty() || self.rng.random_bool(0.5) {
            return;
        }
        self.world.rest(false, &mut self.rested);
        let until = Instant::now() + Duration::from_millis(self.rng.random_range(100..2_000));
        while Instant::now() < until && self.world.phase() == Phase::Load {
            std::thread::sleep(TURN);
        }
    }

    fn begin(&mut self, link: &Link, clean: bool, life: u32) {
        let present = link.connack.session_present;
        let mut ledger = self.world.ledger();
        ledger.connected(self.who.name, clean, present);
        ledger.begin_connection(self.index, life);
        if !present {
            if !clean {
                ledger.session_lost(self.index);
            }
            self.unreleased.clear();
            for filter in self.subscribed.drain() {
                self.changes.push_front(Change::Subscribe(filter, 2));
            }
        }
    }

    fn serve(&mut self, mut link: Link, era: Era) -> Result<(), Lost> {
        let leave = if self.who.stays_away { LEAVE * 10.0 } else { LEAVE };
        while self.world.is_in(era) {
            let phase = self.world.phase();
            let rests = self.changes.is_empty() && self.unreleased.is_empty();
            self.world.rest(phase == Phase::Drain && rests, &mut self.rested);
            match phase {
                Phase::Stop => return Ok(()),
                Phase::Load if self.rng.random_bool(leave) => return self.leave(link),
                Phase::Load => self.choose_change(),
                Phase::Drain => {}
            }
            self.ask(&mut link);
            link.flush()?;
            self.listen(&mut link, phase)?;
        }
        Err(Lost)
    }

    fn listen(&mut self, link: &mut Link, phase: Phase) -> Result<(), Lost> {
        let until = Instant::now() + TURN_MAX;
        let late_bytes_max = match (self.who.is_late, phase) {
            (true, Phase::Load) => self.rng.random_range(0..LATE_BYTES_MAX),
            _ => 0,
        };
        while let Some(packet) = link.receive(TURN)? {
            self.hear(link, packet);
            if link.unsent() > late_bytes_max {
                link.flush()?;
            }
            if Instant::now() > until {
                break;
            }
        }
        Ok(())
    }

    /// With a goodbye or without.
    fn leave(&mut self, mut link: Link) -> Result<(), Lost> {
        if self.rng.random_bool(0.5) {
            link.say(&wire::disconnect());
        }
        link.flush()
    }

    fn choose_change(&mut self) {
        let pool = self.who.changes;
        if pool.is_empty() || !self.changes.is_empty() || !self.rng.random_bool(CHANGE) {
            return;
        }
        let filter = pool[self.rng.random_range(0..pool.len())];
        let is_there = self.subscribed.contains(filter);
        self.changes.push_back(if is_there && self.rng.random_bool(0.7) {
            Change::Unsubscribe(filter)
        } else {
            Change::Subscribe(filter, self.rng.random_range(0..3))
        });
    }

    /// Asks for the next change, one at a time; on a new connection for the same again.
    fn ask(&mut self, link: &mut Link) {
        if self.asked_as.is_some() {
            return;
        }
        let Some(change) = self.changes.front() else { return };
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        self.asked_as = Some(self.packet_id);
        let mut ledger = self.world.ledger();
        match *change {
            Change::Subscribe(filter, qos) => {
                ledger.subscribing(self.index, filter, qos);
                link.say(&wire::subscribe(self.who.version, self.packet_id, &[(filter, qos)]));
            }
            Change::Unsubscribe(filter) => {
                ledger.unsubscribing(self.index, filter);
                link.say(&wire::unsubscribe(self.who.version, self.packet_id, &[filter]));
            }
        }
    }

    fn hear(&mut self, link: &mut Link, packet: Packet) {
        match packet {
            Packet::Publish(publish) => self.take(link, &publish),
            Packet::Ack { kind: PUBREL, packet_id, .. } => {
                self.unreleased.remove(&packet_id);
                self.world.ledger().released(self.index, packet_id);
                link.say(&wire::ack(PUBCOMP, packet_id));
            }
            Packet::Suback { packet_id, codes } if Some(packet_id) == self.asked_as => {
                let Some(Change::Subscribe(filter, _)) = self.answered() else {
                    return self.fault("SUBACK for an UNSUBSCRIBE");
                };
                match codes.as_slice() {
                    [granted @ 0..=2] => {
                        self.world.ledger().subscribed(self.index, filter, *granted);
                        self.subscribed.insert(filter);
                    }
                    _ => self.fault(&format!("SUBACK for {filter} says {codes:02x?}")),
                }
            }
            Packet::Unsuback { packet_id, codes } if Some(packet_id) == self.asked_as => {
                let Some(Change::Unsubscribe(filter)) = self.answered() else {
                    return self.fault("UNSUBACK for a SUBSCRIBE");
                };
                // 0x11, no subscription existed: the first UNSUBSCRIBE was done and its answer lost.
                if codes.iter().any(|code| *code != 0 && *code != 0x11) {
                    self.fault(&format!("UNSUBACK for {filter} says {codes:02x?}"));
                }
                self.world.ledger().unsubscribed(self.index, filter);
                self.subscribed.remove(filter);
            }
            Packet::Disconnect { reason: link::SHUTTING_DOWN, .. } => {}
            other => self.fault(&format!("what is {other:?}?")),
        }
    }

    fn answered(&mut self) -> Option<Change> {
        self.asked_as = None;
        self.changes.pop_front()
    }

    fn take(&mut self, link: &mut Link, publish: &Publish) {
        let id = match &*publish.payload {
            [] => None,
            payload => match message::read(payload) {
                Ok(id) => Some(id),
                Err(text) => return self.fault(&format!("{text} ({publish:?})")),
            },
        };
        let Publish { qos, retain, dup, packet_id, .. } = *publish;
        let delivery = Delivery { id, topic: &publish.topic, qos, retain, dup, packet_id };
        let mut ledger = self.world.ledger();
        if qos == 2 && !self.unreleased.insert(packet_id) {
            ledger.repeated(self.index, &delivery);
        } else {
            ledger.delivered(self.index, &delivery);
        }
        match qos {
            0 => {}
            1 => link.say(&wire::ack(PUBACK, packet_id)),
            _ => link.say(&wire::ack(PUBREC, packet_id)),
        }
    }

    fn fault(&self, text: &str) {
        self.world.ledger().fault(format_args!("{}: {text}", self.who.name));
    }
}
