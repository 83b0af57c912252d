//! What a session leaves to other members of its groups.

use super::*;

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
