//! A CONNECT, parsed.

use bytes::Bytes;

use super::keep_alive::KeepAlive;
use super::will::Will;
use super::{Limits, Version};
use crate::access::{Identity, Password};

/// What a client's CONNECT asks for, already bounded by the limits.
#[derive(Debug)]
#[expect(missing_docs, reason = "names are the specification's; units are in the names")]
pub struct Connect {
    pub version: Version,
    /// Whether the client is a bridge of another broker.
    pub is_bridge: bool,
    /// Empty when the server has to assign one.
    pub client_id: String,
    /// Whether the server chose the client id. The code that chooses the id sets this.
    pub client_id_assigned: bool,
    /// Clean session (3.1.1) or clean start (5).
    pub clean_start: bool,
    pub keep_alive_secs: u16,
    /// In seconds. 3.1.1: 0 with clean session, else the longest that the server grants. MQTT 5: at
    /// most that.
    pub session_expiry_secs: u32,
    /// Whether the client asked for a longer expiry.
    pub session_expiry_capped: bool,
    pub receive_max: u16,
    pub packet_bytes_max: Option<u32>,
    /// 0 in 3.1.1, which has no aliases.
    pub topic_alias_max: u16,
    pub request_problem_information: bool,
    pub request_response_information: bool,
    pub user_name: Option<String>,
    pub password: Option<Password>,
    pub will: Option<Box<Will>>,
    /// The authentication that the client asked for; taken out when the exchange begins.
    pub authentication: Option<Authentication>,
    /// How the client has authenticated, if it asked to.
    pub authenticated: Option<Authenticated>,
    /// The identity that the client has proved: no user until the verdict comes.
    pub identity: Identity,
}

/// A client's request to authenticate.
#[derive(Debug)]
pub struct Authentication {
    /// The Authentication Method.
    pub method: Box<str>,
    /// The Authentication Data.
    pub data: Option<Bytes>,
}

/// How a client has authenticated by an exchange.
#[derive(Debug)]
pub struct Authenticated {
    /// The Authentication Method, for CONNACK [MQTT-4.12.0-5].
    pub method: Box<str>,
    /// The last Authentication Data, for CONNACK.
    pub data: Option<Bytes>,
    /// How many questions the exchange took; the next question gets the next number.
    pub questions: u32,
}

impl Connect {
    /// The keep alive that the server grants.
    pub fn keep_alive(&self, limits: &Limits) -> KeepAlive {
        KeepAlive::granted(self.version, self.keep_alive_secs, limits)
    }

    /// The user that the client is.
    pub fn user(&self) -> Option<&str> {
        self.identity.user()
    }
}
