use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::broker::{
    Held, Holder, Member, MemoryBudget, Message, QoS, SubscriptionOptions, TopicFilter, TopicName,
};
use crate::store::StoredSubscription;

const NUMBER: SessionNumber = SessionNumber(7);
const CLOCKS: Clocks =
    Clocks { monotonic: Monotonic(5_000_000_000), wall: WallMillis(1_700_000_000_000) };

fn qualities() -> impl Strategy<Value = QoS> {
    prop::sample::select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn message() -> impl Strategy<Value = Message> {
    ("[a-z]{1,9}", prop::collection::vec(any::<u8>(), 0..40), qualities(), any::<bool>()).prop_map(
        |(topic, payload, qos, retain)| Message {
            topic: TopicName::parse(&topic, 8).unwrap(),
            payload: Bytes::from(payload),
            qos,
            retain,
            properties: None,
            expires_at: None,
            held: Held::default(),
        },
    )
}

/// Groups that some deliveries come by.
fn shares() -> Shares {
    let shares = Shares::default();
    let member = Member { shard: 0, session: 1 };
    shares.join(&group_filter(), member, SubscriptionOptions::default(), true);
    shares
}

fn group_filter() -> TopicFilter {
    TopicFilter::parse("$share/g/#", 8).unwrap()
}

fn ids() -> impl Strategy<Value = Vec<SubscriptionId>> {
    prop::collection::vec(
        (1_u32..=268_435_455).prop_map(|id| SubscriptionId::new(id).unwrap()),
        0..5,
    )
}

fn deliveries(shares: &Shares) -> impl Strategy<Value = Delivery> + use<> {
    let group = shares.find(&group_filter()).unwrap();
    let via = (ids(), any::<bool>()).prop_map(move |(ids, is_shared)| {
        if is_shared {
            Via::Share(Arc::clone(&group), ids.first().copied())
        } else {
            ids.into_iter().collect()
        }
    });
    (message(), qualities(), any::<bool>(), via).prop_map(|(message, qos, retain, via)| Delivery {
        message: Arc::new(message),
        qos,
        retain,
        via,
    })
}

fn assert_same(found: &Delivery, put: &Delivery) {
    assert!(Arc::ptr_eq(&found.message, &put.message), "bodies are shared");
    assert_eq!((found.qos, found.retain), (put.qos, put.retain));
    let group = |delivery: &Delivery| delivery.via.group().map(|group| group.filter().clone());
    assert_eq!((group(found), found.via.ids()), (group(put), &*sorted_ids(put)));
}

/// The identifiers of a delivery, in the order in which they come from the disk.
fn sorted_ids(delivery: &Delivery) -> Vec<SubscriptionId> {
    let mut ids = delivery.via.ids().to_vec();
    ids.sort_unstable_by_key(|id| id.value());
    ids
}

fn wills() -> impl Strategy<Value = Will> {
    (message(), any::<u32>(), any::<Option<u32>>()).prop_map(
        |(message, delay_secs, message_expiry_secs)| Will {
            message,
            delay_secs,
            message_expiry_secs,
            charge: None,
        },
    )
}

fn charge() -> Charge {
    MemoryBudget::new(u64::MAX).charge_anyway(Holder::NOBODY, 1)
}

fn found(record: SessionRecord, outbox: OutboxSummary) -> RecoveredSession {
    RecoveredSession {
        number: NUMBER,
        record,
        subscriptions: Vec::new(),
        exactly_once: Vec::new(),
        outbox,
    }
}

proptest! {
    #[test]
    fn a_message_comes_out_of_an_outbox_as_it_went_in(
        put in deliveries(&shares()),
        queued_at in any::<u32>(),
        waited in any::<bool>(),
    ) {
        let shares = shares();
        let queued_at = WallMillis(queued_at.into());
        let oldest = WallMillis(queued_at.0 + u64::from(waited));
        let entry = outbox_entry(&put, queued_at);
        prop_assert_eq!(entry.queued_at, queued_at);
        match (fetched(Stored::Entry(entry), oldest, &shares), waited) {
            (Fetched::Message(found), false) | (Fetched::Stale(found), true) => {
                assert_same(&found, &put);
            }
            (other, _) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_of_a_group_that_is_gone_is_the_sessions_own(put in deliveries(&shares())) {
        let found = delivery(outbox_entry(&put, WallMillis(0)), &Shares::default());
        prop_assert!(found.via.group().is_none());
        prop_assert_eq!(found.via.ids(), sorted_ids(&put));
    }

    #[test]
    fn a_session_comes_back_with_its_record(
        client_id in ".{1,20}",
        user in proptest::option::of(".{1,9}"),
        expiry_secs: u32,
        (sent_to, messages, bytes) in (0..u64::MAX / 2, 1_u32..1_000, any::<u32>()),
    ) {
        let mut session =
            Session::durable(&client_id, expiry_secs).of_user(user.as_deref());
        session.recover(None, sent_to, &[]);
        let record = session_record(&session, Some(WallMillis(9)), None);
        let outbox = OutboxSummary {
            first: Position(sent_to),
            next: Position(sent_to + u64::from(messages)),
            messages,
            sent_to: record.sent_to,
            bytes: bytes.into(),
            ..OutboxSummary::default()
        };
        let (again, kept) = found_session(found(record.clone(), outbox));
        prop_assert_eq!(&kept, &record);
        prop_assert_eq!(session_record(&again, Some(WallMillis(9)), None), record);
        prop_assert_eq!(again.owed(), messages as usize);
    }

    #[test]
    fn a_will_that_waits_keeps_its_time(will in wills(), ahead_millis in any::<u32>()) {
        let publish_at = CLOCKS.monotonic.after_millis(ahead_millis.into());
        let pending = PendingWill { will, publish_at };
        let stored = stored_pending_will(&pending, CLOCKS);
        let again = pending_will(stored.clone(), Monotonic(0), CLOCKS, charge());
        prop_assert_eq!(again.publish_at, publish_at);
        prop_assert_eq!(stored_pending_will(&again, CLOCKS), stored);
    }

    #[test]
    fn the_delay_of_a_will_begins_with_the_start_after_a_crash(will in wills()) {
        let now = CLOCKS.monotonic;
        let stored = stored_will(&will);
        let again = pending_will(stored.clone(), now, CLOCKS, charge());
        prop_assert_eq!(again.publish_at, now.after_millis(u64::from(will.delay_secs) * 1_000));
        prop_assert_eq!(stored_will(&again.will), stored);
    }
}

#[test]
fn subscriptions_and_ids_that_are_taken_come_back() {
    let session = Session::durable("client", 60);
    let record = session_record(&session, None, None);
    let options = SubscriptionOptions { qos: QoS::ExactlyOnce, ..SubscriptionOptions::default() };
    let filter = group_filter();
    let found = RecoveredSession {
        subscriptions: vec![StoredSubscription { filter: filter.clone(), options }],
        exactly_once: vec![300, 7],
        ..found(record, OutboxSummary::default())
    };
    let (mut session, _) = found_session(found);
    assert!(session.subscriptions().contains(&filter));
    assert!(!session.has_outbox());
    let mut is_taken = |packet_id| session.routed_exactly_once(packet_id, true);
    assert_eq!([7, 8, 300].map(&mut is_taken), [true, false, true]);
}

#[test]
fn an_ended_session_is_nobodys() {
    let session = Session::durable("client", 60).of_user(Some("alice"));
    let SessionRecord { user, expiry_secs, will, client_id, .. } = ended_session_record(&session);
    assert_eq!((user, expiry_secs, will, &*client_id), (None, 0, None, "client"));
}
