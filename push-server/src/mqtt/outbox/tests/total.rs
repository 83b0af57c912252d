//! What sessions hold together is what the total says, whatever they do.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::broker::SubscriptionId;
use crate::mqtt::OutboxFull;
use crate::mqtt::session::{Delivered, SendOutcome};

const SESSIONS: usize = 4;
const MESSAGES: usize = 6;
const TOTAL: u64 = 6_000;
const WINDOW: u16 = 3;

#[derive(Clone, Debug)]
enum Act {
    Deliver {
        session: usize,
        message: usize,
        qos: QoS,
        ids: u32,
    },
    Written(usize),
    NotWritten(usize),
    Send(usize),
    Acknowledge(usize),
    Leave(usize),
    /// Somebody connects, whether or not anybody is here.
    TakeOver(usize),
    Page(usize),
    /// It ends, and another one begins, as durable as is said.
    End(usize, bool),
}

fn act() -> impl Strategy<Value = Act> {
    let session = 0..SESSIONS;
    let qos = prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce)];
    let deliver = (session.clone(), 0..MESSAGES, qos, 0..4_u32);
    prop_oneof![
        9 => deliver.prop_map(|(session, message, qos, ids)| Act::Deliver {
            session, message, qos, ids
        }),
        3 => session.clone().prop_map(Act::Written),
        1 => session.clone().prop_map(Act::NotWritten),
        3 => session.clone().prop_map(Act::Send),
        3 => session.clone().prop_map(Act::Acknowledge),
        1 => session.clone().prop_map(Act::Leave),
        1 => session.clone().prop_map(Act::TakeOver),
        3 => session.clone().prop_map(Act::Page),
        1 => (session, any::<bool>()).prop_map(|(session, durable)| Act::End(session, durable)),
    ]
}

/// A session, and what its store knows.
struct Holder {
    session: Session,
    connected: bool,
    unwritten: Vec<(u64, Delivery)>,
    disk: BTreeMap<u64, Delivery>,
    unacknowledged: Vec<u16>,
}

impl Holder {
    fn new(durable: bool) -> Self {
        let session = if durable { Session::durable("c", 60) } else { Session::new("c", 60) };
        Self {
            session,
            connected: true,
            unwritten: Vec::new(),
            disk: BTreeMap::new(),
            unacknowledged: Vec::new(),
        }
    }

    fn deliver(&mut self, delivery: Delivery, limits: &Limits, memory: &Arc<MemoryBudget>) {
        let kept = delivery.clone();
        let is_written = self.session.is_durable() && delivery.qos != QoS::AtMostOnce;
        let filing = if is_written { Filing::Queued } else { Filing::Never };
        let delivered = self.session.deliver(delivery, self.connected, filing, limits, memory);
        if delivered.is_queued() && is_written {
            self.unwritten.push((self.session.last_position(), kept));
        }
        if delivered == Delivered::Overflow {
            self.leave();
        }
    }

    fn leave(&mut self) {
        self.session.connection_ended(NOW);
        self.connected = false;
        self.unacknowledged.clear();
    }

    fn send(&mut self) {
        while let Some(next) = self.session.next(WINDOW, |_, _, _| SendOutcome::Sent) {
            if let Next::Publish { packet_id, .. } = next
                && packet_id != 0
            {
                self.unacknowledged.push(packet_id);
            }
        }
    }

    fn page(&mut self, memory: &Arc<MemoryBudget>) {
        let Some(from) = self.session.begin_page(memory) else { return };
        let mut all = self.disk.range(from..);
        // Another copy of the message, as from the disk.
        let copy = |delivery: &Delivery| Delivery {
            message: Arc::new(Message::clone(&delivery.message)),
            ..delivery.clone()
        };
        let page = all.by_ref().take(3).map(|(at, kept)| (*at, Fetched::Message(copy(kept))));
        let found = page.collect();
        let next = all.next().map(|(at, _)| *at);
        self.session.page_loaded(found, next, self.connected, memory);
    }

    fn note_changes(&mut self) {
        for change in self.session.take_changes() {
            if let SessionChange::Settle(position) = change {
                self.disk.remove(&position);
                self.unwritten.retain(|(at, _)| *at != position);
            }
        }
    }
}

/// Bytes in memory, each thing once.
fn held_bytes(holders: &[Holder]) -> u64 {
    let mut things = HashMap::new();
    for outbox in holders.iter().filter_map(|holder| holder.session.outbox()) {
        let sent = outbox.inflight.iter().filter_map(|entry| entry.owed.as_ref());
        for Owed { delivery, .. } in outbox.queued().chain(sent) {
            let message = Arc::as_ptr(&delivery.message).addr();
            things.insert(message, delivery.message.weight_bytes());
            if let Via::Several(ids) = &delivery.via {
                things.insert(Arc::as_ptr(ids).addr(), delivery.via.weight_bytes());
            }
        }
    }
    things.values().map(|bytes| *bytes as u64).sum()
}

fn messages() -> Vec<Arc<Message>> {
    let message = |number: usize| {
        let mut message = Message::clone(&one().message);
        message.payload = vec![0; number * 300].into();
        Arc::new(message)
    };
    (0..MESSAGES).map(message).collect()
}

proptest! {
    #[test]
    fn the_total_is_what_is_held_and_nothing_in_the_end(
        outbox_full in prop_oneof![
            Just(OutboxFull::DropOldest), Just(OutboxFull::DropNewest), Just(OutboxFull::Refuse)
        ],
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let limits = Limits { outbox_messages_max: 20, outbox_full, ..Limits::default() };
        let (memory, messages) = (MemoryBudget::new(TOTAL), messages());
        let mut holders: Vec<_> = (0..SESSIONS).map(|at| Holder::new(at % 2 == 0)).collect();
        let largest = messages.iter().map(|message| message.weight_bytes()).max().unwrap_or(0);
        for act in acts {
            match act {
                Act::Deliver { session, message, qos, ids } => {
                    let message = Arc::clone(&messages[message]);
                    let via = (0..ids).filter_map(|id| SubscriptionId::new(id + 1)).collect();
                    let delivery = Delivery { message, qos, retain: false, via };
                    holders[session].deliver(delivery, &limits, &memory);
                }
                Act::Written(at) => {
                    let holder = &mut holders[at];
                    for (position, delivery) in std::mem::take(&mut holder.unwritten) {
                        holder.disk.insert(position, delivery);
                        holder.session.written(position, Filing::Queued, holder.connected);
                    }
                }
                Act::NotWritten(at) => {
                    let holder = &mut holders[at];
                    for (position, _) in std::mem::take(&mut holder.unwritten) {
                        holder.session.not_written(position);
                    }
                }
                Act::Send(at) if holders[at].connected => holders[at].send(),
                Act::Acknowledge(at) => {
                    let holder = &mut holders[at];
                    for packet_id in std::mem::take(&mut holder.unacknowledged) {
                        holder.session.acknowledge(packet_id, false).expect("was sent");
                    }
                }
                Act::Leave(at) => holders[at].leave(),
                Act::TakeOver(at) => {
                    let holder = &mut holders[at];
                    holder.session.restart();
                    holder.connected = true;
                    holder.unacknowledged.clear();
                }
                Act::Page(at) if holders[at].connected => holders[at].page(&memory),
                Act::End(at, durable) => holders[at] = Holder::new(durable),
                Act::Send(_) | Act::Page(_) => {}
            }
            holders.iter_mut().for_each(Holder::note_changes);
            prop_assert_eq!(memory.used_bytes(), held_bytes(&holders));
            let unwritten = holders.iter().flat_map(|holder| &holder.unwritten);
            let on_their_way: u64 = unwritten.map(|(_, delivery)| delivery.size()).sum();
            let anyway = SESSIONS as u64 * (largest as u64 + 300);
            prop_assert!(memory.used_bytes() <= TOTAL + anyway + on_their_way);
        }
        holders.clear();
        prop_assert_eq!(memory.used_bytes(), 0);
    }
}

/// A message that the store keeps need not stay in memory: it waits on disk, and nobody is disconnected.
#[test]
fn a_durable_session_whose_client_does_not_read_waits_on_disk_where_memory_is_short() {
    let mut rig = Rig::new();
    let size = one().size();
    rig.memory = MemoryBudget::new(20 * size);
    rig.deliver_written(200);
    assert_eq!(rig.session.owed(), 200);
    let in_memory = rig.session.outbox().expect("owed").in_memory();
    assert!(in_memory.messages >= 10 && in_memory.messages < 20, "{in_memory:?}");
    assert_eq!(rig.memory.used_bytes(), in_memory.bytes);
    // As it reads, all of it comes, in order.
    let mut sent = rig.send();
    while sent.len() < 200 {
        for (packet_id, _) in sent.clone() {
            rig.session.acknowledge(packet_id, false).expect("was sent");
        }
        assert!(rig.load(0..200).is_some(), "{} came", sent.len());
        assert!(rig.memory.used_bytes() <= 20 * size);
        sent.extend(rig.send());
    }
    assert_eq!(sent, (1..=200).map(|id| (id, false)).collect::<Vec<_>>());
}

/// `--outbox-full` decides, and a connected client does not keep up. What is dropped may still be in other
/// outboxes, so its memory does not count as free until the next message.
#[test]
fn a_session_in_memory_alone_that_holds_more_than_is_left_gives_way() {
    let size = one().size();
    for (outbox_full, connected, expected) in [
        (OutboxFull::DropOldest, false, Delivered::QueuedDropping(2)),
        (OutboxFull::DropNewest, false, Delivered::Dropped),
        (OutboxFull::Refuse, false, Delivered::Refused),
        (OutboxFull::DropOldest, true, Delivered::Overflow),
    ] {
        let limits = Limits { outbox_full, ..Limits::default() };
        let memory = MemoryBudget::new(40 * size);
        let mut hoarder = Session::new("hoarder", 60);
        let deliver = |session: &mut Session| {
            session.deliver(one(), connected, Filing::Never, &limits, &memory)
        };
        for _ in 0..20 {
            assert_eq!(deliver(&mut hoarder), Delivered::Queued);
        }
        assert_eq!(deliver(&mut hoarder), expected);
        let mut other = Session::new("other", 60);
        for _ in 0..10 {
            assert_eq!(deliver(&mut other), Delivered::Queued);
        }
        drop((hoarder, other));
        assert_eq!(memory.used_bytes(), 0);
    }
}

#[test]
fn who_is_owed_nothing_pays_for_no_hoarder() {
    let size = one().size();
    let memory = MemoryBudget::new(size);
    let mut hoarder = Session::new("hoarder", 60);
    let mut other = Session::new("other", 60);
    for (outbox_full, expected) in [
        (OutboxFull::DropOldest, Delivered::Dropped),
        (OutboxFull::DropNewest, Delivered::Dropped),
        (OutboxFull::Refuse, Delivered::Refused),
    ] {
        let limits = Limits { outbox_full, ..Limits::default() };
        let deliver = |session: &mut Session, payload| {
            let mut delivery = one();
            Arc::make_mut(&mut delivery.message).payload = vec![0; payload].into();
            session.deliver(delivery, true, Filing::Never, &limits, &memory)
        };
        if hoarder.owed() == 0 {
            assert_eq!(deliver(&mut hoarder, 1 << 20), Delivered::Queued);
        }
        assert_eq!(deliver(&mut other, 3_000), expected);
        assert_eq!(other.owed(), 0);
    }
}

#[test]
fn messages_by_the_same_subscriptions_share_their_identifiers() {
    let mut rig = Rig::new();
    let with_ids = || {
        let via = (1..1_000).filter_map(SubscriptionId::new).collect();
        Delivery { via, ..one() }
    };
    let size = with_ids().size();
    let ids_bytes = size - one().size();
    for _ in 0..50 {
        rig.deliver(with_ids(), Filing::Queued);
    }
    assert_eq!(rig.session.outbox().expect("owed").total().bytes, 50 * size);
    assert_eq!(rig.memory.used_bytes(), 50 * one().size() + ids_bytes);
    rig.send();
    rig.session = Session::durable("c", 60);
    assert_eq!(rig.memory.used_bytes(), 0);
}
