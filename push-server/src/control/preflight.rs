//! `check-config`: checks whether this machine has what the settings need, without starting. It
//! serves no client and leaves nothing behind.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::access::AccessError;
use super::hook::HookFiles;
use super::limits::ProcessLimits;
use super::{access, startup, tls};
use crate::config::{
    AdminSocket, Config, ConfigError, DurabilityMode, ListenAddress, Listener, ListenerForm,
    Loaded, SetBy,
};
use crate::kernel;
use crate::shard::probe_unix;

/// Something that would stop a start.
#[derive(Debug, thiserror::Error)]
enum Problem {
    /// Wrong on every machine.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// Wrong on this machine.
    #[error("{} = {value}: {problem}", set_by.name(key))]
    Machine { key: &'static str, set_by: SetBy, value: String, problem: String },
}

impl Problem {
    fn line(&self) -> Option<usize> {
        match self {
            Self::Settings(error) => error.line(),
            Self::Machine { set_by, .. } => set_by.line(),
        }
    }
}

/// Everything that would stop a start, by line: `mistakes` in the settings, and what the machine
/// lacks. Call it with the rights that the server has when it opens its files.
pub fn problems(loaded: &Loaded, mistakes: Vec<ConfigError>) -> Vec<String> {
    // A refused value was replaced by its default, which the user did not ask for.
    let refused: Vec<_> = mistakes.iter().filter_map(ConfigError::key).map(str::to_owned).collect();
    let is_refused = |key: &str| refused.iter().any(|other| other == key);
    let here = missing(loaded).into_iter().filter(|found| !is_refused(found.key));
    let here = here.map(|Missing { key, table, value, problem }| Problem::Machine {
        key,
        set_by: loaded.set_by(key, table),
        value,
        problem,
    });
    let mut problems: Vec<_> = mistakes.into_iter().map(Problem::from).chain(here).collect();
    problems.sort_by_key(Problem::line);
    problems.iter().map(Problem::to_string).collect()
}

/// The settings, with the values that this machine decides for those not set, as far as they are
/// known before a start.
pub fn in_force(config: &Config) -> Config {
    let found = ProcessLimits::raised();
    Config {
        totals: config.totals.within(found.memory_bytes),
        connections_max: found.connections_max(config).ok(),
        ..config.clone()
    }
}

/// What the machine lacks.
struct Missing {
    key: &'static str,
    /// The `[[listener]]` table that has the key.
    table: Option<usize>,
    value: String,
    problem: String,
}

impl Missing {
    fn new(key: &'static str, value: &dyn ToString, problem: &dyn ToString) -> Self {
        Self { key, table: None, value: value.to_string(), problem: problem.to_string() }
    }
}

/// All that the machine lacks.
fn missing(loaded: &Loaded) -> Vec<Missing> {
    let config = &loaded.config;
    let mut found = missing_addresses(loaded);
    match kernel::missing_interfaces(&config.interfaces) {
        Ok(missing) => found.extend(
            missing.iter().map(|name| Missing::new("iface", name, &"there is no such interface")),
        ),
        Err(error) => found.push(Missing::new("iface", &config.interfaces.join(", "), &error)),
    }
    if let Err(error) = access::load(config) {
        let (key, path) = match &error {
            AccessError::Acl(_) => ("acl", &config.acl),
            AccessError::Tokens(_) => ("jwt-keys", &config.authentication.jwt.keys_file),
            _ => ("users", &config.authentication.users_file),
        };
        let path = path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        found.push(Missing::new(key, &path, &error));
    }
    if let Err(error) = HookFiles::read(&config.authentication.hook) {
        let (key, value) = error.setting(&config.authentication.hook);
        found.push(Missing::new(key, &value, &error));
    }
    if let AdminSocket::At(address) = &config.admin_socket
        && let Err(problem) = probe_unix(&address.path)
        && problem.kind() != io::ErrorKind::AddrInUse
    {
        found.push(Missing::new("admin-socket", address, &problem));
    }
    let of_tls = tls::problems(config).into_iter();
    found.extend(of_tls.map(|(key, file, problem)| Missing::new(key, &file, &problem)));
    if config.durability != DurabilityMode::Off
        && let Err(problem) = try_directory(&config.data_dir)
    {
        found.push(Missing::new("data-dir", &config.data_dir.display(), &problem));
    }
    found
}

/// Addresses to listen at that the machine does not have, but for default ones.
fn missing_addresses(loaded: &Loaded) -> Vec<Missing> {
    let is_asked = |listener: &Listener| {
        let is_default = listener.form == ListenerForm::List("listen");
        !(is_default && loaded.listen_is_default)
    };
    let lacks = |key, address: SocketAddr| {
        let error = TcpListener::bind(SocketAddr::new(address.ip(), 0)).err()?;
        let problem = format!("this machine does not have it ({error})");
        startup::is_absence(&error).then(|| Missing::new(key, &address, &problem))
    };
    let clients = loaded.config.listeners().into_iter().filter(is_asked);
    let clients = clients.filter_map(|Listener { address, form, .. }| {
        let missing = match &address {
            ListenAddress::Tcp(tcp) => lacks(form.key(), *tcp),
            ListenAddress::Unix(unix) => match probe_unix(&unix.path) {
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    Some(Missing::new(form.key(), &address, &error))
                }
                _ => None,
            },
        };
        let table = match form {
            ListenerForm::List(_) => None,
            ListenerForm::Table(place) => Some(place),
        };
        missing.map(|missing| Missing { table, ..missing })
    });
    let http = loaded.config.http.and_then(|address| lacks("http", address));
    clients.chain(http).collect()
}

/// Whether files can be made in `dir`, or `dir` itself. Tries it, because permissions alone do not
/// tell (read-only file systems, `/proc`).
fn try_directory(dir: &Path) -> Result<(), String> {
    for folder in dir.ancestors() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        match fs::metadata(folder) {
            Ok(metadata) if !metadata.is_dir() => {
                return Err(format!("{} is not a directory", folder.display()));
            }
            Ok(_) => {
                let probe = folder.join(format!(".push-server-check-{}", std::process::id()));
                let made = fs::create_dir(&probe).and_then(|()| fs::remove_dir(&probe));
                return made
                    .map_err(|error| format!("cannot write in {}: {error}", folder.display()));
            }
            Err(error) if is_further_up(&error) => {}
            Err(error) => return Err(format!("cannot open {}: {error}", folder.display())),
        }
    }
    Err("there is no directory above it".into())
}

/// The path is missing, or something above it is not a directory.
fn is_further_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests;
