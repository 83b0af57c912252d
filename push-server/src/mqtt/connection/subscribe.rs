//! SUBSCRIBE and UNSUBSCRIBE as the shard gets them: entries that the policy denies are refused
//! already. The shard decides whether there is room for the rest.

use super::super::Limits;
use super::super::codec::Reason;
use crate::access::{Denied, Subject};
use crate::broker::{SubscriptionOptions, TopicFilter};

/// A SUBSCRIBE.
#[derive(Debug)]
pub struct Subscribe {
    /// Its packet id.
    pub packet_id: u16,
    /// In the packet's order. `Err`: why this entry is refused already.
    pub entries: Vec<Result<SubscribeEntry, Reason>>,
    /// How many entries the policy has refused.
    pub denied: u32,
    /// How many the client's rights have.
    pub allowed: u32,
    /// How many entries are refused for the length of their filters.
    pub too_long: u32,
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
    /// In the packet's order. `Err`: why this filter is refused.
    pub filters: Vec<Result<TopicFilter, Reason>>,
}

impl Subscribe {
    /// Gives the bridge of a mosquitto the options that MQTT 5 bridges ask for: messages keep the
    /// RETAIN flag that they were published with, so that the broker behind the bridge retains them
    /// too, and the bridge's own messages do not come back to it.
    pub(super) fn suit_bridge(&mut self) {
        for entry in self.entries.iter_mut().flatten() {
            entry.options.retain_as_published = true;
            // A shared message goes to one member of the group, its publisher included
            // [MQTT-3.8.3-4].
            entry.options.no_local = !entry.filter.is_shared();
        }
    }

    /// Refuses the entries whose filters are too long, and those that the policy denies. A filter
    /// denied to everybody is an unspecified error (\[MQTT5 3.9.3\], \[MQTT-3.9.3-2\]).
    pub(super) fn deny(&mut self, limits: &Limits, subject: Subject<'_>) {
        for entry in &mut self.entries {
            let Ok(SubscribeEntry { filter, .. }) = entry else { continue };
            if limits.is_too_long(filter.as_str()) {
                *entry = Err(Reason::TopicFilterInvalid);
                self.too_long += 1;
                continue;
            }
            let reason = match limits.policy.subscribe(filter, subject) {
                Ok(()) => {
                    self.allowed += u32::from(subject.rights.has_rules());
                    continue;
                }
                Err(Denied::Everybody) => Reason::UnspecifiedError,
                Err(Denied::Subject) => Reason::NotAuthorized,
            };
            *entry = Err(reason);
            self.denied += 1;
        }
    }
}
