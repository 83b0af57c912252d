//! What a durable session keeps in memory, and what it asks of the disk.

use std::sync::Arc;

use push_common::clock::Monotonic;

use super::*;
use crate::broker::{
    Held, Holder, Member, MemoryBudget, Message, Shares, SubscriptionOptions, TopicFilter,
    TopicName, Via,
};
use crate::mqtt::owed::packet_id;
use crate::mqtt::session::{Next, SendOutcome};
use crate::mqtt::{Limits, Session};

mod slips;
mod total;

const NOW: Monotonic = Monotonic(1);

fn delivery(qos: QoS, published: QoS) -> Delivery {
    let message = Message {
        topic: TopicName::parse("t", 8).expect("valid"),
        payload: vec![0; 9].into(),
        qos: published,
        retain: false,
        properties: None,
        expires_at: None,
        held: Held::default(),
    };
    Delivery { message: Arc::new(message), qos, retain: false, via: Via::default() }
}

fn one() -> Delivery {
    delivery(QoS::AtLeastOnce, QoS::AtLeastOnce)
}

/// A durable session and its client.
struct Rig {
    session: Session,
    connected: bool,
    limits: Limits,
    memory: Arc<MemoryBudget>,
}

impl Rig {
    fn new() -> Self {
        let session = Session::durable("c", 60);
        let memory = MemoryBudget::new(u64::MAX);
        Self { session, connected: true, limits: Limits::default(), memory }
    }

    /// Delivers, and returns the place.
    fn deliver(&mut self, delivery: Delivery, filing: Filing) -> u64 {
        let delivered =
            self.session.deliver(delivery, self.connected, filing, &self.limits, &self.memory);
        assert_eq!(delivered, crate::mqtt::Delivered::Queued);
        self.session.last_position()
    }

    fn deliver_written(&mut self, messages: u64) {
        for _ in 0..messages {
            let position = self.deliver(one(), Filing::Queued);
            self.session.written(position, Filing::Queued, self.connected);
        }
    }

    /// Sends what can be sent: packet ids, and whether again.
    fn send(&mut self) -> Vec<(u16, bool)> {
        std::iter::from_fn(|| match self.session.next(u16::MAX, |_, _, _| SendOutcome::Sent)? {
            Next::Publish { packet_id, dup, .. } => Some((packet_id, dup)),
            Next::Release(packet_id) => Some((packet_id, true)),
        })
        .collect()
    }

    fn leave(&mut self) {
        self.session.connection_ended(NOW);
        self.connected = false;
    }

    /// The page that the session asks for, as a store would bring it that has all of `places`.
    fn load(&mut self, places: std::ops::Range<u64>) -> Option<u64> {
        let from = self.session.begin_page(&self.memory)?;
        assert!(self.session.begin_page(&self.memory).is_none(), "one page at a time");
        let mut all = places.filter(|place| *place >= from);
        let page = all.by_ref().take(HEAD_MESSAGES_MAX);
        let found = page.map(|place| (place, Fetched::Message(one()))).collect();
        assert_eq!(self.session.page_loaded(found, all.next(), self.connected, &self.memory), 0);
        Some(from)
    }
}

#[test]
fn a_client_that_is_away_costs_no_message_in_memory() {
    let mut rig = Rig::new();
    rig.deliver_written(3);
    assert_eq!(rig.send(), [(1, false), (2, false), (3, false)]);
    rig.leave();
    rig.deliver_written(900);
    let outbox = rig.session.outbox().expect("owed");
    assert_eq!(outbox.queued().count(), 0);
    assert!(outbox.inflight.is_empty());
    assert_eq!(outbox.counted_bytes().0, 0);
    assert_eq!(rig.session.owed(), 903);
}

#[test]
fn what_was_sent_comes_again_first_and_by_its_packet_id() {
    let mut rig = Rig::new();
    rig.deliver_written(2);
    assert_eq!(rig.send(), [(1, false), (2, false)]);
    rig.leave();
    rig.deliver_written(1);
    assert_eq!(rig.session.sent_to(), 2);
    rig.connected = true;
    assert!(rig.send().is_empty(), "all of it is on disk");
    assert_eq!(rig.load(0..3), Some(0));
    assert_eq!(rig.send(), [(1, true), (2, true), (3, false)]);
    assert!(rig.session.begin_page(&rig.memory).is_none(), "nothing is left there");
}

#[test]
fn a_slow_client_has_a_page_in_memory_and_the_rest_on_disk() {
    let mut rig = Rig::new();
    let messages = 5 * HEAD_MESSAGES_MAX as u64;
    rig.deliver_written(messages);
    let in_memory = |rig: &Rig| rig.session.outbox().map_or(0, |p| p.queued().count());
    assert_eq!(in_memory(&rig), HEAD_MESSAGES_MAX);
    let mut sent = rig.send();
    while rig.load(0..messages).is_some() {
        assert!(in_memory(&rig) <= HEAD_MESSAGES_MAX);
        sent.extend(rig.send());
    }
    let expected: Vec<(u16, bool)> = (1..=messages as u16).map(|id| (id, false)).collect();
    assert_eq!(sent, expected, "each once, in order");
}

#[test]
fn what_was_published_exactly_once_leaves_when_it_is_on_disk() {
    for qos in [QoS::ExactlyOnce, QoS::AtLeastOnce] {
        let mut rig = Rig::new();
        let place = rig.deliver(delivery(qos, QoS::ExactlyOnce), Filing::Queued);
        assert!(rig.send().is_empty());
        rig.session.written(place, Filing::Queued, true);
        assert_eq!(rig.send(), [(1, false)]);
    }
    let mut rig = Rig::new();
    let place = rig.deliver(delivery(QoS::AtMostOnce, QoS::ExactlyOnce), Filing::Held);
    assert!(rig.send().is_empty(), "though it is not written itself");
    rig.session.written(place, Filing::Held, true);
    assert_eq!(rig.send(), [(0, false)]);
    assert!(rig.session.take_changes().is_empty(), "there is nothing to remove");
}

#[test]
fn an_early_acknowledgement_is_written_behind_the_message() {
    let mut rig = Rig::new();
    let place = rig.deliver(one(), Filing::Queued);
    assert_eq!(rig.send(), [(1, false)]);
    rig.session.acknowledge(1, false).expect("inflight");
    assert_eq!(
        rig.session.take_changes(),
        [SessionChange::Settle(place)],
        "behind it in the queue"
    );
    rig.session.written(place, Filing::Queued, true);
    assert!(rig.session.take_changes().is_empty());

    let place = rig.deliver(one(), Filing::Pending);
    assert_eq!(rig.send(), [(2, false)]);
    rig.session.acknowledge(2, false).expect("inflight");
    assert!(rig.session.take_changes().is_empty(), "it could come before the message");
    rig.session.written(place, Filing::Pending, true);
    assert_eq!(rig.session.take_changes(), [SessionChange::Settle(place)]);
}

#[test]
fn a_message_that_cannot_be_written_is_dropped_unless_it_has_left() {
    let mut rig = Rig::new();
    let sent = rig.deliver(one(), Filing::Queued);
    assert_eq!(rig.send(), [(1, false)]);
    let waiting = rig.deliver(delivery(QoS::ExactlyOnce, QoS::ExactlyOnce), Filing::Queued);
    assert!(rig.session.not_written(waiting));
    assert!(!rig.session.not_written(sent));
    assert_eq!(rig.session.owed(), 1);
    rig.session.acknowledge(1, false).expect("inflight");
    assert_eq!(rig.session.owed(), 0);
    assert!(rig.session.take_changes().is_empty());
}

#[test]
fn a_held_message_that_stands_before_an_earlier_one_is_found() {
    let mut rig = Rig::new();
    let places: Vec<u64> =
        (0..=HEAD_MESSAGES_MAX).map(|_| rig.deliver(one(), Filing::Queued)).collect();
    // The head is full, so the last one is in the tail, and this one before it.
    let held = rig.deliver(delivery(QoS::AtMostOnce, QoS::ExactlyOnce), Filing::Held);
    assert_eq!(rig.send().len(), HEAD_MESSAGES_MAX);
    for place in places {
        rig.session.written(place, Filing::Queued, true);
    }
    rig.session.written(held, Filing::Held, true);
    assert_eq!(rig.send().len(), 2);
}

#[test]
fn a_restart_sends_again_what_may_have_been_sent() {
    let disk = Extent { from: 7, next: 12, messages: 5, bytes: 50 };
    let mut rig = Rig::new();
    rig.session.recover(Some(disk), 9, &[]);
    assert_eq!(rig.load(7..12), Some(7));
    assert_eq!(rig.send(), [(8, true), (9, true), (10, false), (11, false), (12, false)]);
    let place = rig.deliver(one(), Filing::Queued);
    assert_eq!(place, 12, "behind all that was there");
}

#[test]
fn what_may_have_been_sent_before_a_crash_stays_so() {
    let disk = Extent { from: 7, next: 12, messages: 5, bytes: 50 };
    let mut rig = Rig::new();
    rig.session.recover(Some(disk), 9, &[]);
    for sent_to in [9, 12] {
        assert_eq!(rig.session.sent_to(), sent_to);
        rig.connected = true;
        assert_eq!(rig.load(7..12), Some(7));
        let expected: Vec<_> = (7..12).map(|at| (packet_id(at), at < sent_to)).collect();
        assert_eq!(rig.send(), expected);
        rig.leave();
    }
    // Nor does a client undo it that leaves before it was sent anything.
    rig.session.recover(Some(disk), 9, &[]);
    rig.connected = true;
    assert_eq!(rig.load(7..12), Some(7));
    rig.leave();
    assert_eq!((rig.session.sent_to(), rig.session.on_disk()), (9, Some(7)));
}

#[test]
fn messages_missing_on_disk_are_told_and_hold_nothing_up() {
    let disk = Extent { from: 0, next: 4, messages: 4, bytes: 40 };
    let mut rig = Rig::new();
    rig.session.recover(Some(disk), 0, &[]);
    assert_eq!(rig.session.begin_page(&rig.memory), Some(0));
    let found = vec![(1, Fetched::Message(one())), (3, Fetched::Stale(one()))];
    assert_eq!(rig.session.page_loaded(found, None, true, &rig.memory), 2);
    assert_eq!(rig.send(), [(2, false)]);
    assert_eq!(rig.session.take_changes(), [SessionChange::Settle(3)], "the stale one");
    assert_eq!(rig.session.owed(), 1);
}

#[test]
fn a_page_that_comes_when_the_client_has_gone_changes_nothing() {
    let mut rig = Rig::new();
    rig.deliver_written(1);
    rig.leave();
    rig.connected = true;
    assert_eq!(rig.session.begin_page(&rig.memory), Some(0));
    rig.leave();
    let found = vec![(0, Fetched::Message(one()))];
    assert_eq!(rig.session.page_loaded(found, None, false, &rig.memory), 0);
    rig.connected = true;
    assert_eq!(rig.load(0..1), Some(0));
    assert_eq!(rig.send(), [(1, false)]);
}

#[test]
fn what_could_not_be_written_and_has_left_is_written_later() {
    let mut rig = Rig::new();
    let sent = rig.deliver(one(), Filing::Queued);
    assert_eq!(rig.send(), [(1, false)]);
    assert!(!rig.session.not_written(sent));
    rig.leave();
    rig.deliver_written(9);
    let in_memory = |rig: &Rig| rig.session.outbox().expect("owed").queued().count();
    assert_eq!(in_memory(&rig), 9, "behind what is nowhere else");
    let unwritten = rig.session.take_unwritten();
    assert_eq!(unwritten.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [sent]);
    assert!(rig.session.take_unwritten().is_empty(), "it is on its way");
    // In vain once more, then not.
    assert!(!rig.session.not_written(sent));
    assert_eq!(rig.session.take_unwritten().len(), 1);
    rig.session.written(sent, Filing::Queued, false);
    assert_eq!((in_memory(&rig), rig.session.owed()), (0, 10));
    rig.connected = true;
    assert_eq!(rig.load(0..10), Some(sent));
    assert_eq!(rig.send()[..2], [(1, true), (2, false)]);
    rig.session.acknowledge(1, false).expect("inflight");
    assert_eq!(rig.session.take_changes(), [SessionChange::Settle(sent)]);
}

#[test]
fn at_most_once_messages_that_were_held_in_vain_leave_no_trace() {
    let mut rig = Rig::new();
    rig.deliver_written(1);
    assert_eq!(rig.send(), [(1, false)]);
    let held =
        [(); 2].map(|()| rig.deliver(delivery(QoS::AtMostOnce, QoS::ExactlyOnce), Filing::Held));
    for place in held {
        assert!(rig.session.not_written(place));
    }
    let outbox = rig.session.outbox().expect("one is inflight");
    assert_eq!(outbox.counted_bytes(), (one().size(), 0));
    assert!(rig.session.has_room(&one(), true, &rig.limits, &rig.memory));
    // As many as the limits say, and no more.
    rig.limits.outbox_messages_max = 3;
    for has_room in [true, true, false] {
        assert_eq!(rig.session.has_room(&one(), true, &rig.limits, &rig.memory), has_room);
        rig.session.deliver(one(), true, Filing::Queued, &rig.limits, &rig.memory);
    }
}

#[test]
fn what_is_received_again_is_written_again() {
    let mut rig = Rig::new();
    let place = rig.deliver(delivery(QoS::ExactlyOnce, QoS::ExactlyOnce), Filing::Queued);
    rig.session.written(place, Filing::Queued, true);
    assert_eq!(rig.send(), [(1, false)]);
    for _ in 0..2 {
        // The second answer waits behind the first write, and makes up for it should it fail.
        rig.session.receive(1, false).expect("inflight");
        assert_eq!(rig.session.take_changes(), [SessionChange::Release(place)]);
    }
}

#[test]
fn what_is_released_again_is_written_again() {
    let mut rig = Rig::new();
    rig.session.begin_exactly_once(7);
    assert!(rig.session.routed_exactly_once(7, false));
    for known in [true, false] {
        assert_eq!(rig.session.release(7), known);
        assert_eq!(rig.session.take_changes(), [SessionChange::EndExactlyOnce(7)]);
    }
}

#[test]
fn a_page_that_cannot_be_read_when_the_client_has_gone_leaves_nothing_in_memory() {
    let mut rig = Rig::new();
    rig.deliver_written(2 * HEAD_MESSAGES_MAX as u64);
    assert_eq!(rig.send().len(), HEAD_MESSAGES_MAX);
    assert_eq!(rig.session.begin_page(&rig.memory), Some(HEAD_MESSAGES_MAX as u64));
    rig.leave();
    rig.session.page_failed(false);
    let outbox = rig.session.outbox().expect("owed");
    assert_eq!((outbox.counted_bytes().0, outbox.inflight.len()), (0, 0));
    rig.connected = true;
    assert_eq!(rig.load(0..2 * HEAD_MESSAGES_MAX as u64), Some(0));
}

/// Of messages that each weigh as much as `one`.
fn holding(messages: u32) -> Limits {
    Limits { outbox_messages_max: messages, ..Limits::default() }
}

impl Rig {
    /// Delivers to a client that is away and whose outbox is full.
    fn overfill(&mut self, messages: u64) -> u32 {
        let deliver = |_| match self.session.deliver(
            one(),
            false,
            Filing::Queued,
            &self.limits,
            &self.memory,
        ) {
            crate::mqtt::Delivered::QueuedDropping(dropped) => dropped,
            other => panic!("{other:?}"),
        };
        (0..messages).map(deliver).sum()
    }

    /// Reads the oldest of `places` and has dropped what is over the limits. Returns how many were.
    fn trim(&mut self, places: std::ops::Range<u64>, at_a_time: usize) -> Option<u32> {
        let from = self.session.begin_trim(&self.limits)?;
        assert!(self.session.begin_trim(&self.limits).is_none(), "one read at a time");
        assert!(
            self.session.begin_page(&self.memory).is_none(),
            "nor is it read for the client meanwhile"
        );
        let size = one().size();
        let mut found = places.filter(|place| *place >= from).map(|place| (place, size));
        let page: Vec<_> = found.by_ref().take(at_a_time).collect();
        let behind = found.next().map(|(place, _)| place);
        Some(self.session.trimmed(&page, behind, &self.limits, self.connected))
    }

    fn settled(&mut self) -> Vec<u64> {
        let changes = self.session.take_changes().into_iter();
        changes
            .map(|change| match change {
                SessionChange::Settle(place) => place,
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

#[test]
fn a_full_outbox_on_disk_drops_its_oldest_when_it_knows_how_large_they_are() {
    for at_a_time in [1, 2, 10] {
        let mut rig = Rig::new();
        rig.limits = holding(5);
        rig.leave();
        rig.deliver_written(5);
        assert_eq!(rig.trim(0..5, at_a_time), None, "it is full, and not more");
        assert_eq!(rig.overfill(2), 0, "what is dropped is on disk");
        assert_eq!(rig.session.owed(), 7);
        let mut dropped = 0;
        while let Some(more) = rig.trim(0..7, at_a_time) {
            for place in 5..7 {
                rig.session.written(place, Filing::Queued, false);
            }
            dropped += more;
        }
        assert_eq!((dropped, rig.session.owed()), (2, 5));
        assert_eq!(rig.settled(), [0, 1]);
        assert_eq!(rig.session.outbox().map_or(9, |p| p.queued().count()), 0);
        rig.connected = true;
        assert_eq!(rig.load(2..7), Some(2));
        assert_eq!(rig.send().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
    }
}

#[test]
fn a_burst_beyond_a_full_outbox_keeps_the_newest_however_long_the_disk_takes() {
    let mut rig = Rig::new();
    rig.limits = holding(5);
    rig.leave();
    rig.deliver_written(5);
    assert_eq!(rig.overfill(20), 15, "those in memory that cannot stay");
    assert_eq!(rig.session.owed(), 10, "twice the limit is the most");
    assert_eq!(rig.settled(), (5..20).collect::<Vec<_>>());
    let on_disk = |place: &u64| *place < 5 || *place >= 20;
    let from = rig.session.begin_trim(&rig.limits).expect("due");
    let size = one().size();
    let page: Vec<_> = (from..25).filter(on_disk).map(|place| (place, size)).collect();
    assert_eq!(rig.session.trimmed(&page, None, &rig.limits, false), 5);
    assert_eq!(rig.settled(), [0, 1, 2, 3, 4]);
    assert_eq!(rig.session.owed(), 5);
}

#[test]
fn what_was_sent_is_not_dropped_for_newer_messages() {
    let mut rig = Rig::new();
    rig.limits = holding(4);
    rig.deliver_written(3);
    assert_eq!(rig.send().len(), 3);
    rig.leave();
    rig.deliver_written(1);
    assert_eq!(rig.overfill(1), 0);
    assert_eq!(rig.trim(0..5, 10), Some(1));
    assert_eq!(rig.settled(), [3], "the oldest that was never sent");
    rig.session.written(4, Filing::Queued, false);
    assert_eq!(rig.session.owed(), 4);
    // Where all of it was sent, nothing is.
    let mut rig = Rig::new();
    rig.limits = holding(4);
    rig.deliver_written(4);
    assert_eq!(rig.send().len(), 4);
    rig.leave();
    let delivered = rig.session.deliver(one(), false, Filing::Queued, &rig.limits, &rig.memory);
    assert_eq!(delivered, crate::mqtt::Delivered::Dropped);
    assert_eq!(rig.trim(0..4, 10), None);
}

#[test]
fn a_client_that_is_back_before_the_oldest_are_dropped_is_not_told_to_keep_up() {
    let mut rig = Rig::new();
    rig.limits = holding(5);
    rig.leave();
    rig.deliver_written(5);
    assert_eq!(rig.overfill(1), 0);
    rig.connected = true;
    let delivered = rig.session.deliver(one(), true, Filing::Queued, &rig.limits, &rig.memory);
    assert_eq!(delivered, crate::mqtt::Delivered::QueuedDropping(0));
    assert_eq!(rig.trim(0..7, 10), Some(2));
    for place in [5, 6] {
        rig.session.written(place, Filing::Queued, true);
    }
    assert_eq!(rig.load(2..7), Some(2));
    assert_eq!(rig.send().len(), 5);
    let delivered = rig.session.deliver(one(), true, Filing::Queued, &rig.limits, &rig.memory);
    assert_eq!(delivered, crate::mqtt::Delivered::Overflow, "as soon as it is its own fault");
}

#[test]
fn a_trim_that_could_not_be_read_is_tried_again() {
    let mut rig = Rig::new();
    rig.limits = holding(1);
    rig.leave();
    rig.deliver_written(1);
    rig.overfill(1);
    assert_eq!(rig.session.begin_trim(&rig.limits), Some(0));
    rig.session.page_failed(false);
    rig.session.written(1, Filing::Queued, false);
    assert_eq!(rig.trim(0..2, 10), Some(1));
    assert_eq!(rig.session.owed(), 1);
}

#[test]
fn what_waited_for_a_slow_disk_costs_an_absent_client_nothing_once_it_is_there() {
    let memory = MemoryBudget::new(u64::MAX);
    let mut rig = Rig::new();
    rig.leave();
    let positions: Vec<u64> = (0..500).map(|_| rig.deliver(one(), Filing::Queued)).collect();
    rig.session.charge_inflight(&memory, |_| Holder::NOBODY);
    assert!(memory.used_bytes() > 0);
    for position in positions {
        rig.session.written(position, Filing::Queued, rig.connected);
    }
    rig.session.charge_inflight(&memory, |_| Holder::NOBODY);
    assert_eq!((rig.session.owed(), memory.used_bytes()), (500, 0));
}

/// The same by a shared subscription.
fn shared() -> Delivery {
    let shares = Shares::default();
    let filter = TopicFilter::parse("$share/g/t", 8).expect("valid");
    let member = Member { shard: 0, session: 0 };
    shares.join(&filter, member, SubscriptionOptions::default(), true);
    let via = Via::Share(shares.find(&filter).expect("joined"), None);
    Delivery { via, ..one() }
}

fn leave_one(rig: &mut Rig, filing: Filing) -> u64 {
    let position = rig.deliver(shared(), filing);
    rig.session.leave_shared(false, |_| true);
    assert_eq!(rig.session.owed(), 0, "it is not its own any more");
    position
}

fn left(rig: &mut Rig) -> &mut Left {
    rig.session.left_mut().expect("something is left")
}

#[test]
fn what_is_left_counts_against_the_totals_until_it_is_offered() {
    let mut rig = Rig::new();
    for _ in 0..100 {
        leave_one(&mut rig, Filing::Queued);
    }
    let held_bytes = rig.memory.used_bytes();
    assert_eq!(held_bytes, 100 * shared().size());
    let places = MemoryBudget::new(u64::MAX);
    rig.session.charge_inflight(&places, |_| Holder::NOBODY);
    assert!(places.used_bytes() >= 100 * size_of::<Owed>() as u64 / 2);
    // Its session ends, and it counts all the same.
    let mut left = rig.session.take_left(&places);
    drop(rig.session);
    assert!(places.used_bytes() >= 100 * size_of::<Owed>() as u64);
    assert_eq!(rig.memory.used_bytes(), held_bytes);
    let first = left.take().expect("the first one");
    assert_eq!(rig.memory.used_bytes(), held_bytes - shared().size());
    left.put_back(first, &rig.memory);
    assert_eq!(rig.memory.used_bytes(), held_bytes);
    let places_left = std::iter::from_fn(|| left.take()?.change());
    assert!(places_left.eq((0..100).map(SessionChange::Settle)), "in order");
    assert_eq!(rig.memory.used_bytes(), 0);
    drop(left);
    assert_eq!(places.used_bytes(), 0);
}

#[test]
fn a_page_waits_until_what_was_left_is_safe_elsewhere() {
    let mut rig = Rig::new();
    rig.deliver_written(900);
    let position = rig.deliver(shared(), Filing::Queued);
    rig.session.leave_shared(false, |_| true);
    // Those that it can send are sent.
    rig.send();
    assert!(rig.session.begin_page(&rig.memory).is_none(), "the page may have it");
    let message = left(&mut rig).take().expect("left");
    assert_eq!(message.change(), Some(SessionChange::Settle(position)));
    left(&mut rig).begin_write();
    assert!(rig.session.begin_page(&rig.memory).is_none(), "the removal is not written");
    left(&mut rig).end_write(false);
    rig.session.tidy_left();
    assert!(rig.session.left_mut().is_none());
    assert!(rig.session.begin_page(&rig.memory).is_some());
}

#[test]
fn what_is_left_before_it_is_written_leaves_the_disk_with_the_write_that_moves_it() {
    let mut rig = Rig::new();
    let position = leave_one(&mut rig, Filing::Pending);
    rig.session.written(position, Filing::Pending, true);
    assert!(rig.session.take_changes().is_empty(), "nobody else has it yet");
    let message = left(&mut rig).take().expect("left");
    assert_eq!(message.change(), Some(SessionChange::Settle(position)));
    // One that has gone before comes behind its removal.
    let position = leave_one(&mut rig, Filing::Pending);
    assert_eq!(left(&mut rig).take().expect("left").change(), None);
    rig.session.written(position, Filing::Pending, true);
    assert_eq!(rig.session.take_changes(), [SessionChange::Settle(position)]);
}

#[test]
fn what_could_not_be_written_is_left_to_nobody() {
    let mut rig = Rig::new();
    let position = leave_one(&mut rig, Filing::Queued);
    assert!(rig.session.not_written(position), "its publisher sends it again");
    assert!(rig.session.left_mut().is_none());
}

#[test]
fn a_message_published_with_qos_2_is_not_offered_to_others_before_it_is_safe() {
    let exactly_once =
        || Delivery { via: shared().via, ..delivery(QoS::ExactlyOnce, QoS::ExactlyOnce) };
    for filing in [Filing::Pending, Filing::Queued, Filing::Held] {
        let mut rig = Rig::new();
        let [first, second] = [(); 2].map(|()| rig.deliver(exactly_once(), filing));
        rig.session.leave_shared(false, |_| true);
        assert!(left(&mut rig).take().is_none() && !left(&mut rig).is_empty(), "{filing:?}");
        rig.session.written(second, filing, true);
        assert!(
            left(&mut rig).take_held() && left(&mut rig).take().is_none(),
            "it is the next one"
        );
        assert!(rig.session.not_written(first), "its publisher sends it again");
        assert!(left(&mut rig).take_held());
        let message = left(&mut rig).take().expect("it is safe");
        assert_eq!(message.change().is_some(), filing != Filing::Held);
        assert!(!left(&mut rig).take_held() && left(&mut rig).is_empty());
    }
}

#[test]
fn a_write_that_fails_is_remembered_beyond_the_session() {
    let mut rig = Rig::new();
    leave_one(&mut rig, Filing::Written);
    left(&mut rig).take().expect("left");
    left(&mut rig).begin_write();
    left(&mut rig).end_write(true);
    rig.session.tidy_left();
    let mut left = rig.session.take_left(&rig.memory);
    assert!(!left.is_busy() && left.take_failed(), "the disk still has it");
    assert!(!left.take_failed());
}
