//! Logs where the server listens: one line for each listener, with what answers the heartbeats of
//! its clients.

use std::io;

use tracing::info;

use super::observed::{Facts, PingPath};
use crate::config::ListenerKind;
use crate::kernel;
use crate::shard::Listening;

/// Logs a line for each listener.
pub(super) fn log(facts: &Facts) {
    for Listening { listener, address } in &facts.listening {
        let protocol = match listener.kind {
            ListenerKind::Mqtt => "MQTT",
            ListenerKind::Tls => "MQTT over TLS",
            ListenerKind::WebSocket => "MQTT over WebSocket",
            ListenerKind::TlsWebSocket => "MQTT over WebSocket and TLS",
        };
        let heartbeats = match address.tcp() {
            Some(tcp) => heartbeats(&facts.path, kernel::interfaces_for(&[tcp])),
            None => "user space: they come by no interface".to_owned(),
        };
        info!(%address, listener = %listener.name, protocol, heartbeats, "listening");
    }
    if let Some(address) = facts.http {
        info!(%address, protocol = "HTTP", "listening");
    }
}

/// Names what answers the heartbeats of clients that connect over `interfaces`.
fn heartbeats(path: &PingPath, interfaces: io::Result<Vec<String>>) -> String {
    let attached = match path {
        PingPath::User { reason } => return format!("user space: {reason}"),
        PingPath::Kernel { interfaces, .. } => interfaces,
    };
    let Ok(interfaces) = interfaces else {
        return format!("kernel on {}, user space elsewhere", attached.join(", "));
    };
    let (kernel, user): (Vec<_>, Vec<_>) =
        interfaces.into_iter().partition(|name| attached.contains(name));
    match (kernel.is_empty(), user.is_empty()) {
        (true, true) => format!("kernel on {}, user space elsewhere", attached.join(", ")),
        (true, false) => format!("user space: no program is attached to {}", user.join(", ")),
        (false, true) => format!("kernel on {}", kernel.join(", ")),
        (false, false) => {
            let (kernel, user) = (kernel.join(", "), user.join(", "));
            format!("kernel on {kernel}; user space on {user}, where no program is attached")
        }
    }
}

#[cfg(test)]
mod tests;
