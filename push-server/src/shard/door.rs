//! Doors: ways in from outside the shards. Any thread publishes a message through one, without ever waiting. The
//! door says when the message is as safe as a PUBACK says, or why it was not taken, and when each receiver has
//! acknowledged it. The push service, other nodes and HTTP come in this way.
//!
//! To its shard a door is what a client is. Its messages wait in it, in order, until its flow has a turn in the
//! fair queue: a door starves no client, and no client starves a door. It refuses at once what it has no room for.
//!
//! Slips (`broker/slip.rs`), in memory alone, tell which message an acknowledgement is for; they wait with the
//! receiver's session, over all its connections. A restart forgets them: the threads that waited for them have
//! ended with the process. The messages themselves are as durable as a client's, and still reach their receivers,
//! without a reply. A publisher that has to know across restarts keeps its own record of each message until the
//! reply has come, and after a restart publishes the recorded ones again.

mod doorway;
mod reply;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;

use super::journal::{Completions, Done};
use crate::broker::{Held, Message, MessageProperties, QoS, TopicName};
use crate::config::Config;
use crate::store::Outcome;
use doorway::WaitingMessage;

pub use doorway::DoorCounts;
pub(crate) use doorway::{DOOR_FOLLOWED_MAX, DOOR_MESSAGES_MAX};
pub(crate) use doorway::{Doorway, Entered};
pub use reply::{Refusal, Reply};

/// Doors that may be open at a time.
pub(crate) const DOORS_MAX: usize = 16;

/// A message to publish.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The topic's name.
    pub topic: String,
    /// The application's bytes.
    pub payload: Bytes,
    /// No receiver gets it at a higher QoS.
    pub qos: QoS,
    /// Whether its topic retains it.
    pub retain: bool,
    /// It is not delivered later than this after it was published.
    pub expiry: Option<Duration>,
    /// What MQTT 5 passes on with a message.
    pub properties: Option<MessageProperties>,
    /// Whether the door says when each receiver has acknowledged it.
    pub is_followed: bool,
}

impl Publication {
    /// A message with nothing optional.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>, qos: QoS) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos,
            retain: false,
            expiry: None,
            properties: None,
            is_followed: false,
        }
    }
}

/// The doors of all shards.
#[derive(Debug)]
pub struct Doors {
    config: Arc<Config>,
    completions: Arc<Vec<Completions>>,
    counts: Arc<DoorCounts>,
    next_number: AtomicU32,
    open: Mutex<OpenDoors>,
}

#[derive(Debug, Default)]
struct OpenDoors {
    doorways: Vec<Weak<Doorway>>,
    has_closed: bool,
}

/// Why a door could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DoorError {
    /// Too many are open.
    #[error("more than {DOORS_MAX} doors are open")]
    TooMany,
    /// The shards have stopped.
    #[error("the shards have stopped")]
    Stopped,
}

/// A way in. When it is dropped, the messages that it has taken are still published, and there is no reply.
#[derive(Debug)]
pub struct Door {
    doors: Arc<Doors>,
    doorway: Arc<Doorway>,
}

impl Doors {
    /// `completions`: how each shard is reached.
    pub(super) fn new(config: &Arc<Config>, completions: &Arc<Vec<Completions>>) -> Arc<Self> {
        Arc::new(Self {
            config: Arc::clone(config),
            completions: Arc::clone(completions),
            counts: Arc::default(),
            next_number: AtomicU32::new(0),
            open: Mutex::default(),
        })
    }

    /// Opens a door. Its messages keep their order, and go by one shard; those of another door may go by another
    /// shard.
    ///
    /// # Errors
    /// There are too many, or the shards have stopped.
    pub fn open(self: &Arc<Self>) -> Result<Door, DoorError> {
        let mut open = self.lock();
        if open.has_closed {
            return Err(DoorError::Stopped);
        }
        open.doorways.retain(|doorway| doorway.strong_count() > 0);
        if open.doorways.len() >= DOORS_MAX {
            return Err(DoorError::TooMany);
        }
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        // At most 64 shards, so the remainder fits.
        let home = (number as usize % self.completions.len()) as u16;
        let doorway = Arc::new(Doorway::new(number, home, Arc::clone(&self.counts)));
        open.doorways.push(Arc::downgrade(&doorway));
        Ok(Door { doors: Arc::clone(self), doorway })
    }

    /// How often limits of doors were reached.
    pub fn counts(&self) -> &Arc<DoorCounts> {
        &self.counts
    }

    /// The shards have stopped: every door says so, and takes nothing more.
    pub(super) fn close(&self) {
        let mut open = self.lock();
        open.has_closed = true;
        for doorway in open.doorways.drain(..).filter_map(|doorway| doorway.upgrade()) {
            doorway.close();
        }
    }

    /// A panic elsewhere leaves whole values behind.
    fn lock(&self) -> MutexGuard<'_, OpenDoors> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    /// Hands a message in, and returns the number that replies call it by. Never waits.
    ///
    /// # Errors
    /// It was not taken, and nothing more is said of it.
    pub fn publish(&self, publication: Publication) -> Result<u64, Refusal> {
        let (is_followed, expiry) = (publication.is_followed, publication.expiry);
        let message = self.parse(publication)?;
        let entered = self.doorway.enter(|number| {
            let bytes = message.weight_bytes();
            let entered = Entered::new(Arc::clone(&self.doorway), number, bytes, is_followed);
            (bytes, WaitingMessage { message, expiry, entered: Arc::new(entered) })
        })?;
        if entered.has_to_knock {
            let knock = (Done::Knock(Arc::clone(&self.doorway)), Outcome::Committed);
            self.doors.completions[usize::from(self.doorway.home())].push(&mut vec![knock]);
        }
        Ok(entered.number)
    }

    /// The next reply, if there is one.
    pub fn take(&self) -> Option<Reply> {
        self.doorway.take_reply()
    }

    /// The next reply; waits for it for at most `timeout`.
    pub fn wait(&self, timeout: Duration) -> Option<Reply> {
        self.doorway.wait_reply(timeout)
    }

    /// A door's message may be whatever a client's PUBLISH may be.
    fn parse(&self, publication: Publication) -> Result<Message, Refusal> {
        let limits = &self.doors.config.limits;
        let Publication { topic, payload, qos, retain, properties, .. } = publication;
        let topic = TopicName::parse(&topic, limits.topic_levels_max)?;
        if topic.is_hidden() {
            return Err(Refusal::TopicReserved);
        }
        if limits.is_too_long(topic.as_str()) {
            return Err(Refusal::TopicTooLong { bytes_max: limits.topic_bytes_max });
        }
        if properties.as_ref().is_some_and(|properties| !are_sound(properties)) {
            return Err(Refusal::Properties);
        }
        let properties = properties.map(Arc::new);
        let (expires_at, held) = (None, Held::default());
        let message = Message { topic, payload, qos, retain, properties, expires_at, held };
        let own_bytes = message.weight_bytes() - Message::OWN_BYTES;
        if own_bytes > limits.packet_bytes_max as usize {
            return Err(Refusal::TooLarge { bytes_max: limits.packet_bytes_max });
        }
        Ok(message)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.doorway.abandon();
    }
}

/// Whether a PUBLISH may have these properties. The type of user properties vouches for them.
fn are_sound(properties: &MessageProperties) -> bool {
    let fits = |bytes: usize| bytes <= usize::from(u16::MAX);
    let MessageProperties { payload_format, content_type, response_topic, .. } = properties;
    payload_format.is_none_or(|format| format <= 1)
        && content_type.as_ref().is_none_or(|text| fits(text.len()) && !text.contains('\0'))
        && response_topic.as_ref().is_none_or(|text| TopicName::parse_any_depth(text).is_ok())
        && properties.correlation_data.as_ref().is_none_or(|data| fits(data.len()))
}
