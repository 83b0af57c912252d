//! A shard's side of shared subscriptions: a message goes to one member of each group, and on to another member
//! when that one is gone, away, or cannot keep up.
//!
//! A member that unsubscribes, or whose session ends, hands on what it is owed [MQTT5 4.8.2]: messages that were
//! never sent, and those of QoS 1 that were sent and not acknowledged. A message of QoS 2 that was sent stays with
//! its session, or ends with it [MQTT-4.8.2-4] [MQTT-4.8.2-5]; one that was refused is over [MQTT-4.8.2-6]. A
//! member that only lost its connection keeps its messages until it is back.
//!
//! A session may be in a thousand groups. So its groups are not all told at once that its client has gone: a group
//! that chooses it learns it then, and chooses another. But all are told that the client is back before it gets its
//! CONNACK, and its input waits for that, too.

use std::sync::Arc;

use super::Shard;
use super::errand::Errand;
use crate::broker::{Budget, Group, Member, Message, Slip, TopicFilter, Via};
use crate::mqtt::{Delivery, LeftMessage, OutboxFull};
use crate::shard::agenda::{Flow, Progress};
use crate::shard::journal::Part;
use crate::shard::ports::Ports;
use crate::shard::post::{Mail, SharedMail};
use crate::shard::publish::{Return, filter_units};

/// What became of a message for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// It is dealt with: a member has it or will have it, or none could take it. So many members of this shard
    /// refused it.
    Done { refusals: u16 },
    /// The next member's shard takes no letters now.
    Blocked,
}

/// What a member does with a message that it was chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// The member has taken it, or it was dropped.
    Taken,
    /// Another member should have it.
    Refused,
    /// The group did not know that this member's client has gone, and knows it now.
    WasGone,
}

/// Units that a message for a group costs the shard of its member.
const SHARED_UNITS: u32 = 12;

/// Units that a member without room costs.
const REFUSAL_UNITS: u32 = 2;

/// How many groups are told at once that a member has gone.
const TOLD_AT_ONCE_MAX: usize = 64;

/// Units of groups that are told at once that a member is back: some ten groups.
const TOLD_AT_ONCE_UNITS: u32 = 512;

/// The slip that goes along with a message that came in by a door.
#[derive(Debug)]
enum Along {
    /// The member that takes the message is a new receiver, and gets a new slip.
    New,
    /// The slip has come with the message, if there is one.
    Carried(Option<Slip>),
}

impl Along {
    fn take(&mut self, part: &Part) -> Option<Slip> {
        match self {
            Self::New => part.slip(),
            Self::Carried(slip) => slip.take(),
        }
    }
}

/// Whether a message for a group may wait for another shard to take letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urgency {
    MayWait,
    /// It may not: it takes the place of a letter that was taken, or the server stops.
    MustGo,
}

impl Placed {
    /// Units that the members cost which refused it.
    pub(super) fn refusal_units(self) -> u32 {
        match self {
            Self::Done { refusals } => u32::from(refusals) * REFUSAL_UNITS,
            Self::Blocked => 0,
        }
    }
}

impl<P: Ports> Shard<P> {
    /// A message has come for a member that another shard picked. Returns the units that it has cost.
    pub(super) fn on_shared_mail(&mut self, mut mail: SharedMail) -> u32 {
        self.agenda.begin_payment(mail.flow);
        let mut part = Part::of_receiver(mail.ticket.take());
        let mut along = Along::Carried(mail.slip.take());
        let choice = self.take_shared(&mail, &mut along, &mut part);
        let mut units = SHARED_UNITS;
        if choice != Choice::Taken {
            match choice {
                Choice::WasGone => mail.round.member_left(),
                _ => mail.tries += 1,
            }
            let placed = self.place_mail(mail, &mut along, &mut part, Urgency::MustGo);
            units += placed.refusal_units();
        }
        self.finish_part(part);
        self.agenda.end_payment();
        units
    }

    /// A session's connection has ended: tells a few of its groups.
    pub(super) fn leave_shares_waiting(&mut self, key: u32) {
        let member = self.member(key);
        let Some(session) = self.sessions.session(key) else { return };
        for filter in session.subscriptions().shared_behind(None).take(TOLD_AT_ONCE_MAX) {
            self.here.shared().shares.set_online(filter, member, false);
        }
    }

    /// A session's client is back, which takes packets of so many bytes: tells its groups, in turns if there are
    /// many.
    pub(super) fn return_to_shares(&mut self, index: u32, key: u32, packet_bytes_max: Option<u32>) {
        let packet_bytes_max = packet_bytes_max.unwrap_or(u32::MAX);
        let client = self.token_of(index);
        let returning = Return { client, packet_bytes_max, told: None, holds: false };
        self.publishing.set_returning(key, returning);
        if self.tell_shares(key, &mut Budget::new(TOLD_AT_ONCE_UNITS)) != Progress::Done
            && self.publishing.hold_returning(key)
        {
            self.clients[index].output.hold();
            // The client's input comes behind it in the same flow.
            self.agenda.push(self.flow_of_session(key), Errand::Return(key));
        }
    }

    /// Tells groups of a session that is back until the budget is spent, or its client has gone again.
    pub(super) fn tell_shares(&mut self, key: u32, budget: &mut Budget) -> Progress {
        let member = self.member(key);
        let Some(Return { client, packet_bytes_max, told, holds }) =
            self.publishing.take_returning(key)
        else {
            return Progress::Done;
        };
        let Some(index) = self.resolve(client) else { return Progress::Done };
        let Some(entry) = self.sessions.entry(key) else { return Progress::Done };
        if entry.client() != Some(index) {
            return Progress::Done;
        }
        let shares = &self.here.shared().shares;
        let mut last: Option<&TopicFilter> = None;
        for filter in entry.session.subscriptions().shared_behind(told.as_ref()) {
            if budget.is_spent() {
                let told = last.or(told.as_ref()).cloned();
                let left = Return { client, packet_bytes_max, told, holds };
                self.publishing.set_returning(key, left);
                return Progress::Spent;
            }
            shares.set_online(filter, member, true);
            shares.set_packet_bytes_max(filter, member, packet_bytes_max);
            budget.charge(filter_units(filter));
            last = Some(filter);
        }
        if holds {
            self.let_send(index);
        }
        Progress::Done
    }

    /// One of the things that CONNACK waits for is done. The client's keep alive begins when all of them are.
    pub(super) fn let_send(&mut self, index: u32) {
        let now = self.agenda.now();
        let client = &mut self.clients[index];
        client.output.release();
        if let Some(connection) = client.connection_mut() {
            connection.begin_keep_alive(now);
        }
        self.mark_dirty(index);
    }

    pub(super) fn member(&self, key: u32) -> Member {
        Member { shard: self.here.index(), session: key }
    }

    /// Looks for a member of a group that takes a message.
    pub(super) fn place(
        &mut self,
        flow: Flow,
        message: Arc<Message>,
        group: Arc<Group>,
        part: &mut Part,
    ) -> Placed {
        let mail = SharedMail::new(flow, message, group);
        self.place_mail(mail, &mut Along::New, part, Urgency::MayWait)
    }

    /// The same for a message that a member hands on. Once the server stops, another shard may be gone, so nothing
    /// waits for it. If the message is blocked, it keeps its slip.
    pub(super) fn place_left(
        &mut self,
        flow: Flow,
        left: &mut LeftMessage,
        group: &Arc<Group>,
        part: &mut Part,
    ) -> Placed {
        let (message, group) = (Arc::clone(&left.delivery.message), Arc::clone(group));
        let mail = SharedMail { is_left: true, ..SharedMail::new(flow, message, group) };
        let urgency = if self.stop.has_begun() { Urgency::MustGo } else { Urgency::MayWait };
        let mut along = Along::Carried(left.slip.take());
        let placed = self.place_mail(mail, &mut along, part, urgency);
        if let Along::Carried(slip) = along {
            left.slip = slip;
        }
        placed
    }

    fn pick(&self, mail: &mut SharedMail) -> Option<Member> {
        let SharedMail { message, group, round, .. } = mail;
        // The packet has at least these bytes: fixed header, and the topic with its length.
        let packet_bytes = 4 + message.topic.as_str().len() + message.payload.len();
        self.here.shared().shares.pick(group, message.qos, packet_bytes, round)
    }

    fn place_mail(
        &mut self,
        mut mail: SharedMail,
        along: &mut Along,
        part: &mut Part,
        urgency: Urgency,
    ) -> Placed {
        let mut refusals = 0_u16;
        while let Some(member) = self.pick(&mut mail) {
            mail.session = member.session;
            if member.shard != self.here.index() {
                if urgency == Urgency::MayWait {
                    mail.stamp = self.stamp(member.shard, mail.flow, &mail.message);
                    if mail.stamp.is_none() {
                        return Placed::Blocked;
                    }
                }
                mail.ticket = part.another();
                mail.slip = along.take(part);
                self.post(member.shard, Mail::Share(Box::new(mail)));
                return Placed::Done { refusals };
            }
            match self.take_shared(&mail, along, part) {
                Choice::Taken => return Placed::Done { refusals },
                Choice::Refused => mail.tries += 1,
                Choice::WasGone => mail.round.member_left(),
            }
            refusals = refusals.saturating_add(1);
        }
        self.here.counters().dropped_no_member.add(1);
        Placed::Done { refusals }
    }

    /// Delivers to a session of this shard, unless another member should have it.
    fn take_shared(&mut self, mail: &SharedMail, along: &mut Along, part: &mut Part) -> Choice {
        let SharedMail { message, group, session: key, tries, .. } = mail;
        let may_refuse = *tries < self.here.shared().config.share_tries_max;
        let standing = group.standing(self.member(*key));
        let (Some(standing), Some(entry)) = (standing, self.sessions.entry_mut(*key)) else {
            // It has unsubscribed while the message was on its way, or it has ended and its filters are still being
            // removed.
            if standing.is_none() || self.drop_subscription(*key, group.filter()) {
                return Choice::WasGone;
            }
            if may_refuse {
                return Choice::Refused;
            }
            self.here.counters().dropped_no_member.add(1);
            return Choice::Taken;
        };
        if standing.is_online && entry.client().is_none() {
            group.set_online(self.member(*key), false);
            return Choice::WasGone;
        }
        let options = standing.options;
        let delivery = Delivery {
            message: Arc::clone(message),
            qos: message.qos.min(options.qos),
            retain: message.retain && options.retain_as_published,
            via: Via::Share(Arc::clone(group), options.id),
        };
        let client = entry.client();
        let (limits, memory) =
            (&self.here.shared().config.limits, &self.here.shared().memory.outboxes);
        let has_room = entry.session.has_room(&delivery, client.is_some(), limits, memory);
        let connection = client.and_then(|index| self.clients.get(index)?.connection());
        let is_too_large =
            connection.is_some_and(|connection| !connection.takes(&delivery, self.agenda.now()));
        let subject = entry.session.subject();
        let is_denied = limits.policy.receive(&message.topic, subject).is_err();
        let is_fit = !standing.is_passed_over && has_room && !is_too_large && !is_denied;
        if !is_fit && standing.others > 0 {
            // A member that is passed over was not chosen by its turn, so its refusal says nothing of the others.
            let are_all_asked = !standing.is_passed_over && usize::from(*tries) >= standing.others;
            if !are_all_asked && may_refuse {
                return Choice::Refused;
            }
            self.here.counters().limit_share_tries.add(u64::from(!are_all_asked));
        }
        if is_denied {
            self.here.counters().dropped_denied.add(1);
            self.here.counters().unauthorized_receive.add(1);
            return Choice::Taken;
        }
        if is_too_large && standing.others > 0 {
            // In the outbox it would be handed on again, and travel for ever.
            self.here.counters().dropped_too_large.add(1);
            return Choice::Taken;
        }
        if !has_room && client.is_some() && (standing.others > 0 || mail.is_left) {
            // The whole group does not keep up, not just the member that was asked last.
            self.here.counters().dropped_outbox_full.add(1);
            if self.here.shared().config.limits.outbox_full == OutboxFull::Refuse {
                self.here.counters().limit_outbox_refused.add(1);
                part.refuse();
            }
            return Choice::Taken;
        }
        let slip = along.take(part);
        self.deliver_to(*key, delivery, slip, part);
        Choice::Taken
    }
}
