//! `check-config`: checks whether this machine has what the settings need, without starting. It
//! serves no client and leaves nothing behind.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::limits::ProcessLimits;
use super::{access, startup, tls};
use crate::config::{Config, ConfigError, DurabilityMode, ListenerKind, Loaded, SetBy};
use crate::kernel;

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
    let here =
        missing(loaded).into_iter().filter(|(key, ..)| !refused.iter().any(|other| other == key));
    let here = here.map(|(key, value, problem)| Problem::Machine {
        key,
        set_by: loaded.set_by(key),
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

/// What the machine lacks: key, value, and the problem.
fn missing(loaded: &Loaded) -> Vec<(&'static str, String, String)> {
    let config = &loaded.config;
    let mut found: Vec<(&'static str, String, String)> = Vec::new();
    for (key, address) in asked_addresses(loaded) {
        if let Err(error) = TcpListener::bind(SocketAddr::new(address.ip(), 0))
            && startup::is_absence(&error)
        {
            found.push((
                key,
                address.to_string(),
                format!("this machine does not have it ({error})"),
            ));
        }
    }
    match kernel::missing_interfaces(&config.interfaces) {
        Ok(missing) => found.extend(
            missing.into_iter().map(|name| ("iface", name, "there is no such interface".into())),
        ),
        Err(error) => found.push(("iface", config.interfaces.join(", "), error.to_string())),
    }
    if let (Some(path), Err(error)) = (&config.scram_users, access::load(config)) {
        found.push(("scram-users", path.display().to_string(), error.to_string()));
    }
    found.extend(tls::problems(config));
    if config.durability != DurabilityMode::Off
        && let Err(problem) = try_directory(&config.data_dir)
    {
        found.push(("data-dir", config.data_dir.display().to_string(), problem));
    }
    found
}

/// The addresses to listen at, without default ones that this machine lacks.
fn asked_addresses(loaded: &Loaded) -> Vec<(&'static str, SocketAddr)> {
    let is_asked = |&(listener, _): &(ListenerKind, _)| {
        listener != ListenerKind::Mqtt || !loaded.listen_is_default
    };
    let clients = loaded.config.listeners().filter(is_asked);
    let clients = clients.map(|(listener, address)| (listener.key(), address));
    clients.chain(loaded.config.http.map(|address| ("http", address))).collect()
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
