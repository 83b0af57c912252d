//! Hashes of passwords as a file of users has them: what a check costs, and whether a password is the one.
//!
//! A check takes long on purpose, so shards never do one.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, PasswordHash as Phc, Version};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::mac::Key;
use super::scram::{ITERATIONS_MAX, METHOD, Verifier};

/// Most memory of a line with Argon2, in KiB.
pub const ARGON2_MEMORY_KIB_MAX: u32 = 256 << 10;
/// Most passes of a line with Argon2.
pub const ARGON2_PASSES_MAX: u32 = 16;
/// The memory of lines that the server writes, in KiB; passes and lanes with it (RFC 9106 calls them t and p). What
/// OWASP recommends, and the crate's default.
pub(super) const ARGON2_MEMORY_KIB: u32 = 19 << 10;
const ARGON2_PASSES: u32 = 2;
const ARGON2_LANES: u32 = 1;
/// Bytes of the salt of such a line, and of its hash.
pub(super) const ARGON2_SALT_BYTES: usize = 16;
const ARGON2_OUTPUT_BYTES: usize = 32;
/// Fewest bytes of a hash that is accepted: a shorter one is found by trying.
const OUTPUT_BYTES_MIN: usize = 16;
/// The longest salt of a line of mosquitto's, in bytes; its own has 12.
const MOSQUITTO_SALT_BYTES_MAX: usize = 64;

/// Why a hash is refused.
const UNKNOWN: &str =
    "expected NAME:HASH, where HASH begins with $argon2id$, SCRAM-SHA-256$, $7$ or $6$";
const BAD_ARGON2: &str =
    "expected $argon2id$v=19$m=KIB,t=PASSES,p=LANES$SALT$HASH, with 16 bytes or more of hash";
const COSTLY_ARGON2: &str =
    "Argon2 with more than 256 MiB of memory (m=262144) or 16 passes (t=16)";
const BAD_SCRAM: &str = "expected SCRAM-SHA-256$ITERATIONS:SALT$STORED_KEY:SERVER_KEY, with 4096 to 10000000 iterations";
const BAD_PBKDF2: &str = "expected $7$ITERATIONS$SALT$HASH, with 1 to 10000000 iterations";
const BAD_SHA512: &str = "expected $6$SALT$HASH";

/// The hash of a password.
#[derive(Clone)]
pub(super) enum PasswordHash {
    /// Argon2id, version 1.3 (RFC 9106).
    Argon2id { cost: Argon2Cost, salt: Box<[u8]>, output: Box<[u8]> },
    /// A verifier of SCRAM.
    Scram(Verifier),
    /// mosquitto's: PBKDF2 with HMAC-SHA-512.
    Pbkdf2Sha512 { iterations: u32, salt: Box<[u8]>, output: Output512 },
    /// mosquitto's before 2.0: SHA-512 of password and salt, once. Guessed fast by whoever has the file.
    Sha512 { salt: Box<[u8]>, output: Output512 },
}

/// What SHA-512 yields.
type Output512 = Box<[u8; 64]>;

/// What Argon2 takes for a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Argon2Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// What a check of a password takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// By Argon2id.
    Argon2id(Argon2Cost),
    /// By SCRAM-SHA-256.
    Scram {
        /// Of PBKDF2.
        iterations: u32,
    },
    /// By PBKDF2 with HMAC-SHA-512.
    Pbkdf2Sha512 {
        /// Of PBKDF2.
        iterations: u32,
    },
    /// By SHA-512.
    Sha512,
}

#[cfg(feature = "fuzzing")]
impl Argon2Cost {
    /// Whether it is more than a line may cost.
    pub(super) fn exceeds_limits(self) -> bool {
        self.memory_kib > ARGON2_MEMORY_KIB_MAX || self.passes > ARGON2_PASSES_MAX
    }
}

impl Cost {
    /// That of the lines that the server writes.
    pub(super) const DEFAULT: Self = Self::Argon2id(Argon2Cost {
        memory_kib: ARGON2_MEMORY_KIB,
        passes: ARGON2_PASSES,
        lanes: ARGON2_LANES,
    });
}

impl fmt::Display for Cost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argon2id(Argon2Cost { memory_kib, passes, lanes }) => {
                write!(formatter, "argon2id m={memory_kib},t={passes},p={lanes}")
            }
            Self::Scram { iterations } => write!(formatter, "scram-sha-256 i={iterations}"),
            Self::Pbkdf2Sha512 { iterations } => write!(formatter, "pbkdf2-sha512 i={iterations}"),
            Self::Sha512 => formatter.write_str("sha512"),
        }
    }
}

/// Hashes passwords, one after the other. Keeps the memory that the costliest Argon2 so far has needed: to get it anew
/// for each would take a third of the time.
#[derive(Default)]
pub struct Hasher {
    blocks: Vec<Block>,
    work: u64,
}

/// The system has not the memory that a hash needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no memory to hash a password")]
pub(super) struct OutOfMemory;

impl Hasher {
    /// What it has done so far: blocks of Argon2 filled, iterations of the others.
    pub fn work(&self) -> u64 {
        self.work
    }

    fn argon2id(
        &mut self,
        cost: Argon2Cost,
        password: &[u8],
        salt: &[u8],
        output: &mut [u8],
    ) -> Result<(), OutOfMemory> {
        let Argon2Cost { memory_kib, passes, lanes } = cost;
        let params = Params::new(memory_kib, passes, lanes, Some(output.len()));
        let params = params.map_err(|_| OutOfMemory)?;
        let blocks = params.block_count();
        if self.blocks.len() < blocks {
            self.blocks.try_reserve_exact(blocks - self.blocks.len()).map_err(|_| OutOfMemory)?;
            self.blocks.resize(blocks, Block::new());
        }
        self.work += u64::from(memory_kib) * u64::from(passes);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let blocks = &mut self.blocks[..blocks];
        // All sizes were checked when the line was parsed.
        argon2
            .hash_password_into_with_memory(password, salt, output, blocks)
            .map_err(|_| OutOfMemory)
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hasher").field("work", &self.work).finish_non_exhaustive()
    }
}

impl PasswordHash {
    /// Parses what follows the name and the colon.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(verifier) = text.strip_prefix(METHOD).and_then(|rest| rest.strip_prefix('$')) {
            return Verifier::parse(verifier).map(Self::Scram).ok_or(BAD_SCRAM);
        }
        if let Some(rest) = text.strip_prefix("$7$") {
            return pbkdf2_sha512(rest).ok_or(BAD_PBKDF2);
        }
        if let Some(rest) = text.strip_prefix("$6$") {
            return sha512(rest).ok_or(BAD_SHA512);
        }
        match text.starts_with("$argon2id$") {
            true => argon2id(text),
            false => Err(UNKNOWN),
        }
    }

    /// A hash that no password has and whose check costs this much. `random` has 32 random bytes.
    pub(super) fn unsatisfiable(cost: Cost, random: Key) -> Self {
        let salt = random[..ARGON2_SALT_BYTES].into();
        let long = || Box::new(std::array::from_fn(|index| random[index % random.len()]));
        match cost {
            Cost::Argon2id(cost) => Self::Argon2id { cost, salt, output: random.into() },
            Cost::Scram { iterations } => Self::Scram(Verifier::unsatisfiable(iterations, random)),
            Cost::Pbkdf2Sha512 { iterations } => {
                Self::Pbkdf2Sha512 { iterations, salt, output: long() }
            }
            Cost::Sha512 => Self::Sha512 { salt, output: long() },
        }
    }

    pub(super) fn cost(&self) -> Cost {
        match self {
            Self::Argon2id { cost, .. } => Cost::Argon2id(*cost),
            Self::Scram(verifier) => Cost::Scram { iterations: verifier.iterations() },
            Self::Pbkdf2Sha512 { iterations, .. } => Cost::Pbkdf2Sha512 { iterations: *iterations },
            Self::Sha512 { .. } => Cost::Sha512,
        }
    }

    /// Bytes that tell it from every other hash.
    pub(super) fn fingerprint(&self) -> Vec<u8> {
        let cost = self.cost().to_string();
        let parts: [&[u8]; 3] = match self {
            Self::Argon2id { salt, output, .. } => [salt, output, b""],
            Self::Scram(verifier) => verifier.parts(),
            Self::Pbkdf2Sha512 { salt, output, .. } | Self::Sha512 { salt, output } => {
                [salt, &output[..], b""]
            }
        };
        let mut bytes = Vec::new();
        for part in [cost.as_bytes()].into_iter().chain(parts) {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// Whether it is the hash of a password. Takes the same steps for every password of a length.
    pub(super) fn is_of(&self, password: &[u8], hasher: &mut Hasher) -> Result<bool, OutOfMemory> {
        Ok(match self {
            Self::Argon2id { cost, salt, output } => {
                let mut computed = Zeroizing::new(vec![0; output.len()]);
                hasher.argon2id(*cost, password, salt, &mut computed)?;
                computed.ct_eq(output).into()
            }
            Self::Scram(verifier) => {
                hasher.work += u64::from(verifier.iterations());
                verifier.is_of(password)
            }
            Self::Pbkdf2Sha512 { iterations, salt, output } => {
                let mut computed = Zeroizing::new([0; 64]);
                hasher.work += u64::from(*iterations);
                pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, *iterations, &mut *computed);
                computed.ct_eq(&output[..]).into()
            }
            Self::Sha512 { salt, output } => {
                hasher.work += 1;
                let computed = Sha512::new().chain_update(password).chain_update(salt).finalize();
                computed[..].ct_eq(&output[..]).into()
            }
        })
    }
}

/// The hash that the server writes for a password.
///
/// # Errors
/// There is no memory to compute it.
pub(super) fn argon2id_hash(
    password: &[u8],
    salt: &[u8; ARGON2_SALT_BYTES],
) -> Result<String, OutOfMemory> {
    let cost =
        Argon2Cost { memory_kib: ARGON2_MEMORY_KIB, passes: ARGON2_PASSES, lanes: ARGON2_LANES };
    let mut output = [0; ARGON2_OUTPUT_BYTES];
    Hasher::default().argon2id(cost, password, salt, &mut output)?;
    let [salt, output] = [&salt[..], &output].map(|bytes| STANDARD_NO_PAD.encode(bytes));
    let Argon2Cost { memory_kib, passes, lanes } = cost;
    Ok(format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${output}"))
}

fn argon2id(text: &str) -> Result<PasswordHash, &'static str> {
    let phc = Phc::new(text).map_err(|_| BAD_ARGON2)?;
    let number = |name: &str| phc.params.get_decimal(name);
    let (Some(memory_kib), Some(passes)) = (number("m"), number("t")) else {
        return Err(BAD_ARGON2);
    };
    if memory_kib > ARGON2_MEMORY_KIB_MAX || passes > ARGON2_PASSES_MAX {
        return Err(COSTLY_ARGON2);
    }
    let params = Params::try_from(&phc).map_err(|_| BAD_ARGON2)?;
    let (Some(salt), Some(output)) = (phc.salt, phc.hash) else { return Err(BAD_ARGON2) };
    let is_valid = phc.version == Some(Version::V0x13.into())
        && params.keyid().is_empty()
        && params.data().is_empty()
        && output.len() >= OUTPUT_BYTES_MIN;
    let cost = Argon2Cost { memory_kib, passes, lanes: params.p_cost() };
    let (salt, output) = (salt.as_ref().into(), output.as_bytes().into());
    is_valid.then_some(PasswordHash::Argon2id { cost, salt, output }).ok_or(BAD_ARGON2)
}

/// `ITERATIONS$SALT$HASH`.
fn pbkdf2_sha512(text: &str) -> Option<PasswordHash> {
    let (iterations, rest) = text.split_once('$')?;
    let iterations = iterations.parse().ok()?;
    let (salt, output) = salt_and_output(rest)?;
    let is_valid = (1..=ITERATIONS_MAX).contains(&iterations);
    is_valid.then_some(PasswordHash::Pbkdf2Sha512 { iterations, salt, output })
}

/// `SALT$HASH`.
fn sha512(text: &str) -> Option<PasswordHash> {
    let (salt, output) = salt_and_output(text)?;
    Some(PasswordHash::Sha512 { salt, output })
}

fn salt_and_output(text: &str) -> Option<(Box<[u8]>, Output512)> {
    let (salt, output) = text.split_once('$')?;
    let (salt, output) = (STANDARD.decode(salt).ok()?, STANDARD.decode(output).ok()?);
    let is_salt = (1..=MOSQUITTO_SALT_BYTES_MAX).contains(&salt.len());
    let output = <[u8; 64]>::try_from(output).ok()?;
    is_salt.then(|| (salt.into(), Box::new(output)))
}

#[cfg(test)]
mod tests;
