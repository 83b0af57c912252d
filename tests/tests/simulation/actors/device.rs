//! A device with a will: it connects, pings, falls silent, vanishes, takes over from itself, says goodbye.
//! It knows what the specification makes of each of its wills and of its session, and from when on.

use std::time::Duration;

use push_common::clock::Monotonic;
use push_server::shard::simulation::{Peer, World};
use push_tests::ledger::Ledger;
use push_tests::ledger::message::{self, MessageId};
use push_tests::wire::{self, Packet, Properties, Value, Version, Will as WireWill, property};
use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::link::Link;
use crate::trace::trace;

/// The longest silence of a connection, and the longest delay of a will, together: after that nothing
/// is pending that depends on time, but sessions.
pub(crate) const PENDING_MAX: Duration = Duration::from_secs(45);

/// How long a start has wills wait.
const GRACE: Duration = Duration::from_secs(5);

/// How far a restart may shift what waits, for what is stored in milliseconds and converted more than once.
const ROUNDING: Duration = Duration::from_millis(4);

const KEEP_ALIVES_SECS: [u16; 3] = [5, 10, 20];
const EXPIRIES_SECS: [u32; 5] = [0, 0, 5, 30, 600];
const DELAYS_SECS: [u32; 4] = [0, 0, 2, 8];

/// Numbers of devices as publishers of wills, beyond those of publishers.
pub(crate) const FIRST_INDEX: u32 = 100;

/// A device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) name: String,
    index: u32,
    connection: Option<Connection>,
    session: Option<Standing>,
    /// Ended by the device; the server has not let go of them yet.
    leaving: Vec<Leaving>,
    /// Of every connection, in order.
    wills: Vec<Will>,
    /// Pings that the kernel has answered.
    kernel_pings: u64,
}

#[derive(Debug)]
struct Connection {
    link: Link,
    keep_alive_secs: u16,
    expiry_secs: u32,
    version: Version,
    is_clean: bool,
    connect_sent_at: Monotonic,
    last_sent_at: Monotonic,
    pings: u32,
    /// The will of the connection that this one takes over from, and when it may be due: where the server reads this
    /// CONNECT late, it may have ended that one for its silence before.
    takes_over: Option<(usize, Monotonic)>,
}

/// What is known of the session while no connection uses it.
#[derive(Clone, Copy, Debug)]
struct Standing {
    expiry_secs: u32,
    /// Its connection ended no earlier.
    ended_from: Monotonic,
    /// Nor later than this; `None`: not known yet.
    ended_by: Option<Monotonic>,
    /// Whether it must be there until it has expired.
    is_sure: bool,
    /// Whether the disk knows when its connection ended.
    is_written: bool,
    /// The disk has failed since its CONNECT: the record there may be that of the connection before, whose session was
    /// to last longer.
    is_doubtful: bool,
}

#[derive(Debug)]
struct Leaving {
    peer: Peer,
    /// The will that a DISCONNECT took back.
    taken_back: Option<usize>,
    /// Whether the session's standing waits for this.
    is_last: bool,
}

#[derive(Debug)]
struct Will {
    qos: u8,
    delay_secs: u32,
    expiry_secs: u32,
    verdict: Verdict,
    /// It must not come earlier.
    not_before: Monotonic,
    seen: u32,
    /// The verdict is not on disk yet.
    is_unwritten: bool,
    /// It waits for its delay without a session, which a crash has ended: who is back takes it back.
    is_stray: bool,
    /// A start has it wait until then, whatever its delay: who is back by then takes it back.
    waits_until: Monotonic,
    /// The disk has failed meanwhile: what becomes of it is not sure.
    is_doubtful: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Its connection is there, as far as the device knows.
    Connected,
    Must,
    MustNot,
    May,
}

impl Device {
    pub(crate) fn new(number: u32) -> Self {
        Self {
            name: format!("device-{number}"),
            index: FIRST_INDEX + number,
            connection: None,
            session: None,
            leaving: Vec::new(),
            wills: Vec::new(),
            kernel_pings: 0,
        }
    }

    /// Whether it has sent CONNECT, and waits for CONNACK.
    pub(crate) fn waits(&self) -> bool {
        self.link().is_some_and(|link| !link.is_accepted)
    }

    pub(crate) fn link(&self) -> Option<&Link> {
        self.connection.as_ref().map(|connection| &connection.link)
    }

    /// Connects, in place of a connection that is there.
    pub(crate) fn connect(&mut self, world: &mut World, shards: u16, rng: &mut SmallRng) {
        if self.connection.as_ref().is_some_and(|connection| !connection.link.is_accepted) {
            return;
        }
        let now = world.now();
        let takes_over = self.connection.take().map(|before| {
            let will = self.wills.len() - 1;
            let due_from = after_secs(before.silent_until(), self.wills[will].delay_secs);
            self.wills[will].verdict = Verdict::May;
            self.wills[will].not_before = now;
            self.session = Some(Standing {
                expiry_secs: before.expiry_secs,
                ended_from: now,
                ended_by: None,
                is_sure: !self.wills[will].is_doubtful,
                is_written: false,
                is_doubtful: self.wills[will].is_doubtful,
            });
            // What it has still to hear it does not hear.
            let peer = before.link.peer;
            self.leaving.push(Leaving { peer, taken_back: None, is_last: false });
            (will, due_from)
        });
        for leaving in &mut self.leaving {
            // The server may read this CONNECT first, and end that connection without having read its goodbye.
            leaving.taken_back = None;
        }
        let keep_alive_secs = KEEP_ALIVES_SECS[rng.random_range(0..KEEP_ALIVES_SECS.len())];
        let is_clean = rng.random_bool(0.3);
        let (version, expiry_secs, delay_secs) = match rng.random_bool(0.75) {
            true => {
                let expiry_secs = EXPIRIES_SECS[rng.random_range(0..EXPIRIES_SECS.len())];
                (Version::V5, expiry_secs, DELAYS_SECS[rng.random_range(0..DELAYS_SECS.len())])
            }
            // Clean, the session ends with its connection; else never [MQTT-3.1.2-6].
            false => (Version::V311, if is_clean { 0 } else { u32::MAX }, 0),
        };
        if is_clean {
            // The session ends by it, and with that the delay of its will.
            for will in self.wills.iter_mut().filter(|will| will.seen == 0) {
                will.not_before = will.not_before.min(now);
            }
        }
        let number = self.wills.len() as u32;
        let qos = rng.random_range(1..=2);
        let will = WireWill {
            topic: format!("w/{}", self.index),
            payload: message::make(rng, MessageId { publisher: self.index, number }),
            qos,
            retain: false,
            properties: Properties(vec![(
                property::WILL_DELAY_INTERVAL,
                Value::Number(delay_secs),
            )]),
        };
        let expiry = (property::SESSION_EXPIRY_INTERVAL, Value::Number(expiry_secs));
        let properties = Properties(vec![expiry]);
        let connect =
            wire::connect(version, &self.name, keep_alive_secs, is_clean, Some(&will), &properties);
        trace(|| format!("{} connects, clean {is_clean}, expiry {expiry_secs} s", self.name));
        let mut link = Link::open(world, shards, version, connect, rng);
        link.flush();
        self.wills.push(Will {
            qos,
            delay_secs,
            expiry_secs,
            verdict: Verdict::Connected,
            not_before: now,
            seen: 0,
            is_unwritten: false,
            is_stray: false,
            waits_until: Monotonic(0),
            is_doubtful: false,
        });
        self.connection = Some(Connection {
            link,
            keep_alive_secs,
            expiry_secs,
            version,
            is_clean,
            connect_sent_at: now,
            last_sent_at: now,
            pings: 0,
            takes_over,
        });
    }

    /// Hears what the server has sent, and notices ends.
    pub(crate) fn listen(&mut self, now: Monotonic, ledger: &mut Ledger) {
        self.note_closed(now);
        while let Some(connection) = &mut self.connection
            && let Some(packet) = connection.link.receive()
        {
            trace(|| format!("{}: {packet:?}", self.name));
            match packet {
                Packet::Connack { session_present, code: 0, .. } => {
                    connection.link.is_accepted = true;
                    self.on_connack(session_present, now, ledger);
                }
                Packet::Pingresp if connection.pings > 0 => connection.pings -= 1,
                Packet::Connack { .. } | Packet::Disconnect { .. } => {}
                other => {
                    let name = &self.name;
                    ledger.fault(format_args!("{name}: what is {other:?}?"));
                }
            }
        }
        if let Some(fault) = self.connection.as_mut().and_then(|one| one.link.take_fault()) {
            ledger.fault(format_args!("{}: {fault}", self.name));
        }
        let Some(connection) = self.connection.take_if(|connection| connection.link.is_over())
        else {
            return;
        };
        connection.link.peer.end();
        if !connection.link.is_accepted {
            return self.ended_unaccepted(&connection);
        }
        let silent_until = connection.silent_until();
        if now < silent_until {
            let (name, early) = (&self.name, (silent_until - now).as_millis());
            ledger.fault(format_args!("{name}: the server ended its connection {early} ms early"));
        }
        self.ended(&connection, silent_until, Some(now));
    }

    fn on_connack(&mut self, is_present: bool, now: Monotonic, ledger: &mut Ledger) {
        let Some(connection) = &self.connection else { return };
        let (name, sent_at) = (&self.name, connection.connect_sent_at);
        if let Some(will) = self.wills.last_mut() {
            // Nothing is earlier than its own connection's end.
            will.not_before = connection.silent_until();
        }
        let before = self.session.take();
        match (connection.is_clean, is_present, before) {
            (true, true, _) => {
                ledger.fault(format_args!("{name}: session present = 1 after a clean start"));
            }
            (false, true, None) => {
                ledger.fault(format_args!("{name}: session present = 1 where none was"));
            }
            (false, true, Some(before)) => {
                let ends_by = before.ended_by.map(|by| after_secs(by, before.expiry_secs));
                if let Some(ends_by) = ends_by.filter(|ends_by| sent_at > *ends_by) {
                    let late = (sent_at - ends_by).as_millis();
                    ledger
                        .fault(format_args!("{name}: its session outlived its time by {late} ms"));
                }
            }
            (false, false, Some(before))
                if before.is_sure && now < after_secs(before.ended_from, before.expiry_secs) =>
            {
                ledger.fault(format_args!("{name}: its session is gone before its time"));
            }
            _ => {}
        }
        let (takes_over, is_resumed) = (connection.takes_over, is_present && !connection.is_clean);
        let current = self.wills.len() - 1;
        for (at, will) in self.wills[..current].iter_mut().enumerate() {
            if let Some((_, due_from)) = takes_over.filter(|(will, _)| *will == at) {
                let is_back = will.delay_secs > 0 && is_resumed;
                will.decide(match is_back {
                    true if now < due_from => Verdict::MustNot,
                    true => Verdict::May,
                    false => Verdict::Must,
                });
            } else if will.verdict == Verdict::Must && will.seen == 0 {
                if will.is_stray || sent_at < will.waits_until {
                    will.decide(Verdict::May);
                } else if is_resumed && will.delay_secs > 0 {
                    let in_time = now < will.not_before;
                    will.decide(if in_time { Verdict::MustNot } else { Verdict::May });
                } else {
                    // The session has ended by now, and with that its will's delay.
                    will.not_before = will.not_before.min(sent_at);
                }
            }
        }
    }

    /// Pings, so that the server or, in its place, the kernel answers.
    pub(crate) fn ping(&mut self, world: &mut World, rng: &mut SmallRng) {
        let now = world.now();
        let Some(connection) = &mut self.connection else { return };
        // Too late: the server may have ended the connection already.
        let is_time = now - connection.last_sent_at >= Duration::from_secs(1)
            && now < connection.silent_until();
        if !connection.link.is_accepted || !is_time || connection.link.is_over() {
            return;
        }
        let is_answered = rng.random_bool(0.5) && world.answer_ping(&connection.link.peer);
        self.kernel_pings += u64::from(is_answered);
        if !is_answered {
            connection.pings += 1;
            connection.link.say(&wire::PINGREQ);
            connection.link.flush();
        }
        connection.last_sent_at = now;
        let silent_until = connection.silent_until();
        if let Some(will) = self.wills.last_mut() {
            will.not_before = silent_until;
        }
    }

    /// Vanishes, by RST or FIN.
    pub(crate) fn vanish(&mut self, now: Monotonic, rng: &mut SmallRng) {
        let Some(connection) = self.connection.take() else { return };
        // A CONNECT that the server reads after the next one's would take over from that.
        if !connection.link.is_accepted || rng.random_bool(0.5) {
            connection.link.peer.reset();
        } else {
            connection.link.peer.end();
        }
        if !connection.link.is_accepted {
            return self.ended_unaccepted(&connection);
        }
        self.ended(&connection, now, None);
        let peer = connection.link.peer;
        self.leaving.push(Leaving { peer, taken_back: None, is_last: true });
    }

    /// Says goodbye: no will, or its will all the same.
    pub(crate) fn leave(&mut self, now: Monotonic, rng: &mut SmallRng) {
        if self.connection.as_ref().is_none_or(|connection| !connection.link.is_accepted) {
            return;
        }
        let Some(mut connection) = self.connection.take() else { return };
        let with_will = connection.version == Version::V5 && rng.random_bool(0.3);
        let reason = if with_will { 0x04 } else { 0x00 };
        match connection.version {
            Version::V5 => {
                connection.link.say(&wire::disconnect_with(reason, &Properties::default()));
            }
            _ => connection.link.say(&wire::disconnect()),
        }
        connection.link.flush();
        connection.link.peer.end();
        trace(|| format!("{} says goodbye: {reason:#04x}", self.name));
        self.ended(&connection, now, None);
        let will = self.wills.len() - 1;
        if !with_will {
            // Nobody knows yet whether the server reads it.
            self.wills[will].verdict = Verdict::May;
        }
        // A server that has waited long enough may end the connection before it reads the goodbye.
        let is_in_time = now < connection.silent_until();
        let peer = connection.link.peer;
        let taken_back = (!with_will && is_in_time).then_some(will);
        self.leaving.push(Leaving { peer, taken_back, is_last: true });
    }

    /// Its connection has ended, at the earliest then, and certainly by then. A server that had waited long enough may
    /// have ended it before, unheard.
    fn ended(&mut self, connection: &Connection, from: Monotonic, by: Option<Monotonic>) {
        let from = from.min(connection.silent_until());
        for leaving in &mut self.leaving {
            leaving.is_last = false;
        }
        let is_doubtful = self.wills.last().is_some_and(|will| will.is_doubtful);
        self.session = Some(Standing {
            expiry_secs: connection.expiry_secs,
            ended_from: from,
            ended_by: by,
            is_sure: !is_doubtful,
            is_written: false,
            is_doubtful,
        });
        if let Some(will) = self.wills.last_mut() {
            will.verdict = if will.is_doubtful { Verdict::May } else { Verdict::Must };
            will.not_before = after_secs(from, will.delay_secs.min(will.expiry_secs));
        }
    }

    /// It has ended, and nobody knows whether the server has taken it.
    fn ended_unaccepted(&mut self, connection: &Connection) {
        for will in &mut self.wills {
            if will.seen == 0 && will.verdict != Verdict::MustNot {
                will.verdict = Verdict::May;
                will.not_before = will.not_before.min(connection.connect_sent_at);
            }
        }
        for leaving in &mut self.leaving {
            (leaving.is_last, leaving.taken_back) = (false, None);
        }
        let before = self.session.map_or(0, |session| session.expiry_secs);
        let was_doubtful = self.session.is_some_and(|session| session.is_doubtful);
        self.session = Some(Standing {
            expiry_secs: connection.expiry_secs.max(before),
            ended_from: connection.connect_sent_at,
            ended_by: None,
            is_sure: false,
            is_written: false,
            is_doubtful: was_doubtful || self.wills.last().is_some_and(|will| will.is_doubtful),
        });
    }

    /// Notes which connections the server has let go of.
    fn note_closed(&mut self, now: Monotonic) {
        let (closed, leaving): (Vec<_>, Vec<_>) =
            self.leaving.drain(..).partition(|leaving| leaving.peer.is_closed());
        self.leaving = leaving;
        for Leaving { taken_back, is_last, .. } in closed {
            if let Some(will) = taken_back.map(|at| &mut self.wills[at]) {
                will.decide(Verdict::MustNot);
            }
            if let Some(session) = self.session.as_mut().filter(|_| is_last) {
                session.ended_by.get_or_insert(now);
            }
        }
    }

    /// All that the shards have to write is on disk.
    pub(crate) fn all_is_written(&mut self, now: Monotonic) {
        self.note_closed(now);
        self.wills.iter_mut().for_each(|will| will.is_unwritten = false);
        if let Some(session) = &mut self.session {
            session.is_written = session.ended_by.is_some();
        }
    }

    /// The server has ended, in order or not. What it knew and had not written it knows no more. `from`: when it began
    /// to end connections.
    pub(crate) fn server_ended(&mut self, from: Monotonic, now: Monotonic) {
        self.note_closed(now);
        if let Some(connection) = self.connection.take() {
            if connection.link.is_accepted {
                self.ended(&connection, from, Some(now));
            } else {
                self.ended_unaccepted(&connection);
            }
        }
        self.leaving.clear();
        for will in &mut self.wills {
            will.is_stray |= will.expiry_secs == 0 && will.delay_secs > 0;
            // A start has all of them wait a little, also those that are not delayed.
            will.waits_until = now.after(GRACE);
            if will.is_unwritten && will.verdict == Verdict::MustNot {
                will.verdict = Verdict::May;
            }
        }
        if let Some(session) = self.session.as_mut().filter(|session| !session.is_written) {
            session.ended_by = (!session.is_doubtful).then_some(now);
        }
        // The disk has times in milliseconds.
        for will in &mut self.wills {
            will.not_before =
                Monotonic(will.not_before.0.saturating_sub(ROUNDING.as_nanos() as u64));
        }
        if let Some(session) = &mut self.session {
            let from = session.ended_from.0.saturating_sub(ROUNDING.as_nanos() as u64);
            session.ended_from = Monotonic(from);
            session.ended_by = session.ended_by.map(|by| by.after(ROUNDING));
        }
    }

    /// The disk fails: nothing that is under way is sure any more.
    pub(crate) fn disk_failed(&mut self) {
        for will in &mut self.wills {
            will.is_doubtful = true;
            if will.verdict != Verdict::Connected && will.seen == 0 {
                will.verdict = Verdict::May;
            }
        }
        for leaving in &mut self.leaving {
            (leaving.is_last, leaving.taken_back) = (false, None);
        }
        if let Some(session) = &mut self.session {
            (session.is_sure, session.ended_by) = (false, None);
            (session.is_written, session.is_doubtful) = (false, true);
        }
    }

    /// The server has begun again, with a wall clock that is wrong: how long it was down nobody knows.
    pub(crate) fn clock_was_wrong(&mut self) {
        self.disk_failed();
        self.wills.iter_mut().for_each(|will| will.not_before = Monotonic(0));
    }

    /// A will came to a witness.
    pub(crate) fn will_came(&mut self, number: u32, now: Monotonic, ledger: &mut Ledger) {
        let name = &self.name;
        let Some(will) = self.wills.get_mut(number as usize) else {
            return ledger.fault(format_args!("{name}: will {number} is none of its"));
        };
        will.seen += 1;
        if will.qos == 2 && will.seen > 1 {
            return ledger.fault(format_args!("{name}: will {number} came {} times", will.seen));
        }
        if will.verdict == Verdict::MustNot {
            return ledger.fault(format_args!(
                "{name}: will {number} came though it was taken back, or its session resumed"
            ));
        }
        if now < will.not_before {
            let early = (will.not_before - now).as_millis();
            ledger.fault(format_args!("{name}: will {number} came {early} ms early: {will:?}"));
        }
    }

    /// So much time has passed that everything due has come.
    pub(crate) fn judge(&self, ledger: &mut Ledger) {
        let name = &self.name;
        for (number, will) in self.wills.iter().enumerate() {
            if will.verdict == Verdict::Must && will.seen == 0 {
                ledger.fault(format_args!("{name}: will {number} never came: {will:?}"));
            }
            if will.verdict == Verdict::MustNot && will.seen > 0 {
                ledger.fault(format_args!(
                    "{name}: will {number} came though it was taken back, or its session resumed: \
                     {will:?}"
                ));
            }
        }
        if self.connection.is_some() {
            ledger.fault(format_args!("{name}: it was silent for long, and is still connected"));
        }
    }

    pub(crate) fn wills_seen(&self) -> u64 {
        self.wills.iter().map(|will| u64::from(will.seen)).sum()
    }

    pub(crate) fn kernel_pings(&self) -> u64 {
        self.kernel_pings
    }

    /// Connections whose will must not have come, and has not.
    pub(crate) fn wills_kept(&self) -> u64 {
        self.wills.iter().filter(|will| will.verdict == Verdict::MustNot).count() as u64
    }
}

impl Will {
    fn decide(&mut self, verdict: Verdict) {
        self.verdict = if self.is_doubtful { Verdict::May } else { verdict };
        self.is_unwritten = true;
    }
}

impl Connection {
    /// Until then the server waits for a sign of life [MQTT-3.1.2-24].
    fn silent_until(&self) -> Monotonic {
        self.last_sent_at.after_millis(u64::from(self.keep_alive_secs) * 1_500)
    }
}

fn after_secs(at: Monotonic, secs: u32) -> Monotonic {
    at.after_millis(u64::from(secs) * 1_000)
}
