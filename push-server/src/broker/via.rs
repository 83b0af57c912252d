//! The subscriptions by which a message came to a session: what the session needs to tell its
//! client.

use std::sync::Arc;

use super::held::Held;
use super::memory::MemoryBudget;
use super::message::{ALLOCATION_BYTES, COUNTS_BYTES};
use super::shares::Group;
use super::subscription::SubscriptionId;

/// Bytes that this many identifiers of one delivery weigh: a list that has grown to that length. A
/// single one lies in the delivery itself.
pub fn subscription_ids_weight_bytes(ids: usize) -> usize {
    if ids < 2 {
        return 0;
    }
    let list_bytes = COUNTS_BYTES + size_of::<SubscriptionIds>();
    list_bytes + 2 * ALLOCATION_BYTES + 2 * size_of::<SubscriptionId>() * ids
}

/// Several identifiers of one delivery. Messages that came by the same subscriptions share them in
/// their session's outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionIds {
    pub(super) list: Vec<SubscriptionId>,
    held: Held,
}

impl From<Vec<SubscriptionId>> for SubscriptionIds {
    fn from(list: Vec<SubscriptionId>) -> Self {
        Self { list, held: Held::default() }
    }
}

impl SubscriptionIds {
    fn weight_bytes(&self) -> usize {
        subscription_ids_weight_bytes(self.list.len())
    }
}

/// The subscriptions by which a message comes to a session. Only several identifiers need an
/// allocation, which only overlapping filters bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// Subscriptions of the session's own, of which at most one has an identifier.
    Own(Option<SubscriptionId>),
    /// Several with identifiers, which may repeat: all go into the PUBLISH, in any order
    /// [MQTT-3.3.4-4].
    Several(Arc<SubscriptionIds>),
    /// A shared subscription of this group, with its identifier for this member. It makes a
    /// delivery of its own, whatever else the session subscribed to.
    Share(Arc<Group>, Option<SubscriptionId>),
}

impl Default for Via {
    fn default() -> Self {
        Self::Own(None)
    }
}

impl From<Option<SubscriptionId>> for Via {
    fn from(id: Option<SubscriptionId>) -> Self {
        Self::Own(id)
    }
}

impl FromIterator<SubscriptionId> for Via {
    fn from_iter<I: IntoIterator<Item = SubscriptionId>>(ids: I) -> Self {
        let mut via = Self::default();
        ids.into_iter().for_each(|id| via.add(Some(id)));
        via
    }
}

impl Via {
    /// The identifiers to send with the message.
    pub fn ids(&self) -> &[SubscriptionId] {
        match self {
            Self::Own(id) | Self::Share(_, id) => id.as_slice(),
            Self::Several(ids) => &ids.list,
        }
    }

    /// Bytes that the identifiers weigh in an outbox.
    pub fn weight_bytes(&self) -> usize {
        subscription_ids_weight_bytes(self.ids().len())
    }

    /// Shares the list of `other` if both have the same identifiers.
    pub(crate) fn share_ids(&mut self, other: &Self) {
        if let (Self::Several(ids), Self::Several(others)) = (&*self, other)
            && ids == others
        {
            *self = Self::Several(Arc::clone(others));
        }
    }

    /// An outbox holds the message; the list counts once, however many messages share it.
    pub(crate) fn enter_outbox(&self, memory: &Arc<MemoryBudget>) {
        if let Self::Several(ids) = self {
            ids.held.enter(|| ids.weight_bytes(), memory);
        }
    }

    /// The outbox holds the message no longer.
    pub(crate) fn leave_outbox(&self) {
        if let Self::Several(ids) = self {
            ids.held.leave(|| ids.weight_bytes());
        }
    }

    /// The group, if the message came by a shared subscription.
    pub fn group(&self) -> Option<&Arc<Group>> {
        match self {
            Self::Share(group, _) => Some(group),
            Self::Own(_) | Self::Several(_) => None,
        }
    }

    /// Another subscription of the session's own matches.
    pub(super) fn add(&mut self, other: Option<SubscriptionId>) {
        let Some(other) = other else { return };
        match self {
            Self::Own(id @ None) => *id = Some(other),
            Self::Own(Some(id)) => *self = Self::Several(Arc::new(vec![*id, other].into())),
            Self::Several(ids) => Arc::make_mut(ids).list.push(other),
            Self::Share(..) => debug_assert!(false, "shared subscriptions are not merged"),
        }
    }
}

#[cfg(test)]
mod tests;
