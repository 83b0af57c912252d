//! What was promised and what came: the history of all clients in the order in which it happened,
//! and the judgement on it. Pure: no clock, no socket; moments are numbers given out in order.
//!
//! Clients tell an intention (PUBLISH, SUBSCRIBE, UNSUBSCRIBE) before they send it, and what came
//! (PUBACK, SUBACK, messages) after they received it. So "SUBACK before PUBLISH" in here was so at
//! the server, too.
//!
//! What must not be is noted when it happens; what is missing shows in `settle`, when nothing is
//! under way any more.

mod delivery;
mod flows;
mod groups;
pub mod message;
mod retained;
mod settle;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use message::MessageId;

pub use delivery::Delivery;
pub use flows::Flows;

/// Faults kept in words; more are counted only.
const FAULTS_TOLD_MAX: usize = 20;

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Its topic.
    pub topic: Arc<str>,
    /// 0 to 2.
    pub qos: u8,
    /// Whether it replaces what its topic retains.
    pub retain: bool,
    /// Without payload: with `retain`, it clears what is retained.
    pub empty: bool,
    /// The message expiry interval, if any.
    pub expiry_secs: Option<u32>,
}

/// Sums for the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// QoS 1 and 2 messages acknowledged.
    pub acknowledged: [u64; 2],
    /// PUBLISH packets that publishers sent again.
    pub resent: u64,
    /// First deliveries.
    pub delivered: u64,
    /// Deliveries of what was delivered before.
    pub repeated: u64,
    /// Those of them, from another life of the server, that did not say so by DUP.
    pub repeated_without_dup: u64,
    /// Connections that found their session.
    pub resumed: u64,
    /// Retained topics compared.
    pub retained: u64,
    /// First deliveries to members of groups.
    pub shared: u64,
    /// Messages that had their time before they came.
    pub expired: u64,
}

/// The history.
#[derive(Debug)]
pub struct Ledger {
    round: u32,
    moment: u64,
    messages: BTreeMap<MessageId, Sent>,
    /// By publisher, the first number that is not settled yet.
    floors: BTreeMap<u32, u32>,
    subscribers: Vec<Subscriber>,
    groups: Vec<Group>,
    clients: BTreeMap<String, Standing>,
    faults: Vec<String>,
    faults_untold: u64,
    counts: Counts,
    /// What was refused for the disk may come late when it is sent again.
    disk_fails: bool,
}

/// A message that was sent.
#[derive(Clone, Debug)]
struct Sent {
    what: Publication,
    first_sent: u64,
    last_sent: u64,
    sends: u32,
    round: u32,
    acknowledged: Option<Acknowledged>,
    refused: Option<u8>,
    complete: bool,
    /// Its interval has passed: it need not come any more.
    has_expired: bool,
    interval_is_sure: bool,
    /// The server may have taken it for another message.
    may_be_another: bool,
    payload_bytes: usize,
}

/// When PUBACK or PUBREC came.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    moment: u64,
    round: u32,
}

/// What a client was told about its session.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// An answer that promises the session came.
    promised: bool,
}

/// The highest number that was delivered, by publisher, topic, QoS published and QoS delivered.
type Latest = BTreeMap<(u32, Arc<str>, u8, u8), u32>;

/// One subscriber's side.
#[derive(Debug)]
struct Subscriber {
    name: String,
    terms: Vec<Term>,
    receipts: BTreeMap<MessageId, Receipt>,
    /// Of first deliveries.
    latest: Latest,
    /// Of what was delivered again on this connection.
    latest_again: Latest,
    /// QoS 2 messages taken whose PUBREL has not come.
    unreleased: BTreeMap<u16, Option<MessageId>>,
    /// Messages that it has acknowledged to the end: PUBACK, PUBCOMP.
    confirmed: BTreeSet<MessageId>,
    /// Connections so far.
    connection: u32,
    /// The server's life that the connection is with.
    life: u32,
    /// Larger packets it is not sent.
    packet_bytes_max: Option<usize>,
}

/// The members that share a filter under one name.
#[derive(Debug)]
struct Group {
    filter: String,
    /// From this moment on somebody is there.
    served_from: Option<u64>,
    /// How often what has come did so at QoS 2.
    came: BTreeMap<MessageId, u32>,
    /// What a session that ended may have taken with it.
    may_be_lost: BTreeSet<MessageId>,
}

/// The time from a SUBSCRIBE to the UNSUBSCRIBE, or the SUBSCRIBE of the same filter, that ended it.
#[derive(Clone, Debug)]
struct Term {
    filter: String,
    /// The QoS asked for; granted it is at most that.
    qos: u8,
    asks: u32,
    granted: Option<u64>,
    granted_round: u32,
    /// When its end was asked for.
    leaving: Option<u64>,
    /// When its end was acknowledged.
    gone: Option<u64>,
}

/// What a subscriber has got of a message.
#[derive(Clone, Debug, Default)]
struct Receipt {
    /// Deliveries other than for a new subscription, repeated ones included.
    times: u32,
    /// Those of them at QoS 0, none of which is repeated.
    at_most_once_times: u32,
    /// Those for a new subscription (RETAIN set).
    retained_times: u32,
    /// The packet ids they came under, each a routing of its own, and where each came last.
    routings: Vec<Routing>,
    round: u32,
}

/// A packet id that a message came under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Routing {
    packet_id: u16,
    connection: u32,
    life: u32,
}

impl Ledger {
    /// A history of these subscribers, which are called by their index.
    pub fn new(subscribers: &[&str]) -> Self {
        let subscriber = |name: &&str| Subscriber {
            name: (*name).to_owned(),
            terms: Vec::new(),
            receipts: BTreeMap::new(),
            latest: BTreeMap::new(),
            latest_again: BTreeMap::new(),
            unreleased: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            connection: 0,
            life: 0,
            packet_bytes_max: None,
        };
        Self {
            round: 0,
            moment: 0,
            messages: BTreeMap::new(),
            floors: BTreeMap::new(),
            subscribers: subscribers.iter().map(subscriber).collect(),
            groups: Vec::new(),
            clients: BTreeMap::new(),
            faults: Vec::new(),
            faults_untold: 0,
            counts: Counts::default(),
            disk_fails: false,
        }
    }

    /// The server begins another life.
    pub fn begin_round(&mut self, round: u32) {
        self.round = round;
    }

    /// The server's disk may fail from now on: a message that it has refused for that, and that is sent again
    /// because the refusal was lost, may come behind later ones.
    pub fn disk_may_fail(&mut self) {
        self.disk_fails = true;
    }

    /// How much has happened: equal numbers, nothing in between.
    pub fn moment(&self) -> u64 {
        self.moment
    }

    /// What went wrong so far.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Faults beyond those in `faults`.
    pub fn faults_untold(&self) -> u64 {
        self.faults_untold
    }

    /// Sums for the report.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Something that must not be.
    pub fn fault(&mut self, text: impl fmt::Display) {
        if self.faults.len() < FAULTS_TOLD_MAX {
            self.faults.push(format!("round {}: {text}", self.round));
        } else {
            self.faults_untold += 1;
        }
    }

    /// A client was accepted. A session that was promised must be there, and after a clean start
    /// none.
    pub fn connected(&mut self, client: &str, clean: bool, present: bool) {
        self.moment += 1;
        let standing = self.clients.entry(client.to_owned()).or_default();
        let lost = standing.promised && !clean && !present;
        if clean || !present {
            standing.promised = false;
        }
        self.counts.resumed += u64::from(present);
        if lost {
            self.fault(format_args!(
                "{client}: its session is gone: CONNACK says session present = 0, and its \
                 subscriptions or flows had been acknowledged"
            ));
        }
        if clean && present {
            self.fault(format_args!("{client}: session present = 1 after a clean start"));
        }
    }

    /// The server has acknowledged to a client what only a session can hold: SUBACK, PUBREC.
    pub fn promised(&mut self, client: &str) {
        self.clients.entry(client.to_owned()).or_default().promised = true;
    }

    /// A publisher sends a PUBLISH, for the first time or again.
    pub fn publishing(&mut self, id: MessageId, what: &Publication) {
        self.moment += 1;
        let (moment, round) = (self.moment, self.round);
        let sent = self.messages.entry(id).or_insert_with(|| Sent {
            what: what.clone(),
            first_sent: moment,
            last_sent: moment,
            sends: 0,
            round,
            acknowledged: None,
            refused: None,
            // Nothing answers QoS 0.
            complete: what.qos == 0,
            has_expired: false,
            interval_is_sure: true,
            may_be_another: false,
            payload_bytes: 0,
        });
        self.counts.resent += u64::from(sent.sends > 0);
        sent.sends += 1;
        sent.last_sent = moment;
    }

    /// The size of a message's payload, for subscribers that take no large packets.
    pub fn has_payload(&mut self, id: MessageId, bytes: usize) {
        if let Some(sent) = self.messages.get_mut(&id) {
            sent.payload_bytes = bytes;
        }
    }

    /// A subscriber takes no larger packets from the beginning.
    pub fn takes_at_most(&mut self, subscriber: usize, packet_bytes_max: usize) {
        self.subscribers[subscriber].packet_bytes_max = Some(packet_bytes_max);
    }

    /// How often the server has begun again.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// A message comes again under the packet id of one that was refused before a crash, and that the disk may have all
    /// the same: whether its own first sending had come nobody can tell.
    pub fn may_be_taken_for_another(&mut self, id: MessageId) {
        if let Some(sent) = self.messages.get_mut(&id) {
            sent.may_be_another = true;
        }
    }

    /// So much time has passed since a message was first sent that its interval may have.
    pub fn may_have_expired(&mut self, id: MessageId) {
        if let Some(sent) = self.messages.get_mut(&id) {
            sent.has_expired = true;
            self.counts.expired += 1;
        }
    }

    /// Nobody knows how long the server took itself to be down: whatever expires may have expired.
    pub fn all_may_have_expired(&mut self) {
        for sent in self.messages.values_mut().filter(|sent| sent.what.expiry_secs.is_some()) {
            sent.has_expired = true;
            sent.interval_is_sure = false;
        }
    }

    /// The message expiry interval that a message came with, to somebody who can be told [MQTT-3.3.2-6].
    pub fn judge_interval(&mut self, name: &str, id: MessageId, came_with: Option<u32>, dup: bool) {
        let Some(sent) = self.messages.get(&id) else { return };
        let is_right = match (sent.what.expiry_secs, came_with) {
            (None, None) => true,
            // It was in time when it was sent first.
            (Some(most), Some(left)) => {
                let is_possible = left <= most && (left > 0 || dup);
                is_possible || !sent.interval_is_sure
            }
            _ => false,
        };
        if !is_right {
            let (is, was) = (came_with, sent.what.expiry_secs);
            let about = self.described(id);
            self.fault(format_args!("{name}: expires in {is:?} s, sent with {was:?} s: {about}"));
        }
    }

    /// PUBACK or PUBREC came and accepts the message.
    pub fn acknowledged(&mut self, id: MessageId) {
        self.moment += 1;
        let acknowledged = Acknowledged { moment: self.moment, round: self.round };
        let Some(sent) = self.messages.get_mut(&id) else { return };
        if sent.acknowledged.is_none() {
            sent.acknowledged = Some(acknowledged);
            self.counts.acknowledged[usize::from(sent.what.qos == 2)] += 1;
        }
    }

    /// PUBACK or PUBREC came and refuses the message, which ends its flow.
    pub fn refused(&mut self, id: MessageId, reason: u8) {
        self.moment += 1;
        if let Some(sent) = self.messages.get_mut(&id) {
            sent.refused = Some(reason);
            sent.complete = true;
        }
    }

    /// PUBACK or PUBCOMP came: the flow is over.
    pub fn completed(&mut self, id: MessageId) {
        self.moment += 1;
        if let Some(sent) = self.messages.get_mut(&id) {
            sent.complete = true;
        }
    }

    /// Nobody will say what became of a message: who would have is gone.
    pub fn unanswered(&mut self, id: MessageId) {
        self.moment += 1;
        if let Some(sent) = self.messages.get_mut(&id) {
            sent.complete = true;
        }
    }

    /// Whether a subscriber has acknowledged a message to the end, since all was settled last.
    pub fn has_confirmed(&self, subscriber: &str, id: MessageId) -> bool {
        let mut found = self.subscribers.iter().filter(|one| one.name == subscriber);
        found.any(|one| one.confirmed.contains(&id))
    }

    /// A subscriber sends SUBSCRIBE for one filter, perhaps again. It ends an earlier subscription
    /// of that filter.
    pub fn subscribing(&mut self, subscriber: usize, filter: &str, qos: u8) {
        self.moment += 1;
        let moment = self.moment;
        let terms = &mut self.subscribers[subscriber].terms;
        let mut asked_before = false;
        for term in terms.iter_mut().filter(|term| term.filter == filter && term.gone.is_none()) {
            if term.granted.is_some() {
                term.leaving.get_or_insert(moment);
            } else {
                term.asks += 1;
                term.qos = term.qos.max(qos);
                asked_before = true;
            }
        }
        if asked_before {
            return;
        }
        terms.push(Term {
            filter: filter.to_owned(),
            qos,
            asks: 1,
            granted: None,
            granted_round: 0,
            leaving: None,
            gone: None,
        });
    }

    /// SUBACK came and grants the filter last asked for.
    pub fn subscribed(&mut self, subscriber: usize, filter: &str, qos: u8) {
        self.moment += 1;
        let (moment, round) = (self.moment, self.round);
        let name = self.subscribers[subscriber].name.clone();
        let mut granted = 0;
        for term in self.subscribers[subscriber].terms.iter_mut().filter(|t| t.filter == filter) {
            if term.granted.is_some() {
                // What it replaces; if anything.
                term.gone.get_or_insert(moment);
            } else {
                term.granted = Some(moment);
                term.granted_round = round;
                granted = term.qos;
            }
        }
        self.promised(&name);
        if qos != granted {
            self.fault(format_args!("{name}: SUBACK grants QoS {qos} for {filter}, not {granted}"));
        }
    }

    /// A subscriber sends UNSUBSCRIBE, perhaps again.
    pub fn unsubscribing(&mut self, subscriber: usize, filter: &str) {
        self.moment += 1;
        let moment = self.moment;
        for term in self.open_terms(subscriber, filter) {
            term.leaving.get_or_insert(moment);
        }
    }

    /// UNSUBACK came.
    pub fn unsubscribed(&mut self, subscriber: usize, filter: &str) {
        self.moment += 1;
        let moment = self.moment;
        for term in self.open_terms(subscriber, filter) {
            term.gone = Some(moment);
        }
    }

    /// A subscriber's session is gone (which `connected` has judged): it owes nothing from before.
    pub fn session_lost(&mut self, subscriber: usize) {
        self.moment += 1;
        let moment = self.moment;
        let subscriber = &mut self.subscribers[subscriber];
        subscriber.unreleased.clear();
        for term in &mut subscriber.terms {
            term.leaving = Some(0);
            term.gone.get_or_insert(moment);
        }
    }

    fn open_terms<'a>(
        &'a mut self,
        subscriber: usize,
        filter: &'a str,
    ) -> impl Iterator<Item = &'a mut Term> {
        let terms = self.subscribers[subscriber].terms.iter_mut();
        terms.filter(move |term| term.filter == filter && term.gone.is_none())
    }

    /// A message in words.
    fn described(&self, id: MessageId) -> String {
        let MessageId { publisher, number } = id;
        let Some(sent) = self.messages.get(&id) else {
            return format!("message {number} of publisher {publisher}");
        };
        let Publication { topic, qos, retain, empty, .. } = &sent.what;
        let acknowledged = match (sent.acknowledged, sent.refused) {
            (_, Some(reason)) => format!("refused with {reason:#04x}"),
            (Some(at), None) => format!("acknowledged in round {}", at.round),
            (None, None) => "not acknowledged".to_owned(),
        };
        format!(
            "message {number} of publisher {publisher} (QoS {qos} on {topic}{}{}, sent {} times \
             from round {} on, {acknowledged})",
            if *retain { ", retained" } else { "" },
            if *empty { ", empty" } else { "" },
            sent.sends,
            sent.round,
        )
    }
}

impl Sent {
    /// That the server has promised to deliver it.
    fn is_promised(&self) -> bool {
        self.what.qos > 0
            && self.acknowledged.is_some()
            && self.refused.is_none()
            && !self.may_be_another
    }

    /// That it is promised, and in time still.
    fn is_owed(&self) -> bool {
        self.is_promised() && !self.has_expired
    }
}

impl Term {
    /// That it holds for a message for certain: SUBACK came before the message was first sent, and
    /// its end was not asked for before the message was acknowledged.
    fn holds_for(&self, sent: &Sent) -> bool {
        let begun = self.granted.is_some_and(|granted| granted < sent.first_sent);
        let until = sent.acknowledged.map_or(u64::MAX, |at| at.moment);
        begun && self.leaving.is_none_or(|leaving| leaving > until) && self.matches(sent)
    }

    /// That a message may have come by it: asked for by now, and not gone before the message was
    /// first sent.
    fn may_hold_for(&self, sent: &Sent) -> bool {
        self.gone.is_none_or(|gone| gone > sent.first_sent) && self.matches(sent)
    }

    fn matches(&self, sent: &Sent) -> bool {
        filter_matches(&self.filter, &sent.what.topic)
    }
}

/// Whether a topic filter matches a topic, neither of them beginning with `$`.
fn filter_matches(filter: &str, topic: &str) -> bool {
    let (mut filters, mut topics) = (filter.split('/'), topic.split('/'));
    loop {
        match (filters.next(), topics.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(filter), Some(topic)) if filter == topic => {}
            _ => return false,
        }
    }
}
