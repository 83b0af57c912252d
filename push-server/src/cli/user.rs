//! `push-server user`: changes a file of users, or looks at it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use push_server::access::scram::ITERATIONS_DEFAULT;
use push_server::access::users::{password_line, scram_line};
use push_server::control::users_file;

use super::password::{known_password, new_password};

/// What to do with a file of users.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum UserAction {
    /// Add a user, or change a user's password.
    ///
    /// Asks for the password on the terminal, twice and without showing it; else takes the first line of
    /// standard input. The line has a hash of the password (Argon2id). A running server reads the file again
    /// by push-server reload, and lets go of clients whose line has changed.
    Set {
        /// The user's name.
        name: String,
        #[command(flatten)]
        place: Place,
        /// Take the password from the first line of this file.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Also write a line by which the user can authenticate by SCRAM-SHA-256.
        #[arg(long)]
        scram: bool,
    },
    /// Remove a user. Fails if there is none.
    Remove {
        /// The user's name.
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Print the users, and what a check of their passwords costs.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Say whether a password is a user's, as the server would. Fails if it is not.
    Verify {
        /// The user's name.
        name: String,
        #[command(flatten)]
        place: Place,
        /// Take the password from the first line of this file.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
}

/// The file of users.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The file of --users. `set` makes it if there is none. It is replaced by a new one, which
    /// belongs to the same user, and only that user can read.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

impl UserAction {
    /// Does it.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Set { name, place, password_file, scram } => {
                set(&place.file, name, password_file.as_deref(), *scram)?;
            }
            Self::Remove { name, place } => users_file::remove(&place.file, name)?,
            Self::List { place } => {
                let mut out = io::stdout().lock();
                for (name, kind) in users_file::list(&place.file)? {
                    writeln!(out, "{name} {kind}")?;
                }
            }
            Self::Verify { name, place, password_file } => {
                let password = known_password(password_file.as_deref())?;
                if !users_file::verify(&place.file, name, password.as_bytes())? {
                    bail!("that is not the password of {name:?}");
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn set(file: &Path, name: &str, password_file: Option<&Path>, scram: bool) -> anyhow::Result<()> {
    let password = new_password(password_file)?;
    let mut lines = vec![password_line(name, password.as_bytes(), &rand::random())?];
    if scram {
        lines.push(scram_line(name, &password, &rand::random(), ITERATIONS_DEFAULT)?);
    }
    Ok(users_file::set(file, name, &lines)?)
}
