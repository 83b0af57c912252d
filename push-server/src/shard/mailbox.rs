//! How shards talk: a bounded mailbox each, woken once per batch. Publishes wait before
//! a full one, each with its session's turn (`fanout`); so do those of a session that has too many
//! letters under way (`postage`). What cannot wait (a connection, a message for a group that its
//! member refused) waits in the sender's overflow, of which there is no more than what it takes the
//! place of. Nothing is lost, and nothing can deadlock, since mail itself is always taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::ArrayQueue;
use push_common::clock::Monotonic;

use super::client::Introduction;
use super::connect_order::ConnectNumber;
use super::fair_queue::Flow;
use super::postage::Stamp;
use super::share::SharedMail;
use super::ticket::Ticket;
use crate::broker::{Holder, Message};
use crate::mqtt::Connecting;
use crate::websocket::WebSocket;

/// Messages a mailbox holds; beyond it senders pause their publishers (`limit="mailbox"`).
pub(crate) const MAILBOX_MESSAGES_MAX: usize = 16_384;

/// What one shard has to say to another.
#[derive(Debug)]
pub(super) enum Mail<S> {
    /// A message that some session of the receiving shard is subscribed to.
    Publish(Letter),
    /// A message for one session of the receiving shard, picked from a group.
    Share(Box<SharedMail>),
    /// A client whose session lives with the receiving shard.
    Adopt(Box<Adoption<S>>),
    /// A session that nobody has used is to end; `Some`: one whose end makes room in this newcomer's shares.
    GiveWay(Option<Holder>),
}

/// A publish that goes on at another shard.
#[derive(Debug)]
pub(super) struct Letter {
    /// Whose work it is.
    pub(super) flow: Flow,
    pub(super) message: Arc<Message>,
    /// The write that it is part of.
    pub(super) ticket: Option<Arc<Ticket>>,
    pub(super) stamp: Stamp,
}

/// A socket on its way to its session's shard, with the CONNECT it sent. Nothing was sent on it, and
/// no ring operation is under way.
#[derive(Debug)]
pub(super) struct Adoption<S> {
    pub(super) socket: S,
    pub(super) arrival: Arrival,
    /// With what it still owes to the client.
    pub(super) websocket: Option<Box<WebSocket>>,
    pub(super) last_seen: Monotonic,
    pub(super) connect_number: ConnectNumber,
}

/// How far it had come.
#[derive(Debug)]
pub(super) enum Arrival {
    /// It may come in.
    Admitted(Connecting),
    /// It has to say who it is, and is not told so yet.
    Questioned(Introduction),
}

/// A shard's inbox.
#[derive(Debug)]
pub(super) struct Mailbox<S> {
    queue: ArrayQueue<Mail<S>>,
    /// Whether a wake-up is on its way; spares one per message.
    notified: AtomicBool,
}

impl<S> Mailbox<S> {
    pub(super) fn new() -> Self {
        Self::with_room(MAILBOX_MESSAGES_MAX)
    }

    /// Holds so many messages.
    pub(super) fn with_room(messages_max: usize) -> Self {
        Self { queue: ArrayQueue::new(messages_max), notified: AtomicBool::new(false) }
    }

    /// Puts `mail` in. `Ok(true)`: the owner must be woken.
    pub(super) fn push(&self, mail: Mail<S>) -> Result<bool, Mail<S>> {
        self.queue.push(mail)?;
        Ok(!self.notified.swap(true, Ordering::AcqRel))
    }

    /// To be called by the owner before it drains: whatever is pushed after this wakes it again.
    pub(super) fn begin_drain(&self) {
        self.notified.swap(false, Ordering::AcqRel);
    }

    pub(super) fn pop(&self) -> Option<Mail<S>> {
        self.queue.pop()
    }

    pub(super) fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::postage::Postage;
    use super::*;
    use crate::broker::{Held, QoS, TopicName};
    use crate::store::SessionNumber;

    fn mail() -> Mail<()> {
        let message = Message {
            topic: TopicName::parse("a", 1).expect("valid"),
            payload: Bytes::new(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: None,
            expires_at: None,
            held: Held::default(),
        };
        let flow = Flow::session(0, SessionNumber(0).into());
        let stamp = Postage::default().stamp(flow, 1).expect("the first one");
        Mail::Publish(Letter { flow, message: Arc::new(message), ticket: None, stamp })
    }

    #[test]
    fn only_the_first_push_of_a_batch_wakes() {
        let mailbox = Mailbox::new();
        assert!(mailbox.push(mail()).expect("room"));
        assert!(!mailbox.push(mail()).expect("room"));
        mailbox.begin_drain();
        assert!(mailbox.push(mail()).expect("room"), "a push after the drain began wakes again");
        assert_eq!(std::iter::from_fn(|| mailbox.pop()).count(), 3);
    }

    #[test]
    fn full_mailbox_gives_the_mail_back() {
        let mailbox = Mailbox::new();
        for _ in 0..MAILBOX_MESSAGES_MAX {
            mailbox.push(mail()).expect("room");
        }
        assert!(mailbox.push(mail()).is_err());
    }
}
