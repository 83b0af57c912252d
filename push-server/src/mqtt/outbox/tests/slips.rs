//! Slips: each comes back once, and says that the message was acknowledged only when it was.

use std::sync::Mutex;

use super::*;
use crate::broker::{Fate, Slip, Slips};
use crate::mqtt::session::SendOutcome;

/// What has come back.
#[derive(Debug, Default)]
struct Returned(Mutex<Vec<(Option<String>, Fate)>>);

impl Slips for Returned {
    fn came_back(&self, client_id: Option<&str>, fate: Fate) {
        self.0.lock().expect("whole").push((client_id.map(str::to_owned), fate));
    }
}

impl Returned {
    fn take(&self) -> Vec<(Option<String>, Fate)> {
        std::mem::take(&mut self.0.lock().expect("whole"))
    }
}

fn by_client(fate: Fate) -> Vec<(Option<String>, Fate)> {
    vec![(Some("c".to_owned()), fate)]
}

fn dropped(times: usize) -> Vec<(Option<String>, Fate)> {
    vec![(None, Fate::Dropped); times]
}

impl Rig {
    fn deliver_followed(&mut self, delivery: Delivery, filing: Filing) -> (u64, Arc<Returned>) {
        let position = self.deliver(delivery, filing);
        let returned = Arc::<Returned>::default();
        let slips: Arc<Returned> = Arc::clone(&returned);
        self.session.follow(Slip::new(slips));
        (position, returned)
    }
}

#[test]
fn a_slip_comes_back_when_its_message_is_acknowledged_and_no_other() {
    let mut rig = Rig::new();
    let (_, first) = rig.deliver_followed(one(), Filing::Queued);
    rig.deliver(one(), Filing::Queued);
    let (_, third) = rig.deliver_followed(one(), Filing::Queued);
    assert_eq!(rig.send(), [(1, false), (2, false), (3, false)]);
    for packet_id in [2, 3] {
        assert!(third.take().is_empty());
        rig.session.acknowledge(packet_id, false).expect("inflight");
    }
    assert_eq!(third.take(), by_client(Fate::Acknowledged));
    assert!(first.take().is_empty());
    rig.session.acknowledge(1, true).expect("inflight");
    assert_eq!(first.take(), by_client(Fate::Refused), "the client has said so");
    drop(rig);
    assert!(first.take().is_empty() && third.take().is_empty(), "once");
}

#[test]
fn at_qos_2_a_slip_waits_for_pubcomp() {
    let mut rig = Rig::new();
    let two = || delivery(QoS::ExactlyOnce, QoS::ExactlyOnce);
    let (place, returned) = rig.deliver_followed(two(), Filing::Queued);
    rig.session.written(place, Filing::Queued, true);
    assert_eq!(rig.send(), [(1, false)]);
    rig.session.receive(1, false).expect("inflight");
    rig.leave();
    assert!(returned.take().is_empty(), "PUBREC");
    rig.connected = true;
    rig.session.begin_page(&rig.memory).expect("it is on disk");
    let found = vec![(place, Fetched::Release)];
    assert_eq!(rig.session.page_loaded(found, None, true, &rig.memory), 0);
    assert_eq!(rig.send(), [(1, true)]);
    rig.session.complete(1).expect("inflight");
    assert_eq!(returned.take(), by_client(Fate::Acknowledged));
    let (place, refused) = rig.deliver_followed(two(), Filing::Queued);
    rig.session.written(place, Filing::Queued, true);
    rig.send();
    rig.session.receive(2, true).expect("inflight");
    assert_eq!(refused.take(), by_client(Fate::Refused));
}

#[test]
fn a_slip_outlives_the_connection_while_its_message_is_on_disk() {
    let mut rig = Rig::new();
    let (place, sent) = rig.deliver_followed(one(), Filing::Queued);
    rig.session.written(place, Filing::Queued, true);
    assert_eq!(rig.send(), [(1, false)]);
    rig.leave();
    let (place, waiting) = rig.deliver_followed(one(), Filing::Queued);
    rig.session.written(place, Filing::Queued, false);
    assert_eq!(rig.session.outbox().map_or(1, |outbox| outbox.queued().count()), 0);
    rig.connected = true;
    rig.load(0..2);
    assert_eq!(rig.send(), [(1, true), (2, false)]);
    assert!(sent.take().is_empty() && waiting.take().is_empty());
    rig.session.acknowledge(1, false).expect("inflight");
    rig.session.acknowledge(2, false).expect("inflight");
    assert_eq!(sent.take(), by_client(Fate::Acknowledged));
    assert_eq!(waiting.take(), by_client(Fate::Acknowledged));
    rig.session.take_changes();
    assert!(rig.session.outbox().is_none(), "nothing is left of them");
}

#[test]
fn a_slip_says_that_its_message_was_dropped_whatever_became_of_it() {
    let mut rig = Rig::new();
    let (place, unwritten) = rig.deliver_followed(one(), Filing::Queued);
    assert!(rig.session.not_written(place));
    assert_eq!(unwritten.take(), dropped(1));
    let (_, too_large) = rig.deliver_followed(one(), Filing::Queued);
    assert!(rig.session.next(u16::MAX, |_, _, _| SendOutcome::Dropped).is_none());
    assert_eq!(too_large.take(), dropped(1));
    let (place, lost) = rig.deliver_followed(one(), Filing::Queued);
    rig.session.written(place, Filing::Queued, true);
    rig.leave();
    rig.connected = true;
    rig.session.begin_page(&rig.memory).expect("it should be on disk");
    assert_eq!(rig.session.page_loaded(Vec::new(), None, true, &rig.memory), 1);
    assert_eq!(lost.take(), dropped(1));
    let (_, ended) = rig.deliver_followed(one(), Filing::Queued);
    drop(rig);
    assert_eq!(ended.take(), dropped(1));
}

#[test]
fn a_qos_0_message_that_is_dropped_takes_no_slip_of_another_along() {
    let mut rig = Rig::new();
    let (_, returned) = rig.deliver_followed(one(), Filing::Queued);
    rig.deliver(delivery(QoS::AtMostOnce, QoS::AtMostOnce), Filing::Never);
    rig.session.connection_ended(NOW);
    assert!(returned.take().is_empty());
}

#[test]
fn a_message_that_goes_to_another_member_of_its_group_takes_its_slip_along() {
    let shares = Shares::default();
    let filter = TopicFilter::parse("$share/g/t", 8).expect("valid");
    let member = Member { shard: 0, session: 0 };
    let options = SubscriptionOptions::default();
    shares.join(&filter, member, options, true);
    let via = Via::Share(shares.find(&filter).expect("joined"), None);
    let mut rig = Rig::new();
    let shared = Delivery { via, ..one() };
    let (_, returned) = rig.deliver_followed(shared, Filing::Queued);
    let (_, own) = rig.deliver_followed(one(), Filing::Queued);
    rig.session.leave_shared(true, |_| true);
    let mut left = rig.session.take_left(&rig.memory);
    drop(rig);
    let message = left.take().expect("it is left");
    left.put_back(message, &MemoryBudget::new(u64::MAX));
    let message = left.take().expect("it is left");
    assert!(returned.take().is_empty());
    message.slip.expect("it goes along").send_back("d", Fate::Acknowledged);
    assert_eq!(returned.take(), [(Some("d".to_owned()), Fate::Acknowledged)]);
    drop(left);
    assert_eq!(own.take(), dropped(1));
}

#[test]
fn messages_without_slips_pay_nothing_for_those_with() {
    assert_eq!(size_of::<Owed>(), 48, "place, filing, delivery");
    let mut rig = Rig::new();
    rig.deliver(one(), Filing::Queued);
    assert!(rig.session.outbox().is_some_and(|outbox| outbox.followed.is_none()));
    let (_, _returned) = rig.deliver_followed(one(), Filing::Queued);
    rig.send();
    rig.session.acknowledge(2, false).expect("inflight");
    assert!(rig.session.outbox().is_some_and(|outbox| outbox.followed.is_none()));
}
