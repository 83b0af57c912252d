//! The options and the identifier of a subscription.

use std::num::NonZeroU32;

use super::message::QoS;

/// The highest subscription identifier [MQTT5 3.8.2.1.2].
pub const SUBSCRIPTION_ID_MAX: u32 = 268_435_455;

/// A subscription identifier: 1 to 268,435,455, chosen by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(NonZeroU32);

impl SubscriptionId {
    /// `None`: out of range.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).filter(|_| number <= SUBSCRIPTION_ID_MAX).map(Self)
    }

    /// The number.
    pub fn value(self) -> u32 {
        self.0.get()
    }
}

/// The options that a client asked for with a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// The highest QoS of a delivery.
    pub qos: QoS,
    /// MQTT 5: do not deliver what this session published itself.
    pub no_local: bool,
    /// MQTT 5: keep the RETAIN flag as published.
    pub retain_as_published: bool,
    /// MQTT 5: 0 send retained at subscribe, 1 only for a new subscription, 2 never.
    pub retain_handling: u8,
    /// MQTT 5: the identifier to send with every message of the subscription.
    pub id: Option<SubscriptionId>,
}

#[cfg(test)]
mod tests;
