//! A SUBSCRIBE or UNSUBSCRIBE under way: the filters that are still to be dealt with, its writes, and its answer.
//! `turn/subscribe` deals with the filters.

use std::vec;

use crate::broker::{QoS, TopicFilter};
use crate::mqtt::codec::Reason;
use crate::mqtt::{Subscribe, SubscribeEntry, Unsubscribe};
use crate::shard::journal::{FilterPacket, Subscribed, Unsubscribed};
use crate::shard::ports::Token;
use crate::store::{SessionNumber, Write};

/// Bytes that a filter takes beside its text.
const FILTER_BYTES: usize = 32;

/// Units that it costs to put a filter into the tables or take it out, and for each of its levels.
const FILTER_UNITS: u32 = 24;
const LEVEL_UNITS: u32 = 16;

/// How many turns, of a millisecond each or longer, a SUBSCRIBE waits for filters of ended sessions to go.
const WAITS_MAX: u16 = 2_000;

/// Units that it costs to put a filter into the tables, or to take it out.
pub(crate) fn filter_units(filter: &TopicFilter) -> u32 {
    // A filter has at most 65,535 bytes, and no more levels.
    FILTER_UNITS + LEVEL_UNITS * filter.as_str().split('/').count() as u32
}

/// A SUBSCRIBE under way.
#[derive(Debug)]
pub(crate) struct Subscribing {
    packet: FilterPacket,
    entries: vec::IntoIter<Result<SubscribeEntry, Reason>>,
    results: Vec<Result<QoS, Reason>>,
    /// What tells it from others.
    number: u64,
    /// The filters that may have to be forgotten, should the write fail.
    unconfirmed: Vec<TopicFilter>,
    writes: Vec<Write>,
    /// How many turns it has waited for filters of ended sessions to go.
    waits: u16,
}

/// An UNSUBSCRIBE under way.
#[derive(Debug)]
pub(crate) struct Unsubscribing {
    packet: FilterPacket,
    filters: vec::IntoIter<Result<TopicFilter, Reason>>,
    reasons: Vec<Reason>,
    removed: Vec<TopicFilter>,
    /// The server does it by itself, whether or not the client is there, which is not answered.
    is_withdrawal: bool,
}

impl Subscribing {
    /// Of a client and its session; `number` tells it from other SUBSCRIBEs.
    pub(crate) fn new(
        client: Token,
        session: (u32, SessionNumber),
        number: u64,
        subscribe: Subscribe,
    ) -> Self {
        let packet_id = subscribe.packet_id;
        Self {
            packet: FilterPacket { client, session, packet_id },
            results: Vec::with_capacity(subscribe.entries.len()),
            entries: subscribe.entries.into_iter(),
            number,
            unconfirmed: Vec::new(),
            writes: Vec::new(),
            waits: 0,
        }
    }

    pub(crate) fn client(&self) -> Token {
        self.packet.client
    }

    /// The key and the number of its session.
    pub(crate) fn session(&self) -> (u32, SessionNumber) {
        self.packet.session
    }

    /// What tells it from others.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// How much memory the rest of its packet takes, in bytes.
    pub(crate) fn left_bytes(&self) -> usize {
        let filters = self.entries.as_slice().iter().flatten().map(|entry| &entry.filter);
        weight_bytes(self.entries.as_slice(), filters)
    }

    /// The next filter that it asks for.
    pub(crate) fn next(&self) -> Option<&Result<SubscribeEntry, Reason>> {
        self.entries.as_slice().first()
    }

    /// Whether the next filter may wait for memory.
    pub(crate) fn may_wait(&self) -> bool {
        self.waits < WAITS_MAX
    }

    /// The next filter waits for memory.
    pub(crate) fn wait(&mut self) {
        self.waits += 1;
    }

    /// The next filter is subscribed to, or refused. Returns it, if it is a valid one.
    pub(crate) fn answer(&mut self, result: Result<QoS, Reason>) -> Option<SubscribeEntry> {
        self.results.push(result);
        self.entries.next()?.ok()
    }

    /// A filter is to be written. `is_unconfirmed`: the session has to forget it if that fails.
    pub(crate) fn write(
        &mut self,
        SubscribeEntry { filter, options }: SubscribeEntry,
        is_unconfirmed: bool,
    ) {
        if is_unconfirmed {
            self.unconfirmed.push(filter.clone());
        }
        let (_, number) = self.packet.session;
        self.writes.push(Write::PutSubscription { number, filter, options });
    }

    /// Its session has ended: takes the filters that were subscribed to so far.
    pub(crate) fn take_unconfirmed(&mut self) -> Vec<TopicFilter> {
        std::mem::take(&mut self.unconfirmed)
    }

    /// It ends. Returns its writes, and its answer for when they are done.
    pub(crate) fn end(&mut self) -> (Vec<Write>, Subscribed) {
        let results = std::mem::take(&mut self.results);
        let unconfirmed = std::mem::take(&mut self.unconfirmed);
        let subscribed = Subscribed::new(self.packet, self.number, results, unconfirmed);
        (std::mem::take(&mut self.writes), subscribed)
    }
}

impl Unsubscribing {
    /// Of a client and its session.
    pub(crate) fn new(
        client: Token,
        session: (u32, SessionNumber),
        unsubscribe: Unsubscribe,
    ) -> Self {
        let packet_id = unsubscribe.packet_id;
        Self {
            packet: FilterPacket { client, session, packet_id },
            reasons: Vec::with_capacity(unsubscribe.filters.len()),
            filters: unsubscribe.filters.into_iter(),
            removed: Vec::new(),
            is_withdrawal: false,
        }
    }

    /// Of filters that a session may not have any more: as if it had unsubscribed from them.
    pub(crate) fn withdrawing(session: (u32, SessionNumber), filters: Vec<TopicFilter>) -> Self {
        let filters: Vec<_> = filters.into_iter().map(Ok).collect();
        Self {
            packet: FilterPacket { client: Token::NOBODY, session, packet_id: 0 },
            reasons: Vec::new(),
            filters: filters.into_iter(),
            removed: Vec::new(),
            is_withdrawal: true,
        }
    }

    pub(crate) fn client(&self) -> Token {
        self.packet.client
    }

    /// Whether it goes on without its client.
    pub(crate) fn is_withdrawal(&self) -> bool {
        self.is_withdrawal
    }

    /// The key and the number of its session.
    pub(crate) fn session(&self) -> (u32, SessionNumber) {
        self.packet.session
    }

    /// What is left of its packet takes so much memory, in bytes.
    pub(crate) fn left_bytes(&self) -> usize {
        weight_bytes(self.filters.as_slice(), self.filters.as_slice().iter().flatten())
    }

    /// What it asks for next.
    pub(crate) fn next(&self) -> Option<&Result<TopicFilter, Reason>> {
        self.filters.as_slice().first()
    }

    /// Takes the next filter.
    pub(crate) fn take(&mut self) -> Option<Result<TopicFilter, Reason>> {
        self.filters.next()
    }

    /// The answer to the filter that was taken.
    pub(crate) fn answer(&mut self, reason: Reason) {
        self.reasons.push(reason);
    }

    /// A filter is to be removed from the disk.
    pub(crate) fn remove(&mut self, filter: TopicFilter) {
        self.removed.push(filter);
    }

    /// No more is done of it. Returns what is to be written, and what is to be done then.
    pub(crate) fn end(&mut self) -> (Vec<Write>, Unsubscribed) {
        let (_, number) = self.packet.session;
        let filters = std::mem::take(&mut self.removed);
        let removals = filters.iter().cloned();
        let writes = removals.map(|filter| Write::RemoveSubscription { number, filter }).collect();
        let reasons = std::mem::take(&mut self.reasons);
        (writes, Unsubscribed::new(self.packet, reasons, filters))
    }
}

fn weight_bytes<'a, T>(places: &[T], filters: impl Iterator<Item = &'a TopicFilter>) -> usize {
    size_of_val(places) + filters.map(|filter| filter.as_str().len() + FILTER_BYTES).sum::<usize>()
}
