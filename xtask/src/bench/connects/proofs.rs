//! What clients prove who they are by, and the files for it: made by the programs that users would make them with.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use super::super::brokers::Told;
use super::super::rig::Bench;
use crate::workspace::run_checked;

/// Users of a run in which each connection is another's: more than connect in it.
const USERS_FIRST: u32 = 200_000;

/// The same for hashes that take long.
const USERS_FIRST_SLOW: u32 = 5_000;

/// Users of a run in which they come again: all have connected by the time that it is measured.
const USERS_AGAIN: u32 = 100;

/// Everybody's: who guesses it is not measured.
const PASSWORD: &str = "correct horse battery staple";

/// What proves who a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Proof {
    /// Nothing.
    None,
    /// A password, by a line of mosquitto's password file ($7$).
    Mosquitto,
    /// A password, by a line as `push-server user set` writes it.
    Argon2id,
    /// A token (JWT) that ES256 signs.
    Token,
}

/// Whether users have connected before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Time {
    First,
    Again,
}

/// The files that were made.
#[derive(Debug)]
pub(super) struct Made {
    folder: PathBuf,
}

impl Proof {
    pub(super) const ALL: [Self; 4] = [Self::None, Self::Mosquitto, Self::Argon2id, Self::Token];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::None => "no password",
            Self::Mosquitto => "password by $7$",
            Self::Argon2id => "password by Argon2id",
            Self::Token => "token by ES256",
        }
    }

    /// Whether mosquitto knows it.
    pub(super) fn is_mosquittos(self) -> bool {
        matches!(self, Self::None | Self::Mosquitto)
    }

    /// The counter that tells how our server checked it, and what it calls a check by more than memory.
    pub(super) fn checked(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::None => None,
            Self::Mosquitto | Self::Argon2id => Some(("push_passwords_checked_total", "hash")),
            Self::Token => Some(("push_tokens_checked_total", "signature")),
        }
    }

    fn users(self, time: Time) -> u32 {
        match (time, self) {
            (Time::Again, _) => USERS_AGAIN,
            (Time::First, Self::Argon2id) => USERS_FIRST_SLOW,
            (Time::First, _) => USERS_FIRST,
        }
    }
}

impl Made {
    /// Makes the files of these proofs.
    pub(super) fn new(bench: &Bench, proofs: &[Proof]) -> Result<Self> {
        let folder = bench.results.join("proofs");
        fs::create_dir_all(&folder)?;
        let this = Self { folder };
        for proof in Proof::ALL.iter().filter(|proof| proofs.contains(proof)) {
            match proof {
                Proof::None => {}
                Proof::Mosquitto => this.users(*proof, &mosquittos_hash(&this.folder)?)?,
                Proof::Argon2id => {
                    let hash = own_hash(&bench.brokers.server, &this.folder)?;
                    this.users(*proof, &hash)?;
                }
                Proof::Token => this.tokens(bench)?,
            }
        }
        Ok(this)
    }

    /// What a server is told so that it knows the users.
    pub(super) fn told(&self, proof: Proof, is_mosquitto: bool) -> Told {
        let file = |name: &str| self.of(proof).join(name).display().to_string();
        match (proof, is_mosquitto) {
            (Proof::None, _) => Told::default(),
            (Proof::Token, _) => {
                Told { words: vec!["--jwt-keys".to_owned(), file("keys.json")], ..Told::default() }
            }
            (_, false) => {
                Told { words: vec!["--users".to_owned(), file("users")], ..Told::default() }
            }
            (_, true) => Told {
                lines: format!("password_file {}\nuser root\n", file("users")),
                ..Told::default()
            },
        }
    }

    /// The users that connect, and how many there are. `None`: they give no name.
    pub(super) fn logins(&self, proof: Proof, time: Time) -> Option<(PathBuf, u32)> {
        let name = match time {
            Time::First => "logins",
            Time::Again => "logins-again",
        };
        (proof != Proof::None).then(|| (self.of(proof).join(name), proof.users(time)))
    }

    fn of(&self, proof: Proof) -> PathBuf {
        self.folder.join(proof.label().replace([' ', '$'], "-"))
    }

    /// All users have the same password and the same line: no server makes anything of that.
    fn users(&self, proof: Proof, hash: &str) -> Result<()> {
        let folder = self.of(proof);
        fs::create_dir_all(&folder)?;
        let (mut users, mut logins) = (String::new(), String::new());
        for number in 0..proof.users(Time::First) {
            writeln!(users, "user-{number}:{hash}")?;
            writeln!(logins, "user-{number}\t{PASSWORD}")?;
        }
        write_private(&folder.join("users"), &users)?;
        self.write_logins(proof, &logins)
    }

    fn tokens(&self, bench: &Bench) -> Result<()> {
        let folder = self.of(Proof::Token);
        fs::create_dir_all(&folder)?;
        let count = Proof::Token.users(Time::First).to_string();
        let mut command = bench.generator.command_of("tokens");
        run_checked(command.arg("--folder").arg(&folder).args(["--count", &count]))?;
        let logins = fs::read_to_string(folder.join("logins"))?;
        self.write_logins(Proof::Token, &logins)
    }

    fn write_logins(&self, proof: Proof, logins: &str) -> Result<()> {
        let folder = self.of(proof);
        let again = logins.lines().take(proof.users(Time::Again) as usize);
        let again: String = again.map(|line| format!("{line}\n")).collect();
        fs::write(folder.join("logins"), logins)?;
        fs::write(folder.join("logins-again"), again)?;
        Ok(())
    }
}

/// The hash of a line by mosquitto's own program.
fn mosquittos_hash(folder: &Path) -> Result<String> {
    let file = folder.join("one");
    write_private(&file, "")?;
    let mut command = Command::new("mosquitto_passwd");
    run_checked(command.arg("-b").arg(&file).args(["user", PASSWORD]))
        .context("mosquitto's own lines need mosquitto_passwd")?;
    hash_of(&file)
}

/// The hash of a line by ours.
fn own_hash(server: &Path, folder: &Path) -> Result<String> {
    let (file, password) = (folder.join("own"), folder.join("password"));
    write_private(&password, PASSWORD)?;
    let _ = fs::remove_file(&file);
    let mut command = Command::new(server);
    command.args(["user", "set", "user", "--file"]).arg(&file);
    command.arg("--password-file").arg(&password).stdout(Stdio::null());
    run_checked(&mut command)?;
    hash_of(&file)
}

fn hash_of(file: &Path) -> Result<String> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix("user:"));
    Ok(line.with_context(|| format!("no line in {}", file.display()))?.to_owned())
}

/// Only its user can read it, as servers ask for.
fn write_private(file: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(file, text)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
    Ok(())
}
