//! The command line. The settings themselves are in `push_server::config`; this file adds their
//! defaults to the help text, from the values that the server uses.

pub(crate) mod password;
mod user;

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory, FromArgMatches, Parser};
use push_server::access::scram::{ITERATIONS_DEFAULT, ITERATIONS_MAX, ITERATIONS_MIN};
use push_server::config::{ADMIN_SOCKET, Config, START_WAIT_SECS, Settings};

pub(crate) use user::UserAction;

/// Most columns of help text.
const HELP_COLUMNS_MAX: usize = 100;

/// The range of --iterations.
const ITERATIONS: RangeInclusive<i64> = ITERATIONS_MIN as i64..=ITERATIONS_MAX as i64;

const AFTER_HELP: &str = "\
A setting is taken from its flag, else from the same key in the file of --config, else it is the \
default. A SIZE is a number of bytes or has a unit (64KiB, 1.5GiB, 2MB), a TIME is a number of \
seconds or has units (90s, 10m, 6h, 7d, 1w, 1h 30m). In the file what may be given \
several times is a list, or one text. Exit codes: 0 stopped by SIGTERM or SIGINT, 1 could not start \
or failed, 2 invalid settings, 128 and more cut short by a second signal of that number.";

/// An MQTT push server whose heartbeats the kernel answers.
#[derive(Debug, Parser)]
#[command(name = "push-server", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) subcommand: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Subcommand {
    /// Serve until SIGTERM or SIGINT.
    #[command(after_help = AFTER_HELP)]
    Run(Box<Run>),
    /// Check a settings file.
    ///
    /// Prints the settings it gives, defaults included, and exits with 0; or prints every mistake
    /// with its line and exits with 2.
    CheckConfig {
        /// The file to check.
        file: PathBuf,
    },
    /// Tell a running server to read its settings again, and the files that they name.
    ///
    /// All of them count from then on, or none: what is wrong is printed with file and line, and the exit
    /// code is 1. Prints what was read, which settings have changed, and which need a restart. SIGHUP does the
    /// same, and tells the log.
    Reload {
        /// The server's --admin-socket.
        #[arg(long, value_name = "PATH", default_value = ADMIN_SOCKET)]
        socket: PathBuf,
    },
    /// Change a file of users, or look at it.
    User {
        /// What to do with it.
        #[command(subcommand)]
        action: UserAction,
    },
    /// Print the line of a user for SCRAM-SHA-256, for the file of --users.
    ///
    /// Asks for the password on the terminal, twice and without showing it; else takes the first line of
    /// standard input. The line recognises the password (RFC 5803) without containing it.
    ScramUser {
        /// The user's name.
        name: String,
        /// Iterations of PBKDF2: each doubling makes passwords twice as hard to guess from the file,
        /// and each connect of a client twice as long.
        #[arg(
            long,
            value_name = "N",
            default_value_t = ITERATIONS_DEFAULT,
            value_parser = clap::value_parser!(u32).range(ITERATIONS)
        )]
        iterations: u32,
    },
    /// Ask a file of rules, or translate one of mosquitto's.
    #[command(subcommand)]
    Acl(AclCommand),
    /// Remove the programs that a crashed server left on the interfaces.
    ///
    /// Prints what it removes. Not needed before a new start, which removes them by itself when no socket
    /// needs them any more. Fails while a server runs.
    Detach {
        /// The server's --bpf-dir.
        #[arg(long, value_name = "DIR", default_value = push_server::config::BPF_DIR)]
        bpf_dir: PathBuf,
        /// How long to wait for a server that ends, in seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = START_WAIT_SECS)]
        wait_secs: u16,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum AclCommand {
    /// Say whether a client may publish or subscribe, and which line says so.
    ///
    /// Exits with 0 if it may, with 1 if it may not, and with 2 if the file has mistakes, which it
    /// prints with line and column.
    Check(AclQuestion),
    /// Translate an ACL file of mosquitto's into rules, on standard output.
    ///
    /// Standard error says what the rules do otherwise than mosquitto. Exits with 1 if lines are left
    /// out.
    Import {
        /// mosquitto's file (acl_file).
        file: PathBuf,
    },
}

/// What a client wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum AclAction {
    /// Publish to a topic.
    Publish,
    /// Subscribe with a filter.
    Subscribe,
}

/// A client, and what it wants to do.
#[derive(Args, Debug)]
pub(crate) struct AclQuestion {
    /// What the client wants to do.
    pub(crate) action: AclAction,
    /// The topic, or the filter.
    pub(crate) topic: String,
    /// The file of rules.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The user that the client has authenticated as. Left out: it has not.
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// The client id.
    #[arg(long, value_name = "ID")]
    pub(crate) client: String,
    /// A group that the client's token names, beside those of the file; may be given several times.
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Vec<String>,
    /// The client's address. Left out: it has none.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<IpAddr>,
    /// The listener that the client has connected to: its address and port, its path or its name.
    #[arg(long, value_name = "LISTENER")]
    pub(crate) listener: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// TOML file with the settings below, by the same names without the dashes in front: shards = 2.
    /// An unknown key is an error.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The settings that the flags give.
    #[command(flatten)]
    pub(crate) settings: Settings,
}

impl Cli {
    /// Reads the process's arguments; on a mistake prints it and exits with 2.
    pub(crate) fn from_process() -> Self {
        let matches = command().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// The command line with defaults in its help, which wraps at the terminal's width.
fn command() -> Command {
    let (defaults, live) = (Config::default().entries(), Config::live_keys());
    Cli::command().max_term_width(HELP_COLUMNS_MAX).mut_subcommand("run", |run| {
        run.next_line_help(true).mut_args(|arg| {
            let Some(help) = arg.get_help() else {
                return arg;
            };
            // clap removes the last full stop, which suits one sentence and not three.
            let mut help = format!("{help}.");
            let key = arg.get_long().unwrap_or_default();
            if let Some((_, Some(value))) = defaults.iter().find(|(name, _)| *name == key) {
                help.push_str(&format!("\n[default: {}]", as_flag(value)));
            }
            if live.iter().any(|live| live == key) {
                help.push_str("\n[a reload applies it]");
            }
            arg.help(help).hide_possible_values(true)
        })
    })
}

/// A value as a user would write it on the command line.
fn as_flag(value: &toml::Value) -> String {
    match value {
        toml::Value::Array(items) if items.is_empty() => "none".into(),
        toml::Value::Array(items) => items.iter().map(as_flag).collect::<Vec<_>>().join(" and "),
        toml::Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests;
