//! A SUBSCRIBE or UNSUBSCRIBE whose filters are being written: what is to be done when they are, or when that has
//! failed.

use crate::broker::{QoS, TopicFilter};
use crate::mqtt::codec::Reason;
use crate::shard::ports::Token;
use crate::store::SessionNumber;

/// Whose packet it is. Plain data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FilterPacket {
    pub(crate) client: Token,
    /// The key and the number of the client's session.
    pub(crate) session: (u32, SessionNumber),
    pub(crate) packet_id: u16,
}

/// A SUBSCRIBE whose subscriptions are being written.
#[derive(Debug)]
pub(crate) struct Subscribed {
    packet: FilterPacket,
    /// What tells it from other SUBSCRIBEs.
    number: u64,
    results: Vec<Result<QoS, Reason>>,
    /// The filters that may have to be forgotten, should it fail.
    unconfirmed: Vec<TopicFilter>,
}

/// An UNSUBSCRIBE whose removals are being written.
#[derive(Debug)]
pub(crate) struct Unsubscribed {
    packet: FilterPacket,
    reasons: Vec<Reason>,
    /// The filters to be removed again, should it fail.
    filters: Vec<TopicFilter>,
}

impl Subscribed {
    /// `results`: what SUBACK says if all of it is written.
    pub(crate) fn new(
        packet: FilterPacket,
        number: u64,
        results: Vec<Result<QoS, Reason>>,
        unconfirmed: Vec<TopicFilter>,
    ) -> Self {
        Self { packet, number, results, unconfirmed }
    }

    pub(crate) fn packet(&self) -> FilterPacket {
        self.packet
    }

    /// What tells it from other SUBSCRIBEs.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The filters that may have to be forgotten, should it fail.
    pub(crate) fn unconfirmed(&self) -> &[TopicFilter] {
        &self.unconfirmed
    }

    /// Takes those.
    pub(crate) fn take_unconfirmed(&mut self) -> Vec<TopicFilter> {
        std::mem::take(&mut self.unconfirmed)
    }

    /// What SUBACK says. If the write has failed, none of it was done.
    pub(crate) fn into_results(self, failed: bool) -> Vec<Result<QoS, Reason>> {
        match failed {
            true => vec![Err(Reason::ImplementationSpecificError); self.results.len()],
            false => self.results,
        }
    }
}

impl Unsubscribed {
    /// `reasons`: what UNSUBACK says if all of it is written.
    pub(crate) fn new(
        packet: FilterPacket,
        reasons: Vec<Reason>,
        filters: Vec<TopicFilter>,
    ) -> Self {
        Self { packet, reasons, filters }
    }

    pub(crate) fn packet(&self) -> FilterPacket {
        self.packet
    }

    /// The filters to be removed again, should it fail.
    pub(crate) fn filters(&self) -> &[TopicFilter] {
        &self.filters
    }

    /// Takes those.
    pub(crate) fn take_filters(&mut self) -> Vec<TopicFilter> {
        std::mem::take(&mut self.filters)
    }

    /// What UNSUBACK says. If the write has failed, none of it was done.
    pub(crate) fn into_reasons(self, failed: bool) -> Vec<Reason> {
        match failed {
            true => vec![Reason::ImplementationSpecificError; self.reasons.len()],
            false => self.reasons,
        }
    }
}
