//! The users of a file, and the check of a user's password.

use std::collections::HashMap;
use std::fmt;

use super::credentials::Password;
use super::denial::Denial;
use super::distribution::Distribution;
use super::identity::Identity;
use super::mac::{Key, mac};
use super::password_hash::{
    ARGON2_SALT_BYTES, Cost, Hasher, OutOfMemory, PasswordHash, argon2id_hash,
};
use super::scram::{self, METHOD, SALT_BYTES, Verifier, VerifierError, Verifiers, prepared_name};
use super::verdict::Verdict;
use super::verified::CheckKey;
use super::warrant::{LineUse, Warrant, Withdrawal};

/// Most users in one file; each takes some 300 bytes.
pub const USERS_MAX: usize = 1_000_000;

/// The longest name, in bytes: that of the longest text of MQTT.
const NAME_BYTES_MAX: usize = 65_535;

/// The users of a file. `Debug` shows only their number.
pub struct Users {
    /// Hashes that check a password and nothing else.
    passwords: HashMap<Box<str>, PasswordHash>,
    /// They check a password too, for users who have no other line.
    verifiers: Verifiers,
    /// Keeps what unknown names cost and look like the same.
    secret: Key,
    /// What checks of passwords cost: an unknown name costs as much, as often.
    costs: Distribution<Cost>,
    /// Lines with hashes that are guessed fast.
    weak: usize,
}

/// Why a file of users is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct UsersError {
    /// Which line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Why there is no line for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The name.
    #[error(
        "a user's name has 1 to 65535 bytes, no colon, no line break, no blank at either end, and does not begin with #"
    )]
    Name,
    /// The password.
    #[error("a password has at least one byte")]
    Password,
    /// The name or the password, for SCRAM.
    #[error("for SCRAM: {0}")]
    Scram(#[from] VerifierError),
    /// There is not enough memory.
    #[error("there is no memory to hash a password")]
    OutOfMemory,
}

impl Users {
    /// Parses lines `NAME:HASH`, and `NAME SCRAM-SHA-256$...` as they were written before; skips empty lines and
    /// those that begin with #. A name may have a line for SCRAM and another one.
    ///
    /// `secret` is random; keep it when reading a file again, so that unknown names look and cost the same as
    /// before.
    ///
    /// # Errors
    /// A line is not valid, or costs too much to check.
    pub fn parse(text: &str, secret: Key) -> Result<Self, UsersError> {
        let mut passwords = HashMap::new();
        let mut verifiers = HashMap::<Box<str>, Verifier>::new();
        let mut weak = 0;
        for (line, said) in (1..).zip(text.lines()) {
            let wrong = |problem| UsersError { line, problem };
            let Some((name, hash)) = split(said).map_err(wrong)? else { continue };
            let is_new = match PasswordHash::parse(hash).map_err(wrong)? {
                PasswordHash::Scram(verifier) => {
                    let name = prepared_name(name);
                    let name = name.ok_or(wrong("the name is none that SCRAM can have"))?;
                    verifiers.insert(name, verifier).is_none()
                }
                hash => {
                    weak += usize::from(matches!(hash, PasswordHash::Sha512 { .. }));
                    passwords.insert(name.into(), hash).is_none()
                }
            };
            if !is_new {
                return Err(wrong("the same name as on a line before"));
            }
            if passwords.len().max(verifiers.len()) > USERS_MAX {
                return Err(wrong("more users than a server takes"));
            }
        }
        let verifiers = Verifiers::new(verifiers, secret);
        let others = verifiers.iter().filter(|(name, _)| !passwords.contains_key(*name));
        let others = others.map(|(_, one)| Cost::Scram { iterations: one.iterations() });
        let costs = Distribution::of(passwords.values().map(PasswordHash::cost).chain(others));
        Ok(Self { passwords, verifiers, secret, costs, weak })
    }

    /// Parses another file, with this one's secret.
    ///
    /// # Errors
    /// As for `parse`.
    pub fn parse_again(&self, text: &str) -> Result<Self, UsersError> {
        Self::parse(text, self.secret)
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        let names = self.verifiers.iter().map(|(name, _)| name);
        self.passwords.len() + names.filter(|name| !self.passwords.contains_key(*name)).count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.passwords.is_empty() && self.verifiers.is_empty()
    }

    /// How many lines have hashes of SHA-512 alone, which are guessed fast.
    pub fn weak(&self) -> usize {
        self.weak
    }

    /// The verifiers of SCRAM; `None`: no user has one.
    pub(super) fn verifiers(&self) -> Option<&Verifiers> {
        Some(&self.verifiers).filter(|verifiers| !verifiers.is_empty())
    }

    /// Whether there is a user of this name.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.passwords.contains_key(name) || self.verifiers.find(name).is_some()
    }

    /// What is to be done to tell whether a password is the one of a name. A name that is not here gets as much to
    /// do as one that is.
    pub fn check(&self, name: &str, password: Password) -> PasswordCheck {
        let random = |what: &[u8]| mac(&self.secret, &[what, name.as_bytes()]);
        let cost = self.costs.choose(&random(b"cost")).unwrap_or(Cost::DEFAULT);
        let fake = PasswordHash::unsatisfiable(cost, random(b"hash"));
        let found = self.password_line_of(name);
        let is_known = found.is_some();
        let (user, hash) = found.unwrap_or_else(|| (name.into(), fake));
        let warrant = self.warrant(&user, LineUse::Password, &hash);
        PasswordCheck { user, password, hash, is_known, warrant }
    }

    /// The user with this name, and the line that checks the user's password.
    fn password_line_of(&self, name: &str) -> Option<(Box<str>, PasswordHash)> {
        if let Some(hash) = self.passwords.get(name) {
            return Some((name.into(), hash.clone()));
        }
        self.scram_line_of(name)
    }

    /// The user with this name, and the line that checks what the user says by SCRAM.
    fn scram_line_of(&self, name: &str) -> Option<(Box<str>, PasswordHash)> {
        let (name, verifier) = self.verifiers.find(name)?;
        Some((name, PasswordHash::Scram(verifier.clone())))
    }

    fn warrant(&self, user: &str, of: LineUse, hash: &PasswordHash) -> Warrant {
        Warrant::of_line(&self.secret, user, of, &hash.fingerprint())
    }

    /// What lets in a user who has authenticated by SCRAM. `None`: there is no such line.
    pub(super) fn scram_warrant(&self, user: &str) -> Option<Warrant> {
        let (user, hash) = self.scram_line_of(user)?;
        Some(self.warrant(&user, LineUse::Scram, &hash))
    }

    /// Why a user who was let in by a line of this file, or of one before, may not stay. `None`: the line is still
    /// there. `scram_required`: only SCRAM will do.
    pub(super) fn withdrawal(
        &self,
        user: &str,
        warrant: Warrant,
        scram_required: bool,
    ) -> Option<Withdrawal> {
        let Some((name, hash)) = self.password_line_of(user) else {
            return Some(Withdrawal::User);
        };
        let by_password =
            || !scram_required && self.warrant(&name, LineUse::Password, &hash) == warrant;
        let stays = by_password() || self.scram_warrant(user) == Some(warrant);
        (!stays).then_some(Withdrawal::Password)
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} users", self.len())
    }
}

/// A password to be hashed and compared.
pub struct PasswordCheck {
    user: Box<str>,
    password: Password,
    hash: PasswordHash,
    is_known: bool,
    warrant: Warrant,
}

impl PasswordCheck {
    /// The check's name, by a secret of the process.
    pub fn key(&self, secret: &Key) -> CheckKey {
        let (user, password) = (self.user.as_bytes(), self.password.bytes());
        let lens = [user.len(), password.len()].map(|len| (len as u64).to_be_bytes());
        let line = self.hash.fingerprint();
        CheckKey::new(mac(secret, &[&lens[0], &lens[1], user, password, &line]))
    }

    /// Whether there is such a user.
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    /// What `run` costs.
    pub fn cost(&self) -> Cost {
        self.hash.cost()
    }

    /// Hashes the password, and compares.
    pub fn run(&self, hasher: &mut Hasher) -> Verdict {
        // Computed for unknown names as well, so that they take as long as known ones.
        let is_right = std::hint::black_box(self.hash.is_of(self.password.bytes(), hasher));
        match (self.is_known, is_right) {
            (false, _) => Verdict::Refused(Denial::UnknownUser),
            (true, Ok(true)) => self.passed(),
            (true, Ok(false)) => Verdict::Refused(Denial::WrongPassword),
            (true, Err(OutOfMemory)) => Verdict::Refused(Denial::Unanswered),
        }
    }

    /// The verdict if the password is the right one.
    pub fn passed(&self) -> Verdict {
        Verdict::Allowed(Identity::of_user(self.user.clone()).by(self.warrant), None)
    }
}

impl fmt::Debug for PasswordCheck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PasswordCheck").field("cost", &self.cost()).finish_non_exhaustive()
    }
}

/// The name of the user whose line this is. `None`: nobody's, as a comment.
pub fn owner(line: &str) -> Option<&str> {
    split(line).ok().flatten().map(|(name, _)| name)
}

/// What a line costs to check, as text.
pub fn kind(line: &str) -> Option<String> {
    let (_, hash) = split(line).ok().flatten()?;
    PasswordHash::parse(hash).ok().map(|hash| hash.cost().to_string())
}

/// The line for a name and a password: Argon2id.
///
/// # Errors
/// The name or the password is not one that a line can have.
pub fn password_line(
    name: &str,
    password: &[u8],
    salt: &[u8; ARGON2_SALT_BYTES],
) -> Result<String, LineError> {
    check_name(name)?;
    if password.is_empty() {
        return Err(LineError::Password);
    }
    let hash = argon2id_hash(password, salt).map_err(|OutOfMemory| LineError::OutOfMemory)?;
    Ok(format!("{name}:{hash}"))
}

/// The line for a name and a password: a verifier of SCRAM.
///
/// # Errors
/// As for `password_line`; SCRAM is stricter.
pub fn scram_line(
    name: &str,
    password: &str,
    salt: &[u8; SALT_BYTES],
    iterations: u32,
) -> Result<String, LineError> {
    check_name(name)?;
    // Both lines have to be the same user's.
    if prepared_name(name).as_deref() != Some(name) {
        return Err(LineError::Scram(VerifierError::Name));
    }
    Ok(format!("{name}:{}", scram::verifier(password, salt, iterations)?))
}

fn check_name(name: &str) -> Result<(), LineError> {
    let is_name = (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.contains([':', '\n', '\r'])
        && name.trim() == name
        && !name.starts_with('#');
    is_name.then_some(()).ok_or(LineError::Name)
}

/// Name and hash of a line. `None`: it has none.
fn split(line: &str) -> Result<Option<(&str, &str)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let is_scram = |hash: &str| hash.strip_prefix(METHOD).is_some_and(|rest| rest.starts_with('$'));
    let (name, hash) = match line.rsplit_once(' ') {
        // As `scram-user` prints it: such a name may have a colon.
        Some((name, hash)) if is_scram(hash) && !name.ends_with(':') => (name, hash),
        _ => line.split_once(':').ok_or("expected NAME:HASH")?,
    };
    let (name, hash) = (name.trim(), hash.trim());
    match (1..=NAME_BYTES_MAX).contains(&name.len()) {
        true => Ok(Some((name, hash))),
        false => Err("expected a name before the colon"),
    }
}

#[cfg(test)]
mod tests;
