//! A topic's retained message.

use std::sync::Arc;

use super::super::message::Message;

/// A retained message, and its publisher.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The message.
    pub message: Arc<Message>,
    /// The client id of its publisher, if known. A subscription with No Local skips its own
    /// client's messages [MQTT-3.8.3-3].
    pub publisher: Option<Arc<str>>,
}
