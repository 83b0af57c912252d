//! Messages that came by a shared subscription, and that the session leaves to other members of the
//! group.

use std::sync::Arc;

use super::super::delivery::Delivery;
use super::super::outbox::{Left, Outbox};
use super::Session;
use crate::broker::{MemoryBudget, QoS, TopicFilter};

impl Session {
    /// Leaves messages to other members, in order: those that came by a shared subscription which
    /// `which` selects and were never sent; if the session `ends`, also those sent at QoS 1 and not
    /// acknowledged. What was sent at QoS 2 no other member may get [MQTT-4.8.2-5].
    pub fn leave_shared(&mut self, ends: bool, mut which: impl FnMut(&TopicFilter) -> bool) {
        let Some(outbox) = self.outbox.as_deref_mut() else { return };
        let mut is_left =
            |delivery: &Delivery| delivery.via.group().is_some_and(|group| which(group.filter()));
        if ends {
            for owed in outbox.inflight.take_unacknowledged(&mut is_left) {
                outbox.leave(owed);
            }
        }
        let unsent =
            outbox.take_unsent(|delivery| delivery.qos != QoS::AtMostOnce && is_left(delivery));
        for owed in unsent {
            outbox.leave(owed);
        }
        self.tidy();
    }

    /// The session has unsubscribed from a group. Messages of the group that are only on disk stay
    /// there until the session sends them or ends.
    pub fn leaves_group(&mut self) {
        self.has_left_groups |= self.outbox.is_some();
    }

    /// Whether its outbox may hold messages of groups, those it has left included.
    pub fn may_owe_groups(&self) -> bool {
        self.has_left_groups || self.subscriptions.has_shared()
    }

    /// The messages that it leaves to other members, if any.
    pub fn left_mut(&mut self) -> Option<&mut Left> {
        self.outbox.as_deref_mut()?.left_mut()
    }

    /// Whether any of these waits to be offered.
    pub fn has_left(&mut self) -> bool {
        self.left_mut().is_some_and(|left| !left.is_empty())
    }

    /// Takes these out when the session ends. From now on their places count against `memory`.
    pub fn take_left(&mut self, memory: &Arc<MemoryBudget>) -> Left {
        let left = self.outbox.as_deref_mut().and_then(Outbox::take_left);
        let mut left = left.map_or_else(Left::default, |left| *left);
        left.charge(memory);
        self.tidy();
        left
    }

    /// Drops the list of messages left to others once all are safe elsewhere.
    pub fn tidy_left(&mut self) {
        if let Some(outbox) = self.outbox.as_deref_mut() {
            outbox.tidy_left();
        }
        self.tidy();
    }
}
