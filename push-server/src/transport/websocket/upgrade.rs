//! The HTTP request that a connection begins with, and its answer [RFC 6455, 4.2]. Every path is
//! accepted, and every origin unless some are named: what else a browser adds by itself, such as a
//! cookie, means nothing here. What proxies have added is handed on to who knows whom to believe.

// It has addresses and, unlike `std::net`, no sockets.
use core::net::{IpAddr, SocketAddr};

use tungstenite::error::{CapacityError, Error, ProtocolError};
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, Response, create_response, write_response};
use tungstenite::http::header::{HeaderName, HeaderValue};
use tungstenite::http::{self, StatusCode, header};

use super::origin::normal_origin;
use crate::transport::end::Ended;

/// Bytes of the longest request head that is accepted. 16 KiB: room for the cookies that a browser
/// may add.
pub(crate) const UPGRADE_HEAD_BYTES_MAX: usize = 16 << 10;

/// The name of MQTT among subprotocols [MQTT-6.0.0-3].
const SUBPROTOCOL: &str = "mqtt";

/// By this header each proxy says whom it asks for.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Most addresses of it that are read, from the last one on: a chain has a few proxies.
const FORWARDED_MAX: usize = 32;

/// The version of WebSocket [RFC 6455, 4.4].
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// What a listener's requests are judged by.
#[derive(Debug, Default)]
pub(crate) struct UpgradeRules {
    origins: Box<[String]>,
    reads_forwarded: bool,
}

impl UpgradeRules {
    /// Only pages of these origins may connect, in normal form; none: all may. `reads_forwarded`: proxies say
    /// for whom they ask.
    pub(crate) fn new(origins: Vec<String>, reads_forwarded: bool) -> Self {
        Self { origins: origins.into(), reads_forwarded }
    }

    /// Whether a page may connect, or this is no page: only a browser says an origin.
    fn admit(&self, request: &Request) -> bool {
        let may_connect = |origin: &HeaderValue| {
            let origin = origin.to_str().ok().and_then(normal_origin);
            origin.is_some_and(|origin| self.origins.contains(&origin))
        };
        self.origins.is_empty() || request.headers().get_all(header::ORIGIN).iter().all(may_connect)
    }

    /// The addresses that proxies have added, the last one's first, up to one that is none.
    fn forwarded(&self, request: &Request) -> Vec<IpAddr> {
        if !self.reads_forwarded {
            return Vec::new();
        }
        let values = request.headers().get_all(FORWARDED_FOR).iter();
        let lines: Vec<_> = values.map(|value| value.to_str().unwrap_or_default()).collect();
        let entries = lines.iter().rev().flat_map(|line| line.rsplit(','));
        entries.map_while(|entry| address_of(entry.trim())).take(FORWARDED_MAX).collect()
    }
}

/// An address, with a port or without: some proxies add it.
fn address_of(entry: &str) -> Option<IpAddr> {
    let plain = entry.parse().ok();
    let address = plain.or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

/// What a request led to.
#[derive(Debug)]
pub(super) enum UpgradeAnswer {
    /// It is incomplete.
    More,
    /// It is granted. Frames begin after `used` of the bytes passed in. `forwarded`: the addresses that
    /// proxies have added, the last one's first.
    Accepted { answer: Vec<u8>, used: usize, forwarded: Vec<IpAddr> },
    /// It is refused.
    Refused { answer: Vec<u8>, how: Ended },
}

/// Takes more bytes of a request that begins with `head`.
pub(super) fn answer(head: &mut Vec<u8>, bytes: &[u8], rules: &UpgradeRules) -> UpgradeAnswer {
    let begun = head.len();
    let room = UPGRADE_HEAD_BYTES_MAX - begun;
    head.extend_from_slice(&bytes[..bytes.len().min(room)]);
    // A first line that is no request shows at once; the end of a request shows only at the end of
    // a line.
    let parsed = match begun == 0 || head[begun..].contains(&b'\n') {
        true => Request::try_parse(head),
        false => Ok(None),
    };
    let granted = match parsed {
        Ok(None) if bytes.len() < room => return UpgradeAnswer::More,
        Ok(None) => Err(Refusal::head_too_large()),
        Ok(Some((len, request))) => {
            grant(&request, rules).map(|response| (len, response, rules.forwarded(&request)))
        }
        Err(error) => Err(Refusal::from(error)),
    };
    *head = Vec::new();
    match granted {
        Ok((len, response, forwarded)) => {
            let answer = written(&response, "");
            UpgradeAnswer::Accepted { answer, used: len - begun, forwarded }
        }
        Err(refusal) => refusal.answer(),
    }
}

/// The response that grants a request, or why it is refused.
fn grant(request: &Request, rules: &UpgradeRules) -> Result<Response, Refusal> {
    let mut response = create_response(request)?;
    if !rules.admit(request) {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "pages of this origin may not connect"));
    }
    let offers = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let offers_mqtt = offers
        .iter()
        .filter_map(|offer| offer.to_str().ok())
        .flat_map(|offer| offer.split(','))
        .any(|offer| offer.trim() == SUBPROTOCOL);
    if !offers_mqtt {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "the subprotocol mqtt is not offered"));
    }
    // [MQTT-6.0.0-4]
    let mqtt = HeaderValue::from_static(SUBPROTOCOL);
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, mqtt);
    Ok(response)
}

/// Why a request is refused, for people who try it by hand.
struct Refusal {
    status: StatusCode,
    why: String,
}

impl Refusal {
    fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }

    fn head_too_large() -> Self {
        let why = format!("a request has at most {UPGRADE_HEAD_BYTES_MAX} bytes and 124 headers");
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, why)
    }

    fn answer(self) -> UpgradeAnswer {
        let Self { status, why } = self;
        let how = match status {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Ended::HeadTooLarge,
            StatusCode::FORBIDDEN => Ended::OriginRefused,
            _ => Ended::NotUpgraded,
        };
        let mut response = http::Response::new(());
        *response.status_mut() = status;
        let body = format!("MQTT over WebSocket is served here: {why}\n");
        let mut add = |name: HeaderName, value: HeaderValue| {
            response.headers_mut().insert(name, value);
        };
        add(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        add(header::CONTENT_LENGTH, body.len().into());
        add(header::CONNECTION, HeaderValue::from_static("close"));
        match status {
            StatusCode::UPGRADE_REQUIRED => {
                add(header::CONNECTION, HeaderValue::from_static("upgrade, close"));
                add(header::UPGRADE, HeaderValue::from_static("websocket"));
                add(header::SEC_WEBSOCKET_VERSION, VERSION);
            }
            StatusCode::METHOD_NOT_ALLOWED => add(header::ALLOW, HeaderValue::from_static("GET")),
            _ => {}
        }
        UpgradeAnswer::Refused { answer: written(&response, &body), how }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Capacity(CapacityError::TooManyHeaders) => return Self::head_too_large(),
            Error::Protocol(ProtocolError::WrongHttpMethod) => StatusCode::METHOD_NOT_ALLOWED,
            Error::Protocol(
                ProtocolError::MissingConnectionUpgradeHeader
                | ProtocolError::MissingUpgradeWebSocketHeader
                | ProtocolError::MissingSecWebSocketVersionHeader,
            ) => StatusCode::UPGRADE_REQUIRED,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

fn written(response: &Response, body: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_response(&mut out, response).expect("our own headers are text, and a vector takes all");
    out.extend_from_slice(body.as_bytes());
    out
}
