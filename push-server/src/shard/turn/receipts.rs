//! How publishes are acknowledged: in the order they came, and not before the promise of an acknowledgement is
//! safe.

use super::Shard;
use crate::mqtt::codec::Reason;
use crate::mqtt::{PublishReceipt, Version};
use crate::mutant::{Rule, is_left_out};
use crate::shard::clients::Receipts;
use crate::shard::journal::{Done, Part};
use crate::shard::notices::NoticeKind;
use crate::shard::ports::Ports;
use crate::shard::publish::Publisher;
use crate::store::{SessionNumber, Write};

impl<P: Ports> Shard<P> {
    /// A connection has ended with settled publishes that waited for earlier ones to be answered.
    pub(super) fn settle_unanswered(&mut self, key: u32, receipts: Receipts) {
        let Some(session) = self.sessions.session_mut(key) else { return };
        for (receipt, reason) in receipts.into_settled() {
            if receipt.exactly_once {
                session.routed_exactly_once(receipt.packet_id, reason.is_error());
            }
        }
    }

    /// Answers a publish, at once or when its write is done.
    pub(super) fn answer_publisher(
        &mut self,
        publisher: &Publisher,
        reason: Reason,
        part: &mut Part,
    ) {
        let Publisher { client, key, number: session_number, receipt } = *publisher;
        let session = (key, session_number);
        let has_to_wait = part.has_to_wait() && !is_left_out(Rule::PublishWaits);
        let served = self.resolve(client).filter(|index| self.is_served(*index));
        let number = match served {
            Some(index) if !has_to_wait && !self.clients[index].has_receipts() => {
                self.acknowledge_publish(index, receipt, reason);
                return;
            }
            Some(index) => self.wait_receipt(index, receipt),
            None if !has_to_wait => {
                self.settle_for_absent(session, receipt, reason);
                return;
            }
            // Its connection, with all receipts, is gone.
            None => 0,
        };
        let done = Done::Publish { client, number, reason, session, receipt };
        part.wait(self.here.index(), done);
    }

    /// The receipt of a client's publish waits. Returns the number by which it is settled.
    pub(super) fn wait_receipt(&mut self, index: u32, receipt: PublishReceipt) -> u64 {
        self.clients[index].wait_receipt(receipt)
    }

    pub(super) fn settle_receipt(&mut self, index: u32, number: u64, reason: Reason) {
        self.clients[index].settle_receipt(number, reason);
        // An answer may be the connection's last.
        while let Some(client) = self.clients.get_mut(index)
            && let Some((receipt, reason)) = client.pop_settled()
        {
            self.acknowledge_publish(index, receipt, reason);
        }
    }

    /// Answers a publish. A 3.1.1 client cannot be told that it failed: its connection ends, so that it sends the
    /// publish again.
    pub(super) fn acknowledge_publish(
        &mut self,
        index: u32,
        receipt: PublishReceipt,
        reason: Reason,
    ) {
        let client = &mut self.clients[index];
        let Some((connection, key)) = client.served_mut() else { return };
        let Some(session) = self.sessions.session_mut(key) else { return };
        // A full outbox would refuse it again at once: an older client must not send in a loop because another
        // client does not fetch its messages.
        let is_heard = reason != Reason::QuotaExceeded || connection.version() == Version::V5;
        let reason = if is_heard { reason } else { Reason::Success };
        let told = !reason.is_error() || connection.version() == Version::V5;
        if told {
            connection.publish_done(session, receipt, reason);
        } else if receipt.exactly_once {
            session.routed_exactly_once(receipt.packet_id, true);
        }
        self.file_changes(key, None);
        if told {
            self.mark_dirty(index);
        } else {
            self.tell(
                index,
                NoticeKind::Ended,
                &"its message could not be taken, which 3.1.1 cannot say",
            );
            self.close_client(index, None);
        }
    }

    /// The connection has ended meanwhile. If the client is back and has sent its publish again, that is answered
    /// now; otherwise the session notes the outcome for when it does.
    pub(super) fn settle_for_absent(
        &mut self,
        (key, number): (u32, SessionNumber),
        receipt: PublishReceipt,
        reason: Reason,
    ) {
        if !receipt.exactly_once {
            return;
        }
        let Some(entry) = self.sessions.numbered(key, number) else {
            // Its packet id may have been written behind the session's end.
            if self.here.shared().store.is_some() && is_recorded(reason) {
                let packet_id = receipt.packet_id;
                self.file(Write::RemoveExactlyOnce { number, packet_id }.into());
            }
            return;
        };
        match entry.client() {
            Some(index) if entry.session.has_asked_again(receipt.packet_id) => {
                self.acknowledge_publish(index, receipt, reason);
            }
            _ => {
                entry.session.routed_exactly_once(receipt.packet_id, reason.is_error());
                self.file_changes(key, None);
            }
        }
    }
}

/// Whether the packet id of a QoS 2 publish may be on disk after this outcome. A full outbox refuses the message
/// alone; the rest of the write is made.
fn is_recorded(reason: Reason) -> bool {
    !reason.is_error() || reason == Reason::QuotaExceeded
}

#[cfg(test)]
mod tests;
