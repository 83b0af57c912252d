//! How shards talk to each other: each has a bounded mailbox, and is woken once per batch. Publishes wait before a
//! full mailbox, each with its session's turn (`fanout`); so do those of a session with too many letters under way
//! (`postage`). Mail that must go at once (a connection, a message for a group that its member refused) waits in
//! the sender's overflow. Each piece of it stands for a connection or a letter, which are bounded. Nothing is lost,
//! and nothing can deadlock, since mail itself is always taken.
//!
//! The contents of mail are in `post/mail`.

mod mail;
mod mailbox;
mod moved;
mod postage;
mod shared_mail;

pub(super) use mail::{Adoption, Letter, Mail};
pub(crate) use mailbox::MAILBOX_MESSAGES_MAX;
pub(super) use mailbox::Mailbox;
pub(super) use moved::{Company, Moved};
pub(crate) use postage::LETTERS_MAX;
pub(super) use postage::Stamp;
pub(super) use shared_mail::SharedMail;

use std::collections::VecDeque;
use std::sync::Arc;

use super::agenda::Flow;
use super::counters::ShardCounters;
use super::ports::Wire;
use crate::broker::ShardSet;
use postage::Postage;

/// How many letters may wait for their turn at a shard; further ones wait in its mailbox.
const LETTERS_WAITING_MAX: usize = 16_384;

/// One shard's side of the mail, `M`: its own mailbox, and those of the others.
#[derive(Debug)]
pub(super) struct Post<M> {
    own: u16,
    /// Of every shard, in order.
    mailboxes: Arc<[Mailbox<M>]>,
    all_shards: ShardSet,
    /// Letters under way to other shards.
    postage: Postage,
    /// Mail that did not fit, by shard.
    overflow: Vec<VecDeque<M>>,
    /// Whether any mail waits in `overflow`.
    overflows: bool,
    /// Letters of other shards that wait for their turn here.
    letters: usize,
}

impl<M> Post<M> {
    /// Of the shard `own`; `mailboxes`: of every shard, in order.
    pub(super) fn new(own: u16, mailboxes: Arc<[Mailbox<M>]>) -> Self {
        let overflow = mailboxes.iter().map(|_| VecDeque::new()).collect();
        let all_shards = ShardSet::first(mailboxes.len());
        Self {
            own,
            mailboxes,
            all_shards,
            postage: Postage::default(),
            overflow,
            overflows: false,
            letters: 0,
        }
    }

    /// Every shard there is.
    pub(super) fn all_shards(&self) -> ShardSet {
        self.all_shards
    }

    /// Sends mail to another shard. If it does not fit, it waits here.
    pub(super) fn send(
        &mut self,
        shard: u16,
        mail: M,
        wire: &mut impl Wire,
        counters: &ShardCounters,
    ) {
        let waiting = &mut self.overflow[usize::from(shard)];
        if !waiting.is_empty() {
            waiting.push_back(mail);
            return;
        }
        match self.mailboxes[usize::from(shard)].push(mail) {
            Ok(wake) => {
                if wake {
                    wire.wake(shard);
                }
            }
            Err(mail) => {
                if !std::mem::replace(&mut self.overflows, true) {
                    counters.limit_mailbox.add(1);
                }
                waiting.push_back(mail);
            }
        }
    }

    /// Sends the mail that did not fit.
    pub(super) fn retry(&mut self, wire: &mut impl Wire, counters: &ShardCounters) {
        if !self.overflows {
            return;
        }
        for shard in 0..self.overflow.len() {
            for mail in std::mem::take(&mut self.overflow[shard]) {
                self.send(shard as u16, mail, wire, counters);
            }
        }
        self.overflows = self.overflow.iter().any(|mail| !mail.is_empty());
    }

    /// Whether mail waits that did not fit.
    pub(super) fn overflows(&self) -> bool {
        self.overflows
    }

    /// A stamp for a letter of `flow` to another shard, with a message of so many bytes, if that shard
    /// takes one now.
    pub(super) fn stamp(
        &mut self,
        shard: u16,
        flow: Flow,
        message_bytes: usize,
        counters: &ShardCounters,
    ) -> Option<Stamp> {
        let home = usize::from(shard);
        if self.mailboxes[home].is_full() || !self.overflow[home].is_empty() {
            counters.limit_mailbox.add(1);
            return None;
        }
        let stamp = self.postage.stamp(flow, message_bytes);
        if stamp.is_none() {
            counters.limit_letters.add(1);
        }
        stamp
    }

    /// Whether no mail of this shard's waits to be sent, and none of others' for its turn here.
    pub(super) fn is_quiet(&self) -> bool {
        !self.overflows && self.letters == 0
    }

    /// Whether no shard has mail in its mailbox.
    pub(super) fn is_nothing_under_way(&self) -> bool {
        self.mailboxes.iter().all(Mailbox::is_empty)
    }

    /// To be called before taking mail: mail sent afterwards wakes the shard again.
    pub(super) fn begin_reading(&self) {
        self.mailboxes[usize::from(self.own)].begin_drain();
    }

    /// Takes mail for this shard, unless too many letters wait already.
    pub(super) fn take(&self) -> Option<M> {
        if self.letters >= LETTERS_WAITING_MAX {
            return None;
        }
        self.mailboxes[usize::from(self.own)].pop()
    }

    /// Whether there is mail that would be taken now.
    pub(super) fn has_mail(&self) -> bool {
        self.letters < LETTERS_WAITING_MAX && !self.mailboxes[usize::from(self.own)].is_empty()
    }

    /// A letter was taken, and waits for its turn.
    pub(super) fn letter_waits(&mut self) {
        self.letters += 1;
    }

    /// A letter that waited is done.
    pub(super) fn letter_is_done(&mut self) {
        self.letters -= 1;
    }

    /// Forgets senders that have no letter under way. To be called now and then.
    pub(super) fn tidy(&mut self) {
        self.postage.tidy();
    }

    /// How much is left, by kind: nothing once every session and connection has ended.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn leftovers(&self) -> [(&'static str, usize); 2] {
        let overflow = self.overflow.iter().map(VecDeque::len).sum();
        [("mail that found no room", overflow), ("letters", self.letters)]
    }
}
