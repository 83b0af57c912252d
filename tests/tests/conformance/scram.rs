//! A SCRAM-SHA-256 client, and AUTH packets, by hand. `rsasl`, which knows nothing of ours, is a second
//! one.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use push_server::access::Access;
use push_server::access::scram::{METHOD, Users, verifier_line};
use sha2::{Digest, Sha256};

use crate::wire::{Connect, packet, properties, text, text_property};

pub(crate) const CONTINUE: u8 = 0x18;
pub(crate) const REAUTHENTICATE: u8 = 0x19;

const SALT: [u8; 16] = [0x5A; 16];
const ITERATIONS: u32 = 4_096;

/// Two users, `user` with `pencil` and `other` with `crayon`: 4,096 iterations take their time.
static LINES: LazyLock<String> = LazyLock::new(|| {
    let line = |name, password| verifier_line(name, password, &SALT, ITERATIONS).expect("valid");
    format!("{}\n{}\n", line("user", "pencil"), line("other", "crayon"))
});

static PENCIL: LazyLock<[u8; 32]> = LazyLock::new(|| salted(b"pencil"));
static CRAYON: LazyLock<[u8; 32]> = LazyLock::new(|| salted(b"crayon"));

fn salted(password: &[u8]) -> [u8; 32] {
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password, &SALT, ITERATIONS, &mut salted);
    salted
}

/// Those two may be authenticated, and others may connect without.
pub(crate) fn access() -> Access {
    let users = Users::parse(&LINES, [7; 32]).expect("valid lines");
    Access { users: Some(users), scram_required: false, acl: None }
}

/// A client's side of one exchange.
pub(crate) struct Client {
    bare: String,
    salted: [u8; 32],
}

impl Client {
    /// Says that it is `name` and uses the password of `user`, or of `other`.
    pub(crate) fn new(name: &str, of: &str) -> Self {
        let salted = if of == "user" { *PENCIL } else { *CRAYON };
        Self { bare: format!("n={name},r=fyko+d2lbbFgONRv9qkxdawL"), salted }
    }

    pub(crate) fn user() -> Self {
        Self::new("user", "user")
    }

    pub(crate) fn first(&self) -> Vec<u8> {
        format!("n,,{}", self.bare).into_bytes()
    }

    /// The last message to a challenge, and what the server has to answer.
    pub(crate) fn last(&self, challenge: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let challenge = std::str::from_utf8(challenge).expect("text");
        let nonce = challenge.split(',').next().expect("a nonce");
        assert!(nonce.len() > self.bare.len(), "the server adds to our nonce");
        let unproved = format!("c=biws,{nonce}");
        let said = format!("{},{challenge},{unproved}", self.bare);
        let client_key = mac(&self.salted, b"Client Key");
        let signature = mac(&Sha256::digest(client_key), said.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let server = mac(&mac(&self.salted, b"Server Key"), said.as_bytes());
        let last = format!("{unproved},p={}", STANDARD.encode(proof));
        (last.into_bytes(), format!("v={}", STANDARD.encode(server)).into_bytes())
    }
}

fn mac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// A CONNECT that asks for SCRAM, with data unless that is empty.
pub(crate) fn connect(data: &[u8]) -> Connect {
    asking(METHOD, data)
}

/// The same for another method.
pub(crate) fn asking(method: &str, data: &[u8]) -> Connect {
    let connect = Connect::v5().property(&text_property(0x15, method));
    if data.is_empty() { connect } else { connect.property(&data_property(data)) }
}

/// An AUTH with method and data, unless that is empty: what both sides send.
pub(crate) fn auth(reason: u8, method: &str, data: &[u8]) -> Vec<u8> {
    let method = text_property(0x15, method);
    let data = if data.is_empty() { Vec::new() } else { data_property(data) };
    packet(0xF0, &[&[reason][..], &properties(&[&method, &data])].concat())
}

fn data_property(data: &[u8]) -> Vec<u8> {
    [vec![0x16], text(data)].concat()
}

/// The data of an AUTH of the server's.
#[track_caller]
pub(crate) fn challenge(bytes: &[u8]) -> Vec<u8> {
    let start = auth(CONTINUE, METHOD, b"");
    let at = start.len() + 3;
    let data = bytes.get(at..).expect("data");
    assert_eq!(bytes, auth(CONTINUE, METHOD, data));
    data.to_vec()
}
