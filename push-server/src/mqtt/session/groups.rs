//! Messages that came by a shared subscription, and that a session leaves to other members of the group.

use std::sync::Arc;

use super::super::delivery::Delivery;
use super::super::outbox::{Left, Outbox};
use super::Session;
use crate::broker::{MemoryBudget, QoS, TopicFilter};

impl Session {
    /// Leaves to others, in their order, the messages of QoS 1 and 2 that came by a shared subscription
    /// which `which` names, as far as another member may have them: those never sent, and, if the
    /// session `ends`, those of QoS 1 sent and not acknowledged. What was sent at QoS 2 no other
    /// member may have [MQTT-4.8.2-5].
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

    /// It has unsubscribed from a group. Messages of that which are on disk alone stay there until the
    /// session ends, or sends them.
    pub fn leaves_group(&mut self) {
        self.has_left_groups |= self.outbox.is_some();
    }

    /// Whether its outbox may hold messages of groups: of those that it is in, or has left.
    pub fn may_owe_groups(&self) -> bool {
        self.has_left_groups || self.subscriptions.has_shared()
    }

    /// What it leaves to other members of its groups, if anything.
    pub fn left_mut(&mut self) -> Option<&mut Left> {
        self.outbox.as_deref_mut()?.left_mut()
    }

    /// Whether any of that waits to be offered to them.
    pub fn has_left(&mut self) -> bool {
        self.left_mut().is_some_and(|left| !left.is_empty())
    }

    /// The same, to outlive the session, which ends; its places count against `memory` from now on.
    pub fn take_left(&mut self, memory: &Arc<MemoryBudget>) -> Left {
        let left = self.outbox.as_deref_mut().and_then(Outbox::take_left);
        let mut left = left.map_or_else(Left::default, |left| *left);
        left.charge(memory);
        self.tidy();
        left
    }

    /// Forgets what it left if all of that is safe elsewhere.
    pub fn tidy_left(&mut self) {
        if let Some(outbox) = self.outbox.as_deref_mut() {
            outbox.tidy_left();
        }
        self.tidy();
    }
}
