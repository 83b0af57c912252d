//! A full outbox on disk drops its oldest messages.

use super::*;

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
