//! What WebSocket brings besides MQTT's bytes: answers of its own, and ends.

use super::Shard;
use crate::shard::clients::Phase;
use crate::shard::notices::Kind;
use crate::shard::ports::Ports;
use crate::websocket::Ended;

impl<P: Ports> Shard<P> {
    /// A client's bytes were handled: has sent what they are owed by WebSocket itself, and closes where
    /// nothing more is taken. Does nothing for clients without it.
    pub(super) fn after_frames(&mut self, index: u32) {
        let Some(client) = self.clients.get(index) else { return };
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
        let client = &self.clients[index];
        let fault = match ended {
            Ended::Left => None,
            Ended::NotUpgraded => Some("no request for MQTT over WebSocket"),
            Ended::HeadTooLarge => Some("its request is too large"),
            Ended::Fault => Some("broke the rules of WebSocket"),
            Ended::PingRate => Some("too many pings of WebSocket"),
        };
        match &client.phase {
            // What came before the end is still to be handled.
            Phase::Serving { .. } if client.intake.is_stalled() => return,
            Phase::Serving { .. } => {
                match fault {
                    Some(fault) => self.tell(index, Kind::Fault, &fault),
                    None => self.tell_ordinary(index, "client closed its WebSocket"),
                }
                self.close_client(index, None);
            }
            Phase::Handshake { .. } => {
                if let Some(fault) = fault {
                    self.here.counters().connects_malformed.add(1);
                    self.tell(index, Kind::NotMqtt, &fault);
                }
                self.finish(index, Vec::new());
            }
            Phase::Flushing { .. } | Phase::Lingering { .. } => return,
        }
        match ended {
            Ended::HeadTooLarge => self.here.counters().limit_upgrade_head.add(1),
            Ended::PingRate => self.here.counters().limit_ping_rate.add(1),
            Ended::NotUpgraded | Ended::Left | Ended::Fault => {}
        }
    }
}
