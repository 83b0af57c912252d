//! What a client subscribes to and unsubscribes from, as its packets say it, less what nobody may
//! subscribe to. The shard decides whether there is room for them.

use super::super::codec::Reason;
use crate::access::{Denied, Policy, Subject};
use crate::broker::{SubscriptionOptions, TopicFilter};

/// A SUBSCRIBE.
#[derive(Debug)]
pub struct Subscribe {
    /// Its packet id.
    pub packet_id: u16,
    /// In the packet's order; `Err` carries the reason already found.
    pub entries: Vec<Result<SubscribeEntry, Reason>>,
    /// How many of them the policy has refused.
    pub denied: u32,
}

/// One valid entry of a SUBSCRIBE.
#[derive(Debug)]
pub struct SubscribeEntry {
    /// The filter.
    pub filter: TopicFilter,
    /// The options.
    pub options: SubscriptionOptions,
}

/// An UNSUBSCRIBE.
#[derive(Debug)]
pub struct Unsubscribe {
    /// Its packet id.
    pub packet_id: u16,
    /// In the packet's order.
    pub filters: Vec<Result<TopicFilter, Reason>>,
}

impl Subscribe {
    /// Gives a bridge of mosquitto's what MQTT 5 bridges ask for by options: messages keep the RETAIN
    /// flag they were published with, so that the broker behind it retains them, too, and its own do
    /// not come back to it.
    pub(super) fn suit_bridge(&mut self) {
        for entry in self.entries.iter_mut().flatten() {
            entry.options.retain_as_published = true;
            // A shared message goes to one of its members, whoever published it [MQTT-3.8.3-4].
            entry.options.no_local = !entry.filter.is_shared();
        }
    }

    /// Refuses the entries that the policy does not allow. Where it is not the client that is denied a filter, but
    /// everybody, that is an unspecified error (\[MQTT5 3.9.3\], \[MQTT-3.9.3-2\]).
    pub(super) fn deny(&mut self, policy: &Policy, subject: Subject<'_>) {
        for entry in &mut self.entries {
            let Ok(SubscribeEntry { filter, .. }) = entry else { continue };
            let reason = match policy.subscribe(filter, subject) {
                Ok(()) => continue,
                Err(Denied::Everybody) => Reason::UnspecifiedError,
                Err(Denied::Subject) => Reason::NotAuthorized,
            };
            *entry = Err(reason);
            self.denied += 1;
        }
    }
}
