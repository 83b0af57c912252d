//! What the layers around MQTT cause besides its bytes: answers of their own, and ends.

use std::fmt;
use std::net::SocketAddr;

use super::Shard;
use super::tls::TlsResult;
use crate::shard::clients::{Client, Phase};
use crate::shard::counters::ShardCounters;
use crate::shard::notices::NoticeKind;
use crate::shard::ports::Ports;
use crate::shard::proxies::Proxies;
use crate::transport::{Ended, Limit, ProxyHeader, Stranger};

impl<P: Ports> Shard<P> {
    /// A client's bytes were handled: sends what its layers owe, and closes it if they have ended.
    pub(super) fn after_layers(&mut self, index: u32) {
        let Some(client) = self.clients.get(index) else { return };
        let (ended, wants_step) = (client.transport.ended(), client.transport.wants_step());
        if client.transport.owes() {
            self.mark_dirty(index);
        }
        if wants_step {
            self.queue_tls_step(index);
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
                    self.tell(index, NoticeKind::Fault, &ended);
                } else {
                    self.tell_ordinary(index, &ended);
                }
                self.close_client(index, None);
            }
            Phase::Handshake { .. } if matches!(ended, Ended::Proxy(_)) => {
                self.on_proxy_fault(index, &ended);
            }
            Phase::Handshake { .. } => {
                let result = if ended.is_fault() { TlsResult::Failed } else { TlsResult::Left };
                let was_tls = self.end_tls_handshake(index, result);
                match ended {
                    Ended::OriginRefused => {
                        self.here.counters().origins_refused.add(1);
                        self.tell(index, NoticeKind::Refused, &ended);
                    }
                    Ended::Stranger(stranger) => return self.turn_stranger_away(index, stranger),
                    _ if was_tls && ended.is_fault() => {
                        self.tell(index, NoticeKind::TlsFailed, &ended);
                    }
                    _ if was_tls => self.tell_ordinary(index, &ended),
                    _ if ended.is_fault() => {
                        self.here.counters().connects_malformed.add(1);
                        self.tell(index, NoticeKind::NotMqtt, &ended);
                    }
                    _ => {}
                }
                self.finish(index, Vec::new());
            }
            Phase::Flushing { .. } | Phase::Lingering { .. } => return,
        }
        match ended.limit() {
            Some(Limit::UpgradeHead) => self.here.counters().limit_upgrade_head.add(1),
            Some(Limit::PingRate) => self.here.counters().limit_ping_rate.add(1),
            Some(Limit::HandshakeInput) => self.here.counters().limit_tls_handshake_input.add(1),
            Some(Limit::ProxyHeader) => self.here.counters().limit_proxy_header.add(1),
            None => {}
        }
    }

    /// A proxy has sent no header, or a wrong one, or none in time: the connection ends.
    pub(super) fn on_proxy_fault(&mut self, index: u32, why: &dyn fmt::Display) {
        self.here.counters().proxied_faulty.add(1);
        self.tell(index, NoticeKind::Proxy, why);
        // Its handshake of TLS has not begun.
        if let Some(pending) = self.clients[index].pending_mut() {
            pending.tls = None;
        }
        self.finish(index, Vec::new());
    }

    /// A client has come to the wrong address: the log says what to do.
    pub(super) fn turn_stranger_away(&mut self, index: u32, stranger: Stranger) {
        let counters = self.here.counters();
        let counter = match stranger {
            Stranger::Tls => &counters.strangers_tls,
            Stranger::Http => &counters.strangers_http,
            Stranger::Mqtt => &counters.strangers_mqtt,
            Stranger::Proxy => &counters.strangers_proxy,
        };
        counter.add(1);
        counters.connects_malformed.add(1);
        self.tell(index, NoticeKind::Stranger, &stranger);
        self.finish(index, Vec::new());
    }
}

/// Counts a proxy's header that has come whole.
pub(super) fn count_proxy_header(counters: &ShardCounters, header: ProxyHeader) {
    match header {
        ProxyHeader::Awaited => {}
        ProxyHeader::Told => counters.proxied_told.add(1),
        ProxyHeader::Local => counters.proxied_local.add(1),
    }
}

/// Whom the proxies in front of a client have asked for, if it has just been upgraded and they may say so.
pub(super) fn take_forwarded<P: Ports>(client: &mut Client<P>, proxies: &Proxies) {
    let added = client.transport.take_forwarded();
    if let Some(ip) = proxies.client_of(&added)
        && proxies.trust(client.address().map(|address| address.ip()))
    {
        // They do not add the port.
        client.transport.set_client(SocketAddr::new(ip, 0));
    }
}
