//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side: verifiers in, messages in and out. Nonces
//! are arguments. A password is here only while a verifier is made from it, or compared with it.
//!
//! Crates compute the primitives. This file parses the messages itself, since the libraries (rsasl
//! 2.3, scram 0.6) slice a client's bytes without checking their length, so that any client can
//! make them panic. They also draw their nonces themselves.

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::denial::Denial;
use super::distribution::Distribution;
use super::mac::{Key, mac};

/// The name of the Authentication Method in MQTT 5.
pub const METHOD: &str = "SCRAM-SHA-256";

/// The longest message of a client, in bytes: a user's name and a nonce.
pub const MESSAGE_BYTES_MAX: usize = 1_024;

/// Fewest iterations of a verifier that is accepted: RFC 7677 asks for 4,096 at least.
pub const ITERATIONS_MIN: u32 = 4_096;
/// Most iterations of a verifier that is accepted: a client computes ten million for seconds.
pub const ITERATIONS_MAX: u32 = 10_000_000;

/// Iterations of a verifier made here, if none are asked for.
pub const ITERATIONS_DEFAULT: u32 = 16_384;

/// The salt of a verifier made here, in bytes.
pub const SALT_BYTES: usize = 16;

/// The longest salt read, in bytes.
const SALT_BYTES_MAX: usize = 64;

/// Random bytes for one exchange. Never use them for a second one.
pub type Nonce = [u8; 18];

/// Recognises a password, without telling it.
#[derive(Clone)]
pub(super) struct Verifier {
    salt: Box<[u8]>,
    iterations: u32,
    stored_key: Key,
    server_key: Key,
}

/// Verifiers by the users' names. `Debug` shows only their number.
pub struct Verifiers {
    by_name: HashMap<Box<str>, Verifier>,
    /// Key for the salts of unknown names, so that those look like any other, and the same each
    /// time (RFC 5802, section 9).
    secret: Key,
    /// An unknown name gets a shape as often as users have it, so the shape does not tell whether a user exists.
    shapes: Distribution<Shape>,
}

/// What a challenge shows of a verifier: iterations, and length of the salt in bytes.
type Shape = (u32, usize);

/// Why no verifier can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// The name.
    #[error("a user's name has 1 to 255 bytes, no control characters, and does not begin with #")]
    Name,
    /// The password.
    #[error("a password has at least one character and no control characters")]
    Password,
}

impl Verifiers {
    /// `secret` is random; keep it when reading a file again, so that unknown names look the same as before.
    pub(super) fn new(by_name: HashMap<Box<str>, Verifier>, secret: Key) -> Self {
        let shape = |verifier: &Verifier| (verifier.iterations, verifier.salt.len());
        let shapes = Distribution::of(by_name.values().map(shape));
        Self { by_name, secret, shapes }
    }

    /// The verifier of a name as a client sent it, and the name that it belongs to.
    pub(super) fn find(&self, name: &str) -> Option<(Box<str>, &Verifier)> {
        let name = prepared_name(name)?;
        let verifier = self.by_name.get(&name)?;
        Some((name, verifier))
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Verifier)> {
        self.by_name.iter().map(|(name, verifier)| (&**name, verifier))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The verifier of a prepared name, and whether the user exists. If not, the verifier is one that no
    /// password satisfies. Both cases take the same steps.
    fn verifier(&self, name: &str) -> (Verifier, bool) {
        let made = |what: &[u8]| mac(&self.secret, &[what, name.as_bytes()]);
        let shape = self.shapes.choose(&made(b"shape"));
        let (iterations, salt_len) = shape.unwrap_or((ITERATIONS_MIN, SALT_BYTES));
        // If a new file changes the name's shape, the salt changes as well, as with a new password.
        let shape = [iterations.to_be_bytes(), (salt_len as u32).to_be_bytes()].concat();
        let salted = |what: &[u8]| mac(&self.secret, &[what, &shape, name.as_bytes()]);
        let mut salt = [salted(b"salt"), salted(b"more salt")].concat();
        salt.truncate(salt_len);
        let fake = Verifier {
            salt: salt.into(),
            iterations,
            stored_key: made(b"stored key"),
            server_key: made(b"server key"),
        };
        match self.by_name.get(name) {
            Some(verifier) => (verifier.clone(), true),
            None => (fake, false),
        }
    }
}

impl fmt::Debug for Verifiers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} verifiers", self.by_name.len())
    }
}

impl Verifier {
    /// Parses what follows the method's name and its `$`: `ITERATIONS:SALT$STORED_KEY:SERVER_KEY` (RFC 5803).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('$');
        let (salting, keys) = (parts.next()?, parts.next()?);
        let (iterations, salt) = salting.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let iterations: u32 = iterations.parse().ok()?;
        let salt = STANDARD.decode(salt).ok()?;
        let is_valid = parts.next().is_none()
            && (ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations)
            && (1..=SALT_BYTES_MAX).contains(&salt.len());
        let key = |text: &str| Key::try_from(STANDARD.decode(text).ok()?).ok();
        let (stored_key, server_key) = (key(stored_key)?, key(server_key)?);
        is_valid.then(|| Self { salt: salt.into(), iterations, stored_key, server_key })
    }

    /// A verifier that no password satisfies, with 32 random bytes.
    pub(super) fn unsatisfiable(iterations: u32, random: Key) -> Self {
        let salt = random[..SALT_BYTES].into();
        Self { salt, iterations, stored_key: random, server_key: random }
    }

    /// How often a password is hashed to be compared.
    pub(super) fn iterations(&self) -> u32 {
        self.iterations
    }

    /// What tells it from every other verifier.
    pub(super) fn parts(&self) -> [&[u8]; 3] {
        [&self.salt, &self.stored_key, &self.server_key]
    }

    /// Whether it is the verifier of a password. Takes the same steps for every password of a length.
    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        let text = std::str::from_utf8(password).ok();
        let prepared = text.and_then(|text| stringprep::saslprep(text).ok());
        let prepared = prepared.map(|prepared| Zeroizing::new(prepared.into_owned()));
        let bytes = prepared.as_ref().map_or(password, |prepared| prepared.as_bytes());
        let keys = keys_of(bytes, &self.salt, self.iterations);
        let is_of = bool::from(keys.0.ct_eq(&self.stored_key));
        is_of & prepared.is_some()
    }
}

/// StoredKey and ServerKey of a password (RFC 5802, section 3).
fn keys_of(password: &[u8], salt: &[u8], iterations: u32) -> (Key, Key) {
    let mut salted = Zeroizing::new(Key::default());
    pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut *salted);
    let client_key = Zeroizing::new(mac(&salted, &[b"Client Key"]));
    (Sha256::digest(*client_key).into(), mac(&salted, &[b"Server Key"]))
}

/// The line for `name` in a file of users: a verifier of `password`, without the password.
pub fn verifier_line(
    name: &str,
    password: &str,
    salt: &[u8; SALT_BYTES],
    iterations: u32,
) -> Result<String, VerifierError> {
    let name = prepared_name(name).ok_or(VerifierError::Name)?;
    Ok(format!("{name} {}", verifier(password, salt, iterations)?))
}

/// A verifier of `password` as lines have it.
pub(super) fn verifier(
    password: &str,
    salt: &[u8; SALT_BYTES],
    iterations: u32,
) -> Result<String, VerifierError> {
    let password = stringprep::saslprep(password).map_err(|_| VerifierError::Password)?;
    let password = Zeroizing::new(password.into_owned());
    if password.is_empty() {
        return Err(VerifierError::Password);
    }
    let (stored_key, server_key) = keys_of(password.as_bytes(), salt, iterations);
    let [salt, stored_key, server_key] =
        [&salt[..], &stored_key, &server_key].map(|bytes| STANDARD.encode(bytes));
    Ok(format!("{METHOD}${iterations}:{salt}${stored_key}:{server_key}"))
}

/// The prepared form of a name, by which users are stored (RFC 5802, section 5.1). `None`: not a
/// valid name.
pub(super) fn prepared_name(name: &str) -> Option<Box<str>> {
    let name = stringprep::saslprep(name).ok()?;
    let is_name = (1..=255).contains(&name.len()) && !name.starts_with('#') && name.trim() == name;
    is_name.then(|| name.into())
}

/// How far an exchange with a client has come. `Debug` shows no key.
#[derive(Default)]
pub struct Exchange(State);

#[derive(Default)]
enum State {
    /// The client has named the method, and may have sent its first message with it.
    #[default]
    New,
    /// The server asked for the client's first message.
    Begun,
    /// The client has the challenge.
    Challenged(Box<Challenge>),
}

/// What the client's last message must agree with.
struct Challenge {
    name: Box<str>,
    is_known: bool,
    stored_key: Key,
    server_key: Key,
    /// The first part of the client's first message, which its last message repeats.
    binding: String,
    /// The client's nonce and ours.
    nonce: String,
    /// The rest of the client's first message, and the server's answer.
    said: String,
}

/// What the client's message leads to.
#[derive(Debug)]
pub(super) enum Step {
    /// Send the data, if any; the client's next message continues the exchange.
    Continue(Exchange, Option<Bytes>),
    /// The client has proved to be this user. Send it the data, which proves that the server has
    /// its verifier.
    Done(Box<str>, Bytes),
}

impl Exchange {
    /// Takes the client's next message; `None`: it sent none. The error is for operators, not for
    /// the client.
    pub(super) fn step(
        &self,
        users: &Verifiers,
        nonce: &Nonce,
        message: Option<&[u8]>,
    ) -> Result<Step, Denial> {
        let message = message.map(text).transpose()?;
        match (&self.0, message) {
            (State::New, None) => Ok(Step::Continue(Self(State::Begun), None)),
            (State::New | State::Begun, Some(message)) => {
                let (challenge, answer) = challenge(users, nonce, message)?;
                let exchange = Self(State::Challenged(Box::new(challenge)));
                Ok(Step::Continue(exchange, Some(answer.into())))
            }
            (State::Challenged(challenge), Some(message)) => challenge.judge(message),
            (State::Begun | State::Challenged(_), None) => Err(Denial::InvalidProof),
        }
    }
}

impl Exchange {
    /// The user that the client says it is, once it was challenged.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.0 {
            State::New | State::Begun => None,
            State::Challenged(challenge) => Some(&challenge.name),
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            State::New => "New",
            State::Begun => "Begun",
            State::Challenged(_) => "Challenged",
        })
    }
}

fn text(message: &[u8]) -> Result<&str, Denial> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(Denial::InvalidProof);
    }
    std::str::from_utf8(message).map_err(|_| Denial::InvalidProof)
}

/// Answers a client's first message: `n,[a=NAME],n=NAME,r=NONCE[,...]` (RFC 5802, section 7).
fn challenge(users: &Verifiers, nonce: &Nonce, first: &str) -> Result<(Challenge, String), Denial> {
    let mut header = first.splitn(3, ',');
    let (flag, authorized, bare) = match (header.next(), header.next(), header.next()) {
        (Some(flag), Some(authorized), Some(bare)) => (flag, authorized, bare),
        _ => return Err(Denial::InvalidProof),
    };
    // n: no channel binding; y: the client could, but believes the server cannot. p asks for it.
    if flag != "n" && flag != "y" {
        return Err(Denial::InvalidProof);
    }
    let mut attributes = bare.split(',');
    let said_name =
        attributes.next().and_then(|part| part.strip_prefix("n=")).ok_or(Denial::InvalidProof)?;
    let client_nonce =
        attributes.next().and_then(|part| part.strip_prefix("r=")).ok_or(Denial::InvalidProof)?;
    let name =
        unescaped(said_name).and_then(|name| prepared_name(&name)).ok_or(Denial::InvalidProof)?;
    // Acting for another user is not supported.
    let is_own = match authorized.strip_prefix("a=") {
        Some(other) => other == said_name,
        None => authorized.is_empty(),
    };
    let is_printable = client_nonce.bytes().all(|byte| (0x21..=0x7E).contains(&byte));
    if !is_own || client_nonce.is_empty() || !is_printable {
        return Err(Denial::InvalidProof);
    }
    let (verifier, is_known) = users.verifier(&name);
    let nonce = format!("{client_nonce}{}", STANDARD.encode(nonce));
    let salt = STANDARD.encode(&verifier.salt);
    let answer = format!("r={nonce},s={salt},i={}", verifier.iterations);
    let Verifier { stored_key, server_key, .. } = verifier;
    let binding = STANDARD.encode(format!("{flag},{authorized},"));
    let said = format!("{bare},{answer}");
    Ok((Challenge { name, is_known, stored_key, server_key, binding, nonce, said }, answer))
}

/// Undoes the escapes `=2C` (`,`) and `=3D` (`=`). `None`: there is any other `=`.
fn unescaped(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let (escaped, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return None,
        };
        plain.push(escaped);
        plain.push_str(rest);
    }
    Some(plain)
}

impl Challenge {
    /// Judges a client's last message: `c=BINDING,r=NONCE[,...],p=PROOF`.
    fn judge(&self, last: &str) -> Result<Step, Denial> {
        let (unproved, proof) = last.rsplit_once(",p=").ok_or(Denial::InvalidProof)?;
        let mut attributes = unproved.split(',');
        let binding = attributes.next().and_then(|part| part.strip_prefix("c="));
        let nonce = attributes.next().and_then(|part| part.strip_prefix("r="));
        if binding != Some(&*self.binding) || nonce != Some(&*self.nonce) {
            return Err(Denial::InvalidProof);
        }
        let proof = STANDARD.decode(proof).ok().and_then(|proof| Key::try_from(proof).ok());
        let mut client_key = proof.ok_or(Denial::InvalidProof)?;
        let said = [self.said.as_bytes(), b",", unproved.as_bytes()];
        let signature = mac(&self.stored_key, &said);
        client_key.iter_mut().zip(signature).for_each(|(byte, other)| *byte ^= other);
        let is_proved = bool::from(Sha256::digest(client_key).ct_eq(&self.stored_key));
        // Computed for unknown names as well, so that they take as long as known ones.
        match (self.is_known, std::hint::black_box(is_proved)) {
            (false, _) => return Err(Denial::UnknownUser),
            (true, false) => return Err(Denial::WrongPassword),
            (true, true) => {}
        }
        let answer = format!("v={}", STANDARD.encode(mac(&self.server_key, &said)));
        Ok(Step::Done(self.name.clone(), answer.into()))
    }
}

#[cfg(test)]
mod tests;
