//! The messages that a topic may retain: the last acknowledged retained publish, or one that the
//! server may have processed after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::message::MessageId;
use super::{Ledger, Sent};

/// The states that a topic may be in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Possible {
    pub(super) messages: BTreeSet<MessageId>,
    /// Whether nothing may be retained.
    pub(super) nothing: bool,
}

impl Ledger {
    /// Compares the messages that a new subscriber got with RETAIN, when nothing is under way.
    pub fn judge_retained(&mut self, found: &BTreeMap<String, MessageId>) {
        let possible = self.retained_possible();
        self.counts.retained += possible.len() as u64;
        let mut faults = Vec::new();
        for (topic, may) in &possible {
            let fits = match found.get(&**topic) {
                Some(id) => may.messages.contains(id),
                None => may.nothing,
            };
            if fits {
                continue;
            }
            let is = found.get(&**topic).map_or("nothing".to_owned(), |id| self.described(*id));
            let mut should: Vec<String> =
                may.messages.iter().map(|id| self.described(*id)).collect();
            if may.nothing {
                should.push("nothing".to_owned());
            }
            faults.push(format!("retained on {topic}: {is}; it must be {}", should.join(" or ")));
        }
        for (topic, id) in found.iter().filter(|(topic, _)| !possible.contains_key(topic.as_str()))
        {
            faults.push(format!("retained on {topic}, where nothing was: {}", self.described(*id)));
        }
        faults.into_iter().for_each(|text| self.fault(text));
    }

    /// The possible states of every topic that ever retained anything.
    ///
    /// Retained topics have one publisher each, which sends in order, and the server processes in
    /// order. So a message is certainly replaced by one that was acknowledged and first sent after
    /// the message was last sent.
    pub(super) fn retained_possible(&self) -> BTreeMap<Arc<str>, Possible> {
        let mut topics: BTreeMap<Arc<str>, Vec<(MessageId, &Sent)>> = BTreeMap::new();
        for (id, sent) in self.messages.iter().filter(|(_, sent)| sent.what.retain) {
            topics.entry(Arc::clone(&sent.what.topic)).or_default().push((*id, sent));
        }
        let possible = |sent: Vec<(MessageId, &Sent)>| {
            let settled = sent.iter().filter(|(_, sent)| sent.is_promised());
            // `None`: it may still be empty, as in the beginning.
            let replaces_from = settled.map(|(_, sent)| sent.first_sent).max();
            let mut may = Possible { nothing: replaces_from.is_none(), ..Possible::default() };
            for (id, sent) in &sent {
                if replaces_from.is_some_and(|from| from > sent.last_sent) {
                    continue;
                }
                if sent.what.empty {
                    may.nothing = true;
                } else {
                    may.messages.insert(*id);
                }
            }
            may
        };
        topics.into_iter().map(|(topic, sent)| (topic, possible(sent))).collect()
    }
}

#[cfg(test)]
mod tests;
