//! What a topic keeps.

use std::sync::Arc;

use super::super::message::Message;

/// A retained message, and its publisher.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The message.
    pub message: Arc<Message>,
    /// The client id of its publisher, where that is known: a subscription that does not want its
    /// own client's messages passes it by (No Local, [MQTT-3.8.3-3]).
    pub publisher: Option<Arc<str>>,
}
