//! Shared subscriptions, as a shard takes part in them: a message goes to one member of each group,
//! and on to another when that one is gone, away, or cannot keep up.
//!
//! What is owed to a member that leaves (it unsubscribes, or its session ends) goes to another
//! [MQTT5 4.8.2]: messages never sent, and those of QoS 1 that were sent and not acknowledged. One
//! of QoS 2 that was sent stays with its session, or ends with it [MQTT-4.8.2-4] [MQTT-4.8.2-5];
//! one that was refused is over [MQTT-4.8.2-6]. A member that only lost its connection keeps what
//! it is owed until it is back.

use std::sync::Arc;

use super::client::Phase;
use super::fair_queue::Flow;
use super::mailbox::Mail;
use super::postage::Stamp;
use super::ticket::{Draft, Part, Ticket};
use super::worker::Worker;
use crate::broker::{Group, Member, Message, TopicFilter, Via};
use crate::mqtt::Delivery;

/// Members that one message may be refused by (`others` of its group being there) before it goes to
/// the next one whatever its state. Bounds how often it travels between shards.
const TRIES_MAX: u8 = 8;

/// A message for one member of a group, on its way to that member's shard.
#[derive(Debug)]
pub(super) struct SharedMail {
    message: Arc<Message>,
    group: Arc<Group>,
    session: u32,
    tries: u8,
    /// The write that it is part of.
    ticket: Option<Arc<Ticket>>,
    /// Whose work it is.
    flow: Flow,
    stamp: Option<Stamp>,
}

/// What became of a message for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// Somebody has it or will, or nobody could take it.
    Done,
    /// The next member's shard takes no letters now.
    Blocked,
}

/// Whether a message for a group may wait for another shard to take letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    MayWait,
    /// It is one of a bounded number: it has left what it was part of, or takes another's place.
    MustGo,
}

impl SharedMail {
    pub(super) fn flow(&self) -> Flow {
        self.flow
    }
}

impl Worker {
    /// A message that another shard picked a member of this one for.
    pub(super) fn on_shared_mail(&mut self, mut mail: SharedMail) {
        self.begin_payment(mail.flow);
        let mut part = Part::of_receiver(mail.ticket.take());
        if !self.take_shared(&mail, &mut part) {
            mail.tries += 1;
            self.place_mail(mail, &mut part, Patience::MustGo);
        }
        self.finish_part(part);
        self.end_payment();
    }

    /// Tells the groups of a session that its connection came, and takes packets of so many bytes, or
    /// went.
    pub(super) fn set_shares_online(
        &mut self,
        key: u32,
        is_online: bool,
        packet_bytes_max: Option<u32>,
    ) {
        let member = self.member(key);
        let Some(session) = self.sessions.session_mut(key) else { return };
        for (filter, _) in session.subscriptions.iter().filter(|(filter, _)| filter.is_shared()) {
            self.shared.shares.set_online(filter, member, is_online);
            if let Some(bytes) = packet_bytes_max {
                self.shared.shares.set_packet_bytes_max(filter, member, bytes);
            }
        }
    }

    /// A session has left a group: what it was not sent yet goes to others, if there are any;
    /// else it is still its own.
    pub(super) fn pass_on_unsent(&mut self, key: u32, left: &TopicFilter) {
        if !self.shared.shares.is_served(left) {
            return;
        }
        let Some(session) = self.sessions.session_mut(key) else { return };
        let unsent = session.take_shared(false, |filter| filter == left);
        let draft = self.drafted_changes(key);
        // A message that this turn has put into its outbox must not come behind its removal there.
        self.submit_draft();
        self.pass_on(unsent, draft);
    }

    /// A member was not sent these, because they are larger than it takes: they go to others, if there
    /// are any.
    pub(super) fn pass_on_too_large(&mut self, key: u32, deliveries: Vec<Delivery>) {
        if deliveries.is_empty() {
            return;
        }
        let member = self.member(key);
        let has_others = |delivery: &Delivery| {
            let standing = delivery.via.group().and_then(|group| group.standing(member));
            standing.is_none_or(|standing| standing.others > 0)
        };
        let (for_others, dropped): (Vec<_>, Vec<_>) = deliveries.into_iter().partition(has_others);
        self.counters.dropped_too_large.add(dropped.len() as u64);
        let draft = self.drafted_changes(key);
        // As above.
        self.submit_draft();
        self.pass_on(for_others, draft);
    }

    /// Gives what one member was owed to others, in one write with its own loss.
    pub(super) fn pass_on(&mut self, deliveries: Vec<Delivery>, draft: Draft) {
        let is_shared_write = self.shared.store.is_some() && !deliveries.is_empty();
        let mut part = Part::of_publisher(draft, is_shared_write);
        for Delivery { message, via, .. } in deliveries {
            if let Via::Share(group, _) = via {
                self.counters.shared_passed_on.add(1);
                self.place_left(message, group, &mut part);
            }
        }
        self.finish_part(part);
    }

    pub(super) fn member(&self, key: u32) -> Member {
        Member { shard: self.index, session: key }
    }

    /// Looks for a member of a group that takes a message.
    pub(super) fn place(
        &mut self,
        flow: Flow,
        message: Arc<Message>,
        group: &Arc<Group>,
        part: &mut Part,
    ) -> Placed {
        let group = Arc::clone(group);
        let mail =
            SharedMail { message, group, session: 0, tries: 0, ticket: None, flow, stamp: None };
        self.place_mail(mail, part, Patience::MayWait)
    }

    /// The same for a message that somebody who left was owed.
    pub(super) fn place_left(&mut self, message: Arc<Message>, group: Arc<Group>, part: &mut Part) {
        let flow = Flow::nobody(self.index);
        let mail =
            SharedMail { message, group, session: 0, tries: 0, ticket: None, flow, stamp: None };
        self.place_mail(mail, part, Patience::MustGo);
    }

    fn pick(&self, group: &Group, message: &Message) -> Option<Member> {
        // No packet that brings it is shorter: fixed header, length of the topic.
        let packet_bytes = 4 + message.topic.as_str().len() + message.payload.len();
        self.shared.shares.pick(group, message.qos, packet_bytes)
    }

    fn place_mail(&mut self, mut mail: SharedMail, part: &mut Part, patience: Patience) -> Placed {
        while let Some(member) = self.pick(&mail.group, &mail.message) {
            mail.session = member.session;
            if member.shard != self.index {
                if patience == Patience::MayWait {
                    mail.stamp = self.stamp(member.shard, mail.flow, &mail.message);
                    if mail.stamp.is_none() {
                        return Placed::Blocked;
                    }
                }
                mail.ticket = part.another();
                self.post(member.shard, Mail::Share(Box::new(mail)));
                return Placed::Done;
            }
            if self.take_shared(&mail, part) {
                return Placed::Done;
            }
            mail.tries += 1;
        }
        self.counters.dropped_no_member.add(1);
        Placed::Done
    }

    /// Delivers to a session of this shard, unless another member should rather have it. Returns
    /// whether the message is dealt with.
    fn take_shared(&mut self, mail: &SharedMail, part: &mut Part) -> bool {
        let SharedMail { message, group, session: key, tries, .. } = mail;
        let may_refuse = *tries < TRIES_MAX;
        let standing = group.standing(self.member(*key));
        let (Some(standing), Some(entry)) = (standing, self.sessions.entry_mut(*key)) else {
            if !may_refuse {
                self.counters.dropped_no_member.add(1);
            }
            return !may_refuse;
        };
        let options = standing.options;
        let delivery = Delivery {
            message: Arc::clone(message),
            qos: message.qos.min(options.qos),
            retain: message.retain && options.retain_as_published,
            via: Via::Share(Arc::clone(group), options.id),
        };
        let client = entry.presence.client();
        let (limits, memory) = (&self.shared.config.limits, &self.shared.memory.outboxes);
        let has_room = entry.session.has_room(&delivery, client.is_some(), limits, memory);
        let phase = client.and_then(|index| Some(&self.clients.get(index as usize)?.phase));
        let is_too_large = match phase {
            Some(Phase::Serving { connection, .. }) => !connection.takes(&delivery, self.now),
            _ => false,
        };
        let is_fit = !standing.is_passed_over && has_room && !is_too_large;
        if !is_fit && standing.others > 0 && may_refuse {
            return false;
        }
        if is_too_large && standing.others > 0 {
            // Else it would come back from the outbox, and travel on for ever.
            self.counters.dropped_too_large.add(1);
            return true;
        }
        self.deliver_to(*key, delivery, part);
        true
    }
}
