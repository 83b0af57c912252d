//! Somebody outside the shards who publishes through a door, and holds it to its replies: nothing that it calls
//! taken is lost, and it says once of each receiver that it has acknowledged, when it has and not before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use push_server::broker::{Fate, QoS};
use push_server::shard::door::{Door, Doors, Publication, Refusal, Reply};
use push_tests::ledger::message::{self, MessageId};
use push_tests::ledger::{self, Ledger};
use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::trace::trace;

/// Its number as a publisher.
const INDEX: u32 = 50;

/// What a PUBLISH has beside its payload, here.
const HEAD_BYTES_MAX: usize = 32;

/// Who subscribes at any QoS.
const CHANGING: &str = "changing-v311";

/// Topics that it has retained.
const RETAINED: u32 = 2;

/// What a client would be told where a door says that the store has failed.
const IMPLEMENTATION_SPECIFIC_ERROR: u8 = 0x83;

/// A caller.
#[derive(Debug)]
pub(crate) struct Caller {
    door: Door,
    next_number: u32,
    /// Whether a receiver may lose a message that was taken.
    may_drop: bool,
    packet_bytes_max: usize,
    /// What is not over yet, by the door's numbers.
    calls: BTreeMap<u64, Call>,
    is_closed: bool,
    tally: Tally,
}

/// What came of its calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) taken: u64,
    pub(crate) refused: u64,
    pub(crate) confirmed: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.taken += other.taken;
        self.refused += other.refused;
        self.confirmed += other.confirmed;
    }
}

#[derive(Debug)]
struct Call {
    id: MessageId,
    qos: u8,
    /// Perhaps too large for one receiver.
    is_large: bool,
    outcome: Option<Outcome>,
    /// Replies of receivers.
    replies: u32,
    confirmed_by: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Taken { followed: u32 },
    Refused,
}

impl Caller {
    /// `may_drop`: the disk may fail, and then a receiver may lose what was taken.
    /// `packet_bytes_max`: what one receiver takes.
    pub(crate) fn new(doors: &Arc<Doors>, may_drop: bool, packet_bytes_max: u32) -> Self {
        Self {
            door: doors.open().expect("nobody else has one"),
            next_number: 0,
            may_drop,
            packet_bytes_max: packet_bytes_max as usize,
            calls: BTreeMap::new(),
            is_closed: false,
            tally: Tally::default(),
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Publishes a few messages.
    pub(crate) fn call(&mut self, ledger: &mut Ledger, rng: &mut SmallRng) {
        for _ in 0..rng.random_range(1..6) {
            let id = MessageId { publisher: INDEX, number: self.next_number };
            let qos = [0, 1, 1, 2, 2][rng.random_range(0..5)];
            // What is retained at QoS 0 is promised to nobody.
            let retain = qos > 0 && rng.random_bool(0.1);
            let topic = match retain {
                true => format!("r/{INDEX}/{}", rng.random_range(0..RETAINED)),
                false => {
                    let leaf = ["a", "b", "c"][rng.random_range(0..3)];
                    format!("t/{}/{leaf}", rng.random_range(0..3))
                }
            };
            let payload = message::make(rng, id);
            let payload_bytes = payload.len();
            let is_large = payload_bytes + HEAD_BYTES_MAX > self.packet_bytes_max;
            let publication = Publication {
                retain,
                is_followed: rng.random_bool(0.8),
                ..Publication::new(topic.as_str(), payload, of_level(qos))
            };
            let what = ledger::Publication {
                topic: topic.into(),
                qos,
                retain,
                empty: false,
                expiry_secs: None,
            };
            match self.door.publish(publication) {
                Ok(number) => {
                    trace(|| format!("caller: {number} is {id:?}, {what:?}"));
                    // No shard has turned since.
                    ledger.publishing(id, &what);
                    ledger.has_payload(id, payload_bytes);
                    self.next_number += 1;
                    let (outcome, replies, confirmed_by) = Default::default();
                    let call = Call { id, qos, is_large, outcome, replies, confirmed_by };
                    if self.calls.insert(number, call).is_some() {
                        ledger.fault(format_args!("caller: {number} is given again"));
                    }
                }
                Err(Refusal::Full) => self.tally.refused += 1,
                Err(why) => ledger.fault(format_args!("caller: its call is refused: {why}")),
            }
        }
    }

    /// Takes all replies, each of which `heard` is told.
    pub(crate) fn hear(&mut self, ledger: &mut Ledger, mut heard: impl FnMut(&Reply)) {
        while let Some(reply) = self.door.take() {
            trace(|| format!("caller: {reply:?}"));
            heard(&reply);
            if self.is_closed {
                ledger.fault(format_args!("caller: {reply:?} behind the last reply"));
            }
            match reply {
                Reply::Taken { number, receivers, followed, .. } => {
                    if followed > receivers {
                        ledger.fault(format_args!("caller: {followed} of {receivers} followed"));
                    }
                    self.settle(ledger, number, Outcome::Taken { followed });
                }
                Reply::Refused { number, .. } => self.settle(ledger, number, Outcome::Refused),
                Reply::Receiver { number, client_id, fate } => {
                    self.receiver(ledger, number, client_id.as_deref(), fate);
                }
                Reply::Closed => self.is_closed = true,
            }
        }
    }

    fn settle(&mut self, ledger: &mut Ledger, number: u64, outcome: Outcome) {
        let Some(call) = self.calls.get_mut(&number).filter(|call| call.outcome.is_none()) else {
            return ledger.fault(format_args!("caller: {outcome:?} for {number}, not under way"));
        };
        call.outcome = Some(outcome);
        match outcome {
            Outcome::Taken { .. } => {
                self.tally.taken += 1;
                if call.qos > 0 {
                    ledger.acknowledged(call.id);
                    ledger.completed(call.id);
                }
            }
            Outcome::Refused => {
                self.tally.refused += 1;
                ledger.refused(call.id, IMPLEMENTATION_SPECIFIC_ERROR);
            }
        }
    }

    fn receiver(&mut self, ledger: &mut Ledger, number: u64, client_id: Option<&str>, fate: Fate) {
        let Some(call) = self.calls.get_mut(&number) else {
            return ledger.fault(format_args!(
                "caller: {fate:?} of {client_id:?} for {number}, not under way"
            ));
        };
        call.replies += 1;
        let id = call.id;
        match (fate, client_id) {
            (Fate::Acknowledged, Some(name)) => {
                self.tally.confirmed += 1;
                if !call.confirmed_by.insert(name.to_owned()) {
                    ledger.fault(format_args!("caller: {name} has acknowledged {id:?} twice"));
                }
                if !ledger.has_confirmed(name, id) {
                    ledger.fault(format_args!("caller: {name} has not acknowledged {id:?} yet"));
                }
            }
            (Fate::Unconfirmed, Some(_)) => {}
            (Fate::Dropped, _) if self.may_drop => {}
            (Fate::Dropped, None) if call.is_large => {}
            // Away, and owed it at QoS 0.
            (Fate::Dropped, Some(name)) if call.qos == 0 || name == CHANGING => {}
            _ => ledger.fault(format_args!("caller: {fate:?} of {client_id:?} for {id:?}")),
        }
    }

    /// Whether all replies have come that are to come.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.calls.values().all(Call::is_settled)
    }

    /// Nothing is under way any more.
    pub(crate) fn judge(&mut self, ledger: &mut Ledger) {
        for call in self.calls.values().filter(|call| !call.is_settled()) {
            let Call { id, outcome, replies, confirmed_by, .. } = call;
            ledger.fault(format_args!(
                "caller: it waits for {id:?}: {outcome:?}, {replies} replies, {confirmed_by:?}"
            ));
        }
        self.calls.clear();
    }

    /// The process has ended, and another one has begun. What had no reply by then has none after a stop
    /// either, which waits for no disk.
    pub(crate) fn begin_life(&mut self, ledger: &mut Ledger, doors: &Arc<Doors>) {
        if !self.is_closed {
            ledger.fault("caller: the server has ended and has not said so");
        }
        for call in self.calls.values().filter(|call| call.outcome.is_none()) {
            ledger.unanswered(call.id);
        }
        self.calls.clear();
        self.is_closed = false;
        self.door = doors.open().expect("nobody else has one");
    }

    /// The topics that it may have retained something on.
    pub(crate) fn retained_topics() -> impl Iterator<Item = String> {
        (0..RETAINED).map(|number| format!("r/{INDEX}/{number}"))
    }
}

impl Call {
    fn is_settled(&self) -> bool {
        match self.outcome {
            None => false,
            Some(Outcome::Taken { followed }) => self.replies == followed,
            // How many receivers had it is not said.
            Some(Outcome::Refused) => true,
        }
    }
}

fn of_level(qos: u8) -> QoS {
    match qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}
