//! What the layers around MQTT cause besides its bytes: answers of their own, and ends.

use super::Shard;
use crate::shard::clients::Phase;
use crate::shard::notices::NoticeKind;
use crate::shard::ports::Ports;
use crate::transport::{Ended, Limit};

impl<P: Ports> Shard<P> {
    /// A client's bytes were handled: sends what its layers owe, and closes it if they have ended.
    pub(super) fn after_layers(&mut self, index: u32) {
        let Some(client) = self.clients.get(index) else { return };
        let ended = client.transport.ended();
        if client.transport.owes() {
            self.mark_dirty(index);
        }
        if let Some(ended) = ended {
            self.on_layers_ended(index, ended);
        }
    }

    fn on_layers_ended(&mut self, index: u32, ended: Ended) {
        let client = &self.clients[index];
        match client.phase() {
            // Bytes from before the end still wait to be handled.
            Phase::Serving { .. } | Phase::Handshake(_) if client.intake.is_stalled() => return,
            Phase::Serving { .. } if self.agenda.is_resting() => return self.hold_input(index),
            Phase::Serving { .. } => {
                if ended.is_fault() {
                    self.tell(index, NoticeKind::Fault, &ended.text());
                } else {
                    self.tell_ordinary(index, ended.text());
                }
                self.close_client(index, None);
            }
            Phase::Handshake { .. } => {
                if ended.is_fault() {
                    self.here.counters().connects_malformed.add(1);
                    self.tell(index, NoticeKind::NotMqtt, &ended.text());
                }
                self.finish(index, Vec::new());
            }
            Phase::Flushing { .. } | Phase::Lingering { .. } => return,
        }
        match ended.limit() {
            Some(Limit::UpgradeHead) => self.here.counters().limit_upgrade_head.add(1),
            Some(Limit::PingRate) => self.here.counters().limit_ping_rate.add(1),
            None => {}
        }
    }
}
