//! What comes to the members of shared subscriptions, judged for the group as a whole: each message comes to one of
//! them at least, whoever leaves, and at QoS 2 to one alone.
//!
//! A group is judged from when a member is there that stays. What was sent at QoS 2 to a member whose session has
//! ended is nobody else's [MQTT-4.8.2-5], and may be lost: it was any of what had not come by then. So may what was owed
//! to a session that is in no store, when the server ends.

use std::collections::{BTreeMap, BTreeSet};

use super::message::MessageId;
use super::{Delivery, Group, Ledger, Sent, filter_matches};

impl Ledger {
    /// Sessions share this filter. Returns the group's index.
    pub fn add_group(&mut self, filter: &str) -> usize {
        let (filter, may_be_lost) = (filter.to_owned(), BTreeSet::new());
        self.groups.push(Group { filter, served_from: None, came: BTreeMap::new(), may_be_lost });
        self.groups.len() - 1
    }

    /// SUBACK came to a member that stays in the group.
    pub fn group_is_served(&mut self, group: usize) {
        self.moment += 1;
        self.groups[group].served_from.get_or_insert(self.moment);
    }

    /// The session of a member has ended, whatever it had been sent.
    pub fn member_ended(&mut self, group: usize) {
        let exactly_once = self.messages.iter().filter(|(_, sent)| sent.what.qos == 2);
        self.groups[group].may_be_lost.extend(exactly_once.map(|(id, _)| *id));
    }

    /// The server has ended, and with it sessions of members that are in no store: what they were owed is lost. It was
    /// any of what had not come by then.
    pub fn group_lost_sessions(&mut self, group: usize) {
        self.groups[group].may_be_lost.extend(self.messages.keys());
    }

    /// A message came to a member.
    pub fn member_delivered(&mut self, group: usize, member: &str, delivery: &Delivery<'_>) {
        self.moment += 1;
        if let Err(text) = self.judge_member(group, delivery) {
            let about = delivery.id.map_or_else(
                || format!("an empty message on {}", delivery.topic),
                |id| self.described(id),
            );
            let Delivery { topic, qos, packet_id, dup, .. } = delivery;
            self.fault(format_args!(
                "{member}: {text}: {about}; came on {topic}, QoS {qos}, packet id {packet_id}, \
                 DUP {dup}"
            ));
        }
    }

    fn judge_member(&mut self, group: usize, delivery: &Delivery<'_>) -> Result<(), String> {
        let id = delivery.id.ok_or("nobody sends empty messages to groups")?;
        let is_settled = id.number < self.floors.get(&id.publisher).copied().unwrap_or(0);
        let Some(sent) = self.messages.get(&id) else {
            return match (is_settled, delivery.qos) {
                // Its PUBACK may have been lost with the server.
                (true, 1) => {
                    self.counts.repeated += 1;
                    Ok(())
                }
                (true, _) => Err("it came to the group after all was settled".into()),
                (false, _) => Err("invented".into()),
            };
        };
        let first = self.groups[group].came.get(&id).copied();
        let of = &mut self.groups[group];
        if *sent.what.topic != *delivery.topic || !filter_matches(&of.filter, delivery.topic) {
            return Err("it came on another topic".into());
        }
        if delivery.qos > sent.what.qos {
            return Err("it came at more than it was published with".into());
        }
        if delivery.retain {
            return Err("a shared subscription is sent nothing retained".into());
        }
        let times = of.came.entry(id).or_default();
        *times += u32::from(delivery.qos == 2);
        if *times > 1 {
            return Err(format!("exactly once, and it came to the group {times} times"));
        }
        match first {
            None => self.counts.shared += 1,
            Some(_) => self.counts.repeated += 1,
        }
        Ok(())
    }

    /// What should have come to a group, and has not.
    pub(super) fn group_owes<'a>(
        &'a self,
        group: &'a Group,
    ) -> impl Iterator<Item = (MessageId, &'a Sent)> {
        let promised = self.messages.iter().filter(|(_, sent)| sent.is_owed());
        let from = group.served_from;
        promised.filter_map(move |(id, sent)| {
            let is_for_it = from.is_some_and(|from| from < sent.first_sent)
                && filter_matches(&group.filter, &sent.what.topic);
            let is_there = group.came.contains_key(id) || group.may_be_lost.contains(id);
            (is_for_it && !is_there).then_some((*id, sent))
        })
    }

    /// Everything is settled: forgets it, but for messages that stay.
    pub(super) fn forget_groups(&mut self) {
        for group in &mut self.groups {
            group.came.retain(|id, _| self.messages.contains_key(id));
            group.may_be_lost.clear();
        }
    }
}

#[cfg(test)]
mod tests;
