//! What WebSocket brings besides MQTT's bytes: answers of its own, and ends.

use super::client::Phase;
use super::worker::Worker;
use crate::websocket::Ended;

impl Worker {
    /// A client's bytes were handled: has sent what they are owed by WebSocket itself, and closes where
    /// nothing more is taken. Does nothing for clients without it.
    pub(super) fn after_frames(&mut self, index: u32) {
        let Some(client) = self.clients.get(index as usize) else { return };
        let Some(websocket) = &client.websocket else { return };
        let ended = websocket.ended();
        if websocket.owes() {
            self.mark_dirty(index);
        }
        if let Some(ended) = ended {
            self.on_frames_ended(index, ended);
        }
    }

    fn on_frames_ended(&mut self, index: u32, ended: Ended) {
        let client = &self.clients[index as usize];
        match &client.phase {
            // What came before the end is still to be handled.
            Phase::Serving { .. } if client.is_waiting() => return,
            Phase::Serving { .. } => self.close_client(index, None),
            Phase::Handshake { .. } => {
                self.counters.connects_malformed.add(u64::from(ended != Ended::Left));
                self.finish(index, Vec::new());
            }
            Phase::Flushing { .. } | Phase::Lingering { .. } => return,
        }
        match ended {
            Ended::HeadTooLarge => self.counters.limit_upgrade_head.add(1),
            Ended::PingRate => self.counters.limit_ping_rate.add(1),
            Ended::NotUpgraded | Ended::Left | Ended::Fault => {}
        }
        tracing::debug!(shard = self.index, ?ended, "a client's websocket has ended");
    }
}
