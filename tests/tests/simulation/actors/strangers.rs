//! Clients that ask to be authenticated, and whoever says who they are: it answers late, with another step, twice, or
//! not at all, and at times after the client has gone. Nobody is accepted whose last question got no yes.

use std::net::SocketAddr;

use push_server::access::{Denial, Identity, Verdict};
use push_server::shard::simulation::{Question, World};
use push_tests::ledger::Ledger;
use push_tests::wire::{self, Packet, Properties, Value, Version, property};
use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::link::Link;
use crate::trace::trace;

const METHOD: &str = "SCRAM-SHA-256";

/// AUTH: the exchange goes on.
const CONTINUE: u8 = 0x18;

/// Client ids that they share: of two that have the same one, the later takes over.
const NAMES: u32 = 2;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 4;

/// All of them, and what is asked about them.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    connections: Vec<Connection>,
    /// Questions that may be answered, also those that wait for no answer any more.
    questions: Vec<Asked>,
    tally: Tally,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    /// Further steps of an exchange.
    pub(crate) steps: u64,
    /// Answers that nobody waited for.
    pub(crate) in_vain: u64,
}

#[derive(Debug)]
struct Connection {
    name: u32,
    link: Link,
    /// Questions so far.
    asked: u32,
    /// The last question was answered, by yes.
    is_allowed: bool,
    pings: u32,
}

#[derive(Debug)]
struct Asked {
    question: Question,
    from: Option<SocketAddr>,
    /// Which one of its connection's it is.
    number: u32,
}

impl Strangers {
    pub(crate) fn act(&mut self, world: &mut World, shards: u16, rng: &mut SmallRng) {
        match rng.random_range(0..10) {
            0..3 if self.connections.len() < CONNECTIONS_MAX => self.connect(world, shards, rng),
            3 if !self.connections.is_empty() => {
                let at = rng.random_range(0..self.connections.len());
                let connection = self.connections.swap_remove(at);
                if rng.random_bool(0.5) {
                    connection.link.peer.end();
                } else {
                    connection.link.peer.reset();
                }
            }
            4 => self.connections.iter_mut().for_each(Connection::ping),
            _ => self.answer_one(rng),
        }
    }

    fn connect(&mut self, world: &mut World, shards: u16, rng: &mut SmallRng) {
        let name = rng.random_range(0..NAMES);
        let properties = Properties(vec![method()]);
        let id = format!("stranger-{name}");
        let connect = wire::connect(Version::V5, &id, 0, true, None, &properties);
        let mut link = Link::open(world, shards, Version::V5, connect, rng);
        link.flush();
        trace(|| format!("{id} connects from {}", link.peer.address()));
        let connection = Connection { name, link, asked: 0, is_allowed: false, pings: 0 };
        self.connections.push(connection);
    }

    fn answer_one(&mut self, rng: &mut SmallRng) {
        if self.questions.is_empty() {
            return;
        }
        let at = rng.random_range(0..self.questions.len());
        match rng.random_range(0..10) {
            0..5 => {
                let asked = self.questions.swap_remove(at);
                self.note(&asked, true);
                asked.question.answer(yes());
            }
            5 => {
                let asked = self.questions.swap_remove(at);
                self.note(&asked, false);
                asked.question.answer(Verdict::Refused(Denial::WrongPassword));
            }
            // Dropped.
            6 => drop(self.questions.swap_remove(at)),
            // Not the last answer to this question.
            dice => {
                let is_yes = dice == 7;
                let verdict = if is_yes { yes() } else { one_more_step() };
                self.tally.steps += u64::from(!is_yes);
                let asked = &self.questions[at];
                asked.question.answer_first(verdict);
                let (from, number) = (asked.from, asked.number);
                self.note_answer(from, number, is_yes);
            }
        }
    }

    fn note(&mut self, asked: &Asked, is_yes: bool) {
        self.note_answer(asked.from, asked.number, is_yes);
    }

    fn note_answer(&mut self, from: Option<SocketAddr>, number: u32, is_yes: bool) {
        let mut waiting = self.connections.iter_mut().filter(|one| !one.link.is_accepted);
        let is_it =
            |one: &&mut Connection| Some(one.link.peer.address()) == from && one.asked == number;
        match waiting.find(is_it) {
            Some(connection) => connection.is_allowed |= is_yes,
            None => self.tally.in_vain += 1,
        }
    }

    /// Hears what has been asked, and what the server has sent.
    pub(crate) fn listen(&mut self, world: &World, ledger: &mut Ledger) {
        for question in world.answerer().take() {
            let from = question.credentials().peer;
            let mut connections = self.connections.iter_mut();
            let asks = connections.find(|one| Some(one.link.peer.address()) == from);
            let number = asks.map_or(0, |connection| {
                // An earlier yes was not to this question.
                connection.is_allowed = false;
                connection.asked += 1;
                connection.asked
            });
            self.questions.push(Asked { question, from, number });
        }
        let tally = &mut self.tally;
        self.connections.iter_mut().for_each(|connection| connection.listen(ledger, tally));
        self.connections.retain(|connection| {
            let is_over = connection.link.is_over();
            if is_over {
                connection.link.peer.end();
            }
            !is_over
        });
    }

    /// Everybody who waits for an answer gets a yes.
    pub(crate) fn answer_all(&mut self) {
        for asked in std::mem::take(&mut self.questions) {
            self.note(&asked, true);
            asked.question.answer(yes());
        }
    }

    /// Whether nobody waits.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.questions.is_empty() && self.connections.iter().all(|one| one.link.is_accepted)
    }

    /// All who are there have been accepted, and each client is there once.
    pub(crate) fn judge(&self, ledger: &mut Ledger) {
        if !self.is_at_rest() {
            ledger.fault("strangers: somebody who was answered still waits");
        }
        for name in 0..NAMES {
            let there = self.connections.iter().filter(|one| one.name == name).count();
            if there > 1 {
                ledger.fault(format_args!("stranger-{name}: it has {there} connections"));
            }
        }
    }

    /// Who answers has gone with the server, and so have the connections.
    pub(crate) fn server_ended(&mut self) {
        self.connections.clear();
        self.questions.clear();
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        self.connections.iter().map(|connection| &connection.link)
    }

    /// All of them go.
    pub(crate) fn leave(&mut self) {
        self.connections.drain(..).for_each(|connection| connection.link.peer.end());
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }
}

impl Connection {
    fn listen(&mut self, ledger: &mut Ledger, tally: &mut Tally) {
        let name = self.name;
        while let Some(packet) = self.link.receive() {
            trace(|| format!("stranger-{name} at {}: {packet:?}", self.link.peer.address()));
            match packet {
                Packet::Connack { code: 0, session_present, .. } if !self.link.is_accepted => {
                    self.link.is_accepted = true;
                    tally.accepted += 1;
                    if !self.is_allowed {
                        ledger.fault(format_args!("stranger-{name}: accepted without a yes"));
                    }
                    if session_present {
                        ledger
                            .fault(format_args!("stranger-{name}: a clean start found a session"));
                    }
                }
                Packet::Connack { code: 1.., .. } => tally.refused += 1,
                Packet::Auth { reason: CONTINUE, .. } => {
                    self.link.say(&wire::auth(CONTINUE, &Properties(vec![method()])));
                    self.link.flush();
                }
                Packet::Pingresp if self.pings > 0 => self.pings -= 1,
                Packet::Disconnect { .. } => {}
                other => ledger.fault(format_args!("stranger-{name}: what is {other:?}?")),
            }
        }
        if let Some(fault) = self.link.take_fault() {
            ledger.fault(format_args!("stranger-{name}: {fault}"));
        }
    }

    fn ping(&mut self) {
        if self.link.is_accepted {
            self.pings += 1;
            self.link.say(&wire::PINGREQ);
            self.link.flush();
        }
    }
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.steps += other.steps;
        self.in_vain += other.in_vain;
    }
}

fn method() -> (u8, Value) {
    (property::AUTHENTICATION_METHOD, Value::Text(METHOD.to_owned()))
}

fn yes() -> Verdict {
    Verdict::Allowed(Identity::of_user("ada".into()), None)
}

fn one_more_step() -> Verdict {
    Verdict::Continue(Default::default(), Some(b"prove it"[..].into()))
}
