//! What a store keeps, over a stop and a start: claims about the interface, each held against every
//! implementation.

use std::sync::Arc;

use push_server::broker::{Message, QoS, SubscriptionOptions, TopicFilter, TopicName};
use push_server::store::{
    Opening, OutboxSummary, Outcome, Page, PageLimit, Position, RecoveredWill, SessionNumber,
    SessionRecord, Store as _, Stored, StoredWill, WallMillis, WillNumber, Write,
};

use super::rig::{
    Place, Rig, claims, entry, message, put, put_session, record, release, remove, subscribe,
    unlimited,
};

/// What each message weighs beside topic and payload.
const OWN_BYTES: u64 = Message::OWN_BYTES as u64;

claims! {
    everything_comes_back_after_a_stop
    a_will_that_is_being_published_needs_no_session
    what_may_have_been_sent_before_a_crash_is_told
    what_was_removed_stays_away
    a_removed_session_leaves_nothing
    an_id_that_is_there_already_is_removed_in_the_group_that_puts_it
    pages_are_limited_and_say_where_to_go_on
    a_page_shows_what_was_queued_before_it
    a_request_without_changes_is_a_barrier
    what_is_queued_at_a_stop_is_written
    of_two_sessions_with_one_client_identifier_the_younger_is_kept
    an_ended_session_stays_beside_a_younger_one_of_its_client
    what_belongs_to_no_session_is_removed_at_a_start
    the_longest_of_everything_is_kept
}

fn everything_comes_back_after_a_stop<P: Place>() {
    let place = P::default();
    let options =
        SubscriptionOptions { qos: QoS::ExactlyOnce, retain_handling: 2, ..Default::default() };
    let will = StoredWill {
        message: message("will", "gone"),
        delay_secs: 5,
        message_expiry_secs: Some(60),
        due_at: Some(WallMillis(77)),
    };
    let kept = SessionRecord {
        user: Some("alice".into()),
        will: Some(will),
        disconnected_at: Some(WallMillis(99)),
        sent_to: Position(2),
        ..record("one")
    };
    let number = SessionNumber(1);
    {
        let mut rig = Rig::at(&place);
        assert!(rig.recovered.sessions.is_empty());
        assert_eq!(rig.recovered.next_number, SessionNumber(0));
        let retained = rig.retain(&message("r", "kept"));
        rig.commit(vec![
            Write::PutSession { number, record: Box::new(kept.clone()) },
            put_session(2, "two"),
            subscribe(1, "a/+", options),
            subscribe(1, "$share/g/b", SubscriptionOptions::default()),
            subscribe(2, "c", SubscriptionOptions::default()),
            put(1, 1, &message("a/b", "first")),
            put(1, 2, &message("a/c", "second")),
            put(1, 3, &message("a/d", "third")),
            Write::PutExactlyOnce { number, packet_id: 300 },
            Write::PutExactlyOnce { number, packet_id: 7 },
            retained,
        ]);
        rig.commit(vec![release(1, 1), remove(1, 2)]);
    }
    let mut rig = Rig::at(&place);
    assert_eq!(rig.recovered.sessions.len(), 2);
    assert!(rig.recovered.next_number > SessionNumber(2));
    assert_eq!(rig.retained(), [message("r", "kept")]);
    let one = rig.session(1).clone();
    assert_eq!(one.record, kept);
    let mut subscriptions = one.subscriptions.clone();
    subscriptions.sort_by(|one, other| one.filter.cmp(&other.filter));
    let filters: Vec<_> = subscriptions.iter().map(|s| s.filter.as_str()).collect();
    assert_eq!(filters, ["$share/g/b", "a/+"]);
    assert_eq!(subscriptions[1].options, options);
    assert_eq!(one.exactly_once, [7, 300]);
    let expected = OutboxSummary {
        first: Position(1),
        next: Position(4),
        messages: 2,
        released: 1,
        sent_to: Position(2),
        bytes: OWN_BYTES + 8,
        oldest_at: Some(WallMillis(1_000)),
    };
    assert_eq!(one.outbox, expected);
    assert_eq!(rig.session(2).outbox, OutboxSummary::default());
    let third = Stored::Entry(entry(&message("a/d", "third")));
    assert_eq!(rig.outbox(1), [(1, Stored::Released), (3, third)]);
    assert_eq!(rig.outbox(2), []);
}

fn a_will_that_is_being_published_needs_no_session<P: Place>() {
    let place = P::default();
    let session = SessionNumber(1);
    let will = |number, message: &Arc<Message>| Write::PutWill {
        session,
        number: WillNumber(number),
        message: Arc::clone(message),
    };
    let over = |number| Write::RemoveWill { session, number: WillNumber(number) };
    let (first, second) = (message("wills/a", "first"), message("wills/a", "second"));
    {
        let mut rig = Rig::at(&place);
        assert_eq!(rig.recovered.wills, []);
        rig.commit(vec![put_session(1, "one"), will(2, &first), will(3, &first)]);
        rig.commit(vec![put_session(1, "one"), will(5_000, &second), will(5_001, &first)]);
        rig.commit(vec![over(5_001)]);
        rig.commit(vec![Write::RemoveSession { number: session }, over(3)]);
    }
    let found = |number, message: &Arc<Message>| RecoveredWill {
        session,
        number: WillNumber(number),
        message: Arc::clone(message),
    };
    let mut rig = Rig::at(&place);
    assert_eq!(rig.recovered.wills, [found(2, &first), found(5_000, &second)]);
    assert!(rig.recovered.next_number > SessionNumber(5_001), "no number is given twice");
    rig.commit(vec![over(2), over(5_000)]);
    drop(rig);
    assert_eq!(Rig::at(&place).recovered.wills, []);
}

fn what_may_have_been_sent_before_a_crash_is_told<P: Place>() {
    let place = P::default();
    let stopped = |client_id, sent_to| SessionRecord {
        disconnected_at: Some(WallMillis(99)),
        sent_to: Position(sent_to),
        ..record(client_id)
    };
    let put_record = |number, record| Write::PutSession {
        number: SessionNumber(number),
        record: Box::new(record),
    };
    let places = |numbers: &[u64], first: u64| -> Vec<Write> {
        let message = message("a", "x");
        let put_all = |&number: &u64| (first..first + 9).map(move |at| (number, at));
        numbers.iter().flat_map(put_all).map(|(number, at)| put(number, at, &message)).collect()
    };
    {
        let mut rig = Rig::at(&place);
        rig.commit(vec![
            put_session(1, "nothing received"),
            put_session(2, "received in between"),
            put_session(3, "received behind"),
            put_record(4, SessionRecord { sent_to: Position(18), ..record("sent before") }),
            put_record(5, stopped("gone", 11)),
            put_record(6, stopped("gone before it was sent any", 0)),
            put_session(7, "owed nothing"),
        ]);
        rig.commit(places(&[1, 2, 3, 4, 5, 6], 10));
        // Received messages are outside the window, and so are gaps.
        rig.commit(vec![remove(1, 11), release(2, 11), release(2, 13), release(3, 17)]);
    }
    let rig = Rig::opened(&place, Opening { inflight_max: 3, ..unlimited() });
    let sent_to: Vec<u64> = (1..=7).map(|number| rig.session(number).outbox.sent_to.0).collect();
    assert_eq!(sent_to, [14, 15, 18, 18, 11, 0, 0]);
}

fn what_was_removed_stays_away<P: Place>() {
    let place = P::default();
    let number = SessionNumber(1);
    let filter = TopicFilter::parse("a", 8).unwrap();
    {
        let mut rig = Rig::at(&place);
        let retained = rig.retain(&message("r", "x"));
        rig.commit(vec![
            put_session(1, "one"),
            subscribe(1, "a", SubscriptionOptions::default()),
            put(1, 1, &message("a", "x")),
            Write::PutExactlyOnce { number, packet_id: 1 },
            retained,
        ]);
        let removed = rig.retain(&message("r", ""));
        rig.commit(vec![
            Write::RemoveSubscription { number, filter },
            remove(1, 1),
            Write::RemoveExactlyOnce { number, packet_id: 1 },
            removed,
        ]);
    }
    let rig = Rig::at(&place);
    assert_eq!(rig.retained(), []);
    let one = rig.session(1);
    assert!(one.subscriptions.is_empty() && one.exactly_once.is_empty());
    assert_eq!(one.outbox, OutboxSummary::default());
}

fn a_removed_session_leaves_nothing<P: Place>() {
    let place = P::default();
    let number = SessionNumber(1);
    let large = message("a", vec![1; 10_000]);
    {
        let mut rig = Rig::at(&place);
        let puts = (0..500).map(|position| put(1, position, &message("a", "x")));
        rig.commit(
            [put_session(1, "one"), put_session(2, "two")].into_iter().chain(puts).collect(),
        );
        rig.commit(vec![
            subscribe(1, "a", SubscriptionOptions::default()),
            put(1, 500, &large),
            put(2, 1, &large),
            Write::PutExactlyOnce { number, packet_id: 1 },
        ]);
        // In the same group as another change of the session.
        rig.commit(vec![put(1, 501, &large), Write::RemoveSession { number }]);
        assert_eq!(rig.outbox(1), []);
        assert_eq!(rig.outbox(2).len(), 1);
        rig.commit(vec![Write::RemoveSession { number: SessionNumber(2) }]);
    }
    let rig = Rig::at(&place);
    assert!(rig.recovered.sessions.is_empty());
    assert!(rig.recovered.next_number > SessionNumber(2), "numbers are not given out again");
}

/// Its removal failed, and its client has used it again.
fn an_id_that_is_there_already_is_removed_in_the_group_that_puts_it<P: Place>() {
    let place = P::default();
    let (number, packet_id) = (SessionNumber(1), 7);
    {
        let mut rig = Rig::at(&place);
        rig.commit(vec![put_session(1, "one"), Write::PutExactlyOnce { number, packet_id }]);
        rig.commit(vec![
            Write::PutExactlyOnce { number, packet_id },
            Write::RemoveExactlyOnce { number, packet_id },
        ]);
    }
    assert!(Rig::at(&place).session(1).exactly_once.is_empty());
}

fn pages_are_limited_and_say_where_to_go_on<P: Place>() {
    let place = P::default();
    let mut rig = Rig::at(&place);
    let puts = (0..10).map(|position| put(1, 2 * position, &message("a", vec![0; 99])));
    rig.commit(
        [put_session(1, "one"), put(2, 0, &message("a", "other"))]
            .into_iter()
            .chain(puts)
            .collect(),
    );
    let positions =
        |page: &Page| page.entries.iter().map(|(position, _)| position.0).collect::<Vec<_>>();
    let page = rig.page(1, 3, PageLimit { messages: 2, bytes: u64::MAX });
    assert_eq!((positions(&page), page.next), (vec![4, 6], Some(Position(8))));
    let page = rig.page(1, 3, PageLimit { messages: 9, bytes: 3 * OWN_BYTES + 250 });
    assert_eq!((positions(&page), page.next), (vec![4, 6, 8], Some(Position(10))));
    let page = rig.page(1, 0, PageLimit { messages: 9, bytes: 1 });
    assert_eq!((positions(&page), page.next), (vec![0], Some(Position(2))));
    let page = rig.page(1, 18, PageLimit { messages: 1, bytes: 1 });
    assert_eq!((positions(&page), page.next), (vec![18], None));
    let page = rig.page(1, 19, PageLimit { messages: 1, bytes: 1 });
    assert_eq!(page, Page::default());
    assert_eq!(rig.counter(|c| &c.pages), 5);
}

fn a_page_shows_what_was_queued_before_it<P: Place>() {
    let place = P::default();
    let mut rig = Rig::at(&place);
    rig.commit(vec![put_session(1, "one")]);
    for position in 0..100 {
        let put = rig.queue(vec![put(1, position, &message("a", "x"))]);
        rig.store.read_outbox(
            SessionNumber(1),
            Position(position),
            PageLimit { messages: 1, bytes: 1 },
            put + 1,
        );
        rig.next_token += 1;
        assert!(matches!(rig.wait(put), Outcome::Committed));
        let Outcome::Page(page) = rig.wait(put + 1) else { panic!("no page") };
        assert_eq!(page.entries[0].0, Position(position));
    }
}

fn a_request_without_changes_is_a_barrier<P: Place>() {
    let place = P::default();
    let mut rig = Rig::at(&place);
    rig.commit(vec![]);
    assert_eq!(rig.counter(|c| &c.groups), 0);
}

fn what_is_queued_at_a_stop_is_written<P: Place>() {
    let place = P::default();
    {
        let mut rig = Rig::at(&place);
        rig.queue(vec![put_session(1, "one")]);
        for position in 0..1_000 {
            rig.queue(vec![put(1, position, &message("a", "x"))]);
        }
    }
    assert_eq!(Rig::at(&place).session(1).outbox.messages, 1_000);
}

fn of_two_sessions_with_one_client_identifier_the_younger_is_kept<P: Place>() {
    let place = P::default();
    {
        let mut rig = Rig::at(&place);
        rig.commit(vec![put_session(3, "same"), put(3, 1, &message("a", vec![0; 5_000]))]);
        rig.commit(vec![put_session(9, "same"), put_session(4, "other")]);
    }
    {
        let rig = Rig::at(&place);
        let numbers: Vec<_> = rig.recovered.sessions.iter().map(|s| s.number.0).collect();
        assert_eq!(numbers, [4, 9]);
    }
    assert_eq!(Rig::at(&place).outbox(3), [], "what belonged to it is removed");
}

fn an_ended_session_stays_beside_a_younger_one_of_its_client<P: Place>() {
    let place = P::default();
    {
        let mut rig = Rig::at(&place);
        let ended = SessionRecord { expiry_secs: 0, ..record("same") };
        rig.commit(vec![put_session(2, "same"), put(3, 1, &message("a", "left to its group"))]);
        let number = SessionNumber(3);
        rig.commit(vec![Write::PutSession { number, record: Box::new(ended) }]);
        rig.commit(vec![put_session(9, "same")]);
    }
    let mut rig = Rig::at(&place);
    let numbers: Vec<_> = rig.recovered.sessions.iter().map(|s| s.number.0).collect();
    assert_eq!(numbers, [3, 9]);
    assert_eq!(rig.outbox(3).len(), 1, "it is given away yet");
}

fn what_belongs_to_no_session_is_removed_at_a_start<P: Place>() {
    let place = P::default();
    {
        let mut rig = Rig::at(&place);
        rig.commit(vec![
            put_session(5, "five"),
            put(1, 1, &message("a", "x")),
            put(6, 1, &message("a", vec![0; 5_000])),
            put(5, 1, &message("a", "x")),
            subscribe(2, "a", SubscriptionOptions::default()),
        ]);
    }
    let mut rig = Rig::at(&place);
    assert_eq!(rig.recovered.sessions.len(), 1);
    assert_eq!(rig.session(5).outbox.messages, 1);
    assert_eq!((rig.outbox(1), rig.outbox(6)), (vec![], vec![]));
}

fn the_longest_of_everything_is_kept<P: Place>() {
    let place = P::default();
    let longest = "x".repeat(65_535);
    let topic = TopicName::parse(&longest, 1).unwrap();
    let body = Arc::new(Message { topic, ..Message::clone(&message("a", "x")) });
    {
        let mut rig = Rig::at(&place);
        let retained = rig.retain(&body);
        rig.commit(vec![
            put_session(1, &longest),
            subscribe(1, &longest, SubscriptionOptions::default()),
            retained,
            put(1, u64::MAX - 1, &body),
        ]);
    }
    let mut rig = Rig::at(&place);
    assert_eq!(rig.retained(), [Arc::clone(&body)]);
    assert_eq!(&*rig.session(1).record.client_id, longest);
    assert_eq!(rig.session(1).subscriptions[0].filter.as_str(), longest);
    assert_eq!(rig.outbox(1), [(u64::MAX - 1, Stored::Entry(entry(&body)))]);
}
