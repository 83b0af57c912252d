//! What a connection speaks that came to the wrong address: known by its first bytes, so that the log
//! can say what to do. Nobody is served by it.

use std::fmt;

/// Another protocol than the listener's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// TLS, where there is none.
    Tls,
    /// HTTP, where MQTT or TLS is spoken.
    Http,
    /// MQTT, where it is inside of layers.
    Mqtt,
    /// The PROXY protocol, where none is expected.
    Proxy,
}

/// A record of a handshake, and the higher byte of every version.
const CLIENT_HELLO: [u8; 2] = [0x16, 0x03];

/// The fixed header's first byte of CONNECT, with which every client begins.
const CONNECT: u8 = 0x10;

/// What headers of the PROXY protocol begin with, versions 1 and 2.
const PROXY_HEADERS: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];

/// The methods that browsers, scripts and health checks begin with.
const METHODS: [&[u8]; 8] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ", b"CONNECT ", b"DELETE ", b"PRI "];

impl Stranger {
    /// What a connection begins with; `None`: something else, or too little to tell.
    pub(crate) fn of(first_bytes: &[u8]) -> Option<Self> {
        if first_bytes.starts_with(&CLIENT_HELLO) {
            return Some(Self::Tls);
        }
        if METHODS.iter().any(|method| first_bytes.starts_with(method)) {
            return Some(Self::Http);
        }
        if PROXY_HEADERS.iter().any(|header| first_bytes.starts_with(header)) {
            return Some(Self::Proxy);
        }
        (first_bytes.first() == Some(&CONNECT)).then_some(Self::Mqtt)
    }
}

impl fmt::Display for Stranger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tls => {
                "it begins TLS at an address without: use one of --tls-listen or --wss-listen, or no TLS"
            }
            Self::Http => {
                "it sent an HTTP request to an address for MQTT: WebSocket is at --ws-listen and \
                 --wss-listen, metrics are at --http"
            }
            Self::Proxy => {
                "it sent a PROXY header to a listener without proxy-protocol: set that in its \
                 [[listener]], or let the proxy send none"
            }
            Self::Mqtt => {
                "it speaks bare MQTT at an address for TLS or WebSocket: use one of --listen, or \
                 switch TLS or WebSocket on"
            }
        })
    }
}
