//! The will: what the server publishes for a client that went without goodbye [MQTT-3.1.2-8].

use push_common::clock::Monotonic;

use crate::broker::Message;

/// A will. Its delay (MQTT 5) is kept; the server of today publishes at once.
#[derive(Clone, Debug)]
pub struct Will {
    /// What to publish.
    pub message: Message,
    /// How long after the connection's end, in seconds.
    pub delay_secs: u32,
    /// The message expiry interval, in seconds, which begins when the will is published
    /// [MQTT5 3.1.3.2.4]; until then `message.expires_at` is `None`.
    pub message_expiry_secs: Option<u32>,
}

impl Will {
    /// The message to publish at `now`.
    pub fn into_message(self, now: Monotonic) -> Message {
        let expires_at =
            self.message_expiry_secs.map(|secs| now.after_millis(u64::from(secs) * 1_000));
        Message { expires_at, ..self.message }
    }
}
