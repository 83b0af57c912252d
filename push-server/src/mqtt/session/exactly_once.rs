//! QoS 2 publishes of the client, from the first PUBLISH to PUBREL: the packet id tells a
//! duplicate.

use super::super::inflight::ReceivedPublish;
use super::super::outbox::Outbox;
use super::super::owed::SessionChange;
use super::Session;

impl Session {
    /// How far a client's QoS 2 publish has come, if it came before.
    pub(in super::super) fn exactly_once(&self, packet_id: u16) -> Option<ReceivedPublish> {
        self.outbox.as_deref().and_then(|outbox| outbox.exactly.find(packet_id))
    }

    /// Whether the client has sent the publish again on a newer connection than the one that the
    /// open receipt belongs to.
    pub fn has_asked_again(&self, packet_id: u16) -> bool {
        self.exactly_once(packet_id) == Some(ReceivedPublish::Asked)
    }

    /// A client's QoS 2 publish came for the first time.
    pub(in super::super) fn begin_exactly_once(&mut self, packet_id: u16) {
        self.outbox.get_or_insert_default().exactly.begin(packet_id);
    }

    /// A client's QoS 2 publish came again while its receipt is not back.
    pub(in super::super) fn ask_exactly_once(&mut self, packet_id: u16) {
        if let Some(outbox) = self.outbox.as_deref_mut() {
            outbox.exactly.ask(packet_id);
        }
    }

    /// A client's QoS 2 publish was routed, or refused, which ends its flow. Returns whether PUBREC
    /// is still owed.
    pub fn routed_exactly_once(&mut self, packet_id: u16, refused: bool) -> bool {
        let is_durable = self.is_durable;
        let Some(outbox) = self.outbox_for_change() else { return false };
        let owed =
            if refused { outbox.exactly.end(packet_id) } else { outbox.exactly.routed(packet_id) };
        // An unknown id was released before the disk had noted it.
        if is_durable && (refused || !owed) {
            outbox.changes.push(SessionChange::EndExactlyOnce(packet_id));
        }
        self.tidy();
        owed
    }

    /// PUBREL. Returns whether the packet id was known. The disk removes it in any case: this may
    /// be the client's second try, after a removal that failed.
    pub(in super::super) fn release(&mut self, packet_id: u16) -> bool {
        let is_durable = self.is_durable;
        let Some(outbox) = self.outbox_for_change() else { return false };
        let known = outbox.exactly.end(packet_id);
        if is_durable {
            outbox.changes.push(SessionChange::EndExactlyOnce(packet_id));
        }
        self.tidy();
        known
    }

    /// The outbox. A durable session gets one if it has none, because the change goes to disk
    /// through it.
    fn outbox_for_change(&mut self) -> Option<&mut Outbox> {
        if self.is_durable && self.outbox.is_none() {
            self.outbox = Some(Box::default());
        }
        self.outbox.as_deref_mut()
    }
}
