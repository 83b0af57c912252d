//! The will: a message that the server publishes when a client goes without DISCONNECT
//! [MQTT-3.1.2-8].

use push_common::clock::Monotonic;

use crate::broker::{Charge, Message};

/// A will.
#[derive(Debug)]
pub struct Will {
    /// The message to publish.
    pub message: Message,
    /// Seconds between the connection's end and the publish; 0 in 3.1.1.
    pub delay_secs: u32,
    /// The message expiry interval in seconds. It begins when the will is published [MQTT5
    /// 3.1.3.2.4]; until then `message.expires_at` is `None`.
    pub message_expiry_secs: Option<u32>,
    /// Its share of the total of all wills, once the will is accepted.
    pub charge: Option<Charge>,
}

/// The will of a client that has gone. It waits until its delay has passed or its session ends; a
/// new connection of the session cancels it [MQTT-3.1.3-9].
#[derive(Debug)]
pub struct PendingWill {
    /// The will to publish.
    pub will: Will,
    /// When to publish it, if the session does not end before.
    pub publish_at: Monotonic,
}

impl Will {
    /// The message to publish at `now`.
    pub fn into_message(self, now: Monotonic) -> Message {
        let expires_at =
            self.message_expiry_secs.map(|secs| now.after_millis(u64::from(secs) * 1_000));
        Message { expires_at, ..self.message }
    }

    /// The connection ended at `now`, and its session goes on.
    pub fn pending(self, now: Monotonic) -> PendingWill {
        let publish_at = now.after_millis(u64::from(self.delay_secs) * 1_000);
        PendingWill { will: self, publish_at }
    }
}
