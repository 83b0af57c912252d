//! The order of starting: signals, limits, addresses, HTTP, directories, kernel path, privileges,
//! users, certificates, shards. Each step logs what it found; an error names the cause and the setting to change.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use rustix::fs::Mode;
use tracing::{debug, info, warn};

use super::access::AccessError;
use super::admin::{self, AdminSocketError};
use super::authenticator::Authenticator;
use super::error_text::with_sources;
use super::hook::{HookError, HookFiles};
use super::limits::{ProcessLimits, TooFewDescriptors};
use super::line_queue::{FLUSH_MAX, LineQueue};
use super::observed::{Facts, Observed, PingPath};
use super::patience::{AddressError, DirectoryError, Patience, Wanted};
use super::reload::{Reloadable, Reloader, SetLog};
use super::supervise::{Ending, Running, Supervisor};
use super::tls::{Tls, TlsError};
use super::{access, listening, privileges, status};
use crate::config::{
    Config, DurabilityMode, KernelPathMode, ListenAddress, Listener, ListenerForm, Loaded,
};
use crate::kernel::{self, KernelPath, KernelPathOptions, PinError, Pins, TABLE_BYTES};
use crate::shard::{Answerer, ShardError, Shards, SharedAccess, probe_bind, probe_unix};
use crate::store::embedded::{self, DirectoryLock, StoreError};

/// One extra slot for each so many, and one extra answer table: both are divided evenly among shards,
/// but clients come to shards by the hash of their ids.
const SLOT_SLACK: u32 = 4;

/// Answer tables for each shard beside one for each slot, but in all at most as many as slots and `TABLES_LEFT`. A table
/// is mostly free two seconds after its connection's end, and a shard does fewer handshakes than this in that time.
const TABLES_RESTING: u32 = 16_384;

/// Answer tables that a small server has for those whose last answer is never acknowledged: they are kept for as long as
/// flows.
const TABLES_LEFT: u32 = 1_024;

/// All answer tables take at most this part of the memory: the kernel allocates them at the start, and most servers have
/// descriptors for more connections than they serve.
const TABLES_MEMORY_PART: u64 = 8;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Too few descriptors.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// None of the default addresses can be bound.
    #[error("this machine has none of the default addresses; say where to listen by --listen")]
    NoAddress,
    /// The HTTP address cannot be bound.
    #[error("cannot listen on {address} for http: {source}; choose another by --http")]
    Http {
        /// The address.
        address: SocketAddr,
        /// Why binding failed.
        source: AddressError,
    },
    /// A listen address cannot be bound.
    #[error("cannot listen on {address}: {source}; choose another by {form}")]
    Listen {
        /// The address.
        address: ListenAddress,
        /// The setting that names it.
        form: ListenerForm,
        /// Why binding failed.
        source: AddressError,
    },
    /// The kernel path cannot be loaded, and the settings require it (`--kernel-path require`).
    #[error("--kernel-path require: {reason}")]
    KernelPath {
        /// The cause.
        reason: String,
    },
    /// Another server has the directory for programs.
    #[error(transparent)]
    Pins(DirectoryError<PinError>),
    /// The data directory cannot be made or locked.
    #[error(transparent)]
    DataDir(DirectoryError<StoreError>),
    /// The file of users cannot be read or is not valid.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The hook cannot be asked.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// The socket for operators cannot be made.
    #[error(transparent)]
    Admin(#[from] AdminSocketError),
    /// A file of TLS cannot be read or is not valid.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The shards cannot start.
    #[error(transparent)]
    Shards(#[from] ShardError),
    /// The control thread cannot start.
    #[error("cannot start the control thread: {0}")]
    Control(#[from] io::Error),
}

/// Serves until stopped. The calling thread becomes the control thread. `log` takes the log lines.
/// `set_log` sets their filter.
pub fn serve(loaded: Loaded, log: &LineQueue, set_log: SetLog) -> Result<Ending, StartError> {
    privileges::raise_permitted();
    // Only the server's user may read its files: sessions and messages are private.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    // Before every slow step: a signal that arrives meanwhile waits until it can be obeyed.
    let supervisor = Supervisor::new()?;
    let mut config = loaded.config.clone();
    if loaded.listen_is_default {
        config.listen =
            present_addresses(&config.listen, |address| TcpListener::bind(address).map(drop))?;
    }
    let found = ProcessLimits::raised();
    config.totals = config.totals.within(found.memory_bytes);
    let config = Arc::new(config);
    let connections_max = found.connections_max(&config)?;
    found.log(&config, connections_max);
    // Before every slow step, and before the right to a low port is dropped.
    let mut patience = Patience::new(config.start_wait_secs);
    // A living process that listens for clients will not stop, so the start fails at once and names
    // it.
    wait_for_addresses(&config, &mut patience)?;
    let http = config.http.map(|address| bind_http(address, &mut patience));
    let (http, http_address) = http.transpose()?.unzip();
    let data = lock_data_dir(&config, &mut patience)?;
    let admin = admin::listen(&config.admin_socket, &mut patience)?;

    let mut pins = claim_pins(&config, &mut patience)?;
    let generations = pins.as_ref().map(Pins::earlier).unwrap_or_default();
    let choice = choose_path(config.kernel_path, || {
        load(&config, connections_max, found.memory_bytes, &mut pins)
    })?;
    let (mut kernel, reason) = match choice {
        PathChoice::Kernel(loaded) => (Some(loaded), String::new()),
        PathChoice::User(reason) => (None, reason),
    };
    privileges::drop_after_load();
    // With the rights that the server has when it reads them again.
    if config.has_tls_listener() || config.authentication.has_secrets() {
        // Before the first key or hash is in memory.
        privileges::forbid_core_dumps();
    }
    let access = access::load(&config)?;
    if access.acl.is_none() {
        info!("without --acl every client may do everything but read $SYS, authenticated or not");
    }
    let access = Arc::new(SharedAccess::new(access));
    let hook = HookFiles::read(&config.authentication.hook)?;
    let authenticator = Arc::new(Authenticator::start(&config, &access, hook)?);
    let answerer: Arc<dyn Answerer> = Arc::<Authenticator>::clone(&authenticator);
    let path = kernel.as_mut().map(|(path, _)| path);
    let tls = Tls::load(&config)?.map(Arc::new);
    let shared_tls = tls.as_ref().map(|tls| Arc::clone(tls.shared())).unwrap_or_default();
    let started = Shards::start(&config, answerer, shared_tls, connections_max, path, data)?;
    privileges::drop_after_start();
    let kernel = kernel.map(|(path, interfaces)| (Arc::new(path), interfaces));
    if let Some((path, _)) = &kernel {
        path.begin_serving();
    }
    // Too many programs may have forced the user path; then the next start finds fewer.
    if let Some(pins) = &pins {
        pins.remove_earlier_later();
    }

    let path = ping_path(kernel.as_ref(), reason);
    let reviewer = Arc::new(started.reviewer()?);
    let reloadable = Reloadable {
        start: loaded,
        access,
        authenticator: Arc::clone(&authenticator),
        tls: tls.clone(),
        reviewer: Arc::clone(&reviewer),
        set_log,
    };
    let reloader = Arc::new(Reloader::new(reloadable));
    let facts = Facts {
        listening: started.listening().to_vec(),
        http: http_address,
        config,
        connections_max,
        path,
        generations,
        waited: patience.waited(),
        store: started.store(),
        door_counts: Arc::clone(started.doors().counts()),
        tls: tls.as_ref().map(|tls| Arc::clone(tls.status())),
        reload: Arc::clone(reloader.status()),
        authentication: Arc::clone(authenticator.counts()),
        lines_lost: log.lost().clone(),
        memory: Arc::clone(started.memory()),
        started: SystemTime::now(),
    };
    listening::log(&facts);
    info!("ready");
    // A supervisor that sees /readyz answer may read the log of the start at once.
    log.flush(FLUSH_MAX);
    let observed = Arc::new(Observed::new(facts, started.counters().to_vec(), Instant::now()));
    let running = Running { shards: started, authenticator, tls, reviewer, reloader, admin };
    let ending = supervisor.run(running, &observed, http)?;
    end_programs(&ending, kernel.map(|(path, _)| path));
    Ok(ending)
}

/// The path of heartbeats, as metrics and log show it. `reason`: why the kernel does not answer.
fn ping_path(kernel: Option<&(Arc<KernelPath>, Vec<String>)>, reason: String) -> PingPath {
    let Some((kernel, interfaces)) = kernel else { return PingPath::User { reason } };
    let (kernel, interfaces) = (Arc::clone(kernel), interfaces.clone());
    let doubt = kernel.doubt().map(str::to_owned);
    let counters = move || {
        // The metrics show this, too.
        kernel.flush_log();
        kernel.counters()
    };
    PingPath::Kernel { interfaces, counters: Box::new(counters), doubt }
}

/// Lets the programs end with the process after an orderly stop, and keeps them after any other
/// end.
fn end_programs(ending: &Ending, path: Option<Arc<KernelPath>>) {
    match (ending, path) {
        // They end with the last handle, when `serve` returns.
        (Ending::Stopped, Some(path)) => path.end_serving(),
        // There may be sockets left, or the system is about to end them: the programs stay, as
        // after a crash. If they are not pinned, they end last of all that the process has.
        (_, Some(path)) => std::mem::forget(path),
        (_, None) => {}
    }
}

/// The default addresses that this machine has: without IPv6 (`ipv6.disable=1`, or a container
/// without it) the server serves IPv4, and the reverse. An address in use does not count as
/// missing: the shards report it.
fn present_addresses(
    addresses: &[SocketAddr],
    bind: impl Fn(SocketAddr) -> io::Result<()>,
) -> Result<Vec<SocketAddr>, StartError> {
    let is_present = |address: &SocketAddr| match bind(SocketAddr::new(address.ip(), 0)) {
        Err(error) if is_absence(&error) => {
            info!("not listening on {address}: this machine does not have it ({error})");
            false
        }
        _ => true,
    };
    let present: Vec<_> = addresses.iter().copied().filter(is_present).collect();
    if present.is_empty() { Err(StartError::NoAddress) } else { Ok(present) }
}

pub(super) fn is_absence(error: &io::Error) -> bool {
    let absent = [rustix::io::Errno::AFNOSUPPORT, rustix::io::Errno::ADDRNOTAVAIL];
    absent.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn bind_http(
    address: SocketAddr,
    patience: &mut Patience,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    let bound = patience.for_address(Wanted::Http, address, bind);
    bound.map_err(|source| StartError::Http { address, source })
}

/// Waits until no process holds a listen address; port 0 is always free. Done while this process
/// still has the rights to see who holds one. The shards bind again right before they listen: a
/// socket that is bound and does not listen keeps no other out, and one that listens early accepts
/// clients that nobody serves until the start succeeds.
fn wait_for_addresses(config: &Config, patience: &mut Patience) -> Result<(), StartError> {
    for Listener { address, form, .. } in config.listeners() {
        let free = match &address {
            ListenAddress::Tcp(tcp) if tcp.port() == 0 => Ok(()),
            ListenAddress::Tcp(tcp) => {
                patience.for_address(Wanted::Listen, *tcp, || probe_bind(*tcp, config.listen_dual))
            }
            ListenAddress::Unix(unix) => {
                patience.for_path(Wanted::Listen, &unix.path, || probe_unix(&unix.path))
            }
        };
        free.map_err(|source| StartError::Listen { address, form, source })?;
    }
    Ok(())
}

/// Locks the data directory before every slow step; `None`: nothing is stored.
fn lock_data_dir(
    config: &Config,
    patience: &mut Patience,
) -> Result<Option<DirectoryLock>, StartError> {
    if config.durability == DurabilityMode::Off {
        return Ok(None);
    }
    let dir = &config.data_dir;
    let is_in_use = |error: &StoreError| matches!(error, StoreError::InUse(_));
    let lock =
        patience.for_directory(Wanted::DataDir, dir, || embedded::lock_directory(dir), is_in_use);
    lock.map(Some).map_err(StartError::DataDir)
}

/// Locks the pin directory. Two servers at once would share clients at random, so a second one does
/// not start. If pinning is impossible the server goes without, and a crash resets its connections.
fn claim_pins(config: &Config, patience: &mut Patience) -> Result<Option<Pins>, StartError> {
    if config.kernel_path == KernelPathMode::Off {
        tidy_pins(config);
        return Ok(None);
    }
    let dir = &config.bpf_dir;
    let claim = || Pins::claim(dir, config.generations_max.into());
    match patience.for_directory(Wanted::BpfDir, dir, claim, is_pinned_by_another) {
        Ok(pins) => Ok(Some(pins)),
        Err(error @ DirectoryError::Held { .. }) => Err(StartError::Pins(error)),
        Err(DirectoryError::Other(error)) => {
            warn!("nothing can be pinned: {error}");
            Ok(None)
        }
    }
}

fn is_pinned_by_another(error: &PinError) -> bool {
    matches!(error, PinError::InUse(_))
}

/// Removes pins in `dir` of servers that are gone. Returns the paths of their links.
///
/// # Errors
/// A server holds the directory for longer than `wait_secs`, or it cannot be read.
pub fn detach(dir: &Path, wait_secs: u16) -> Result<Vec<PathBuf>, DirectoryError<PinError>> {
    let detach = || kernel::detach(dir);
    Patience::new(wait_secs).for_directory(Wanted::BpfDir, dir, detach, is_pinned_by_another)
}

/// Without a kernel path of its own, a server removes the pins of crashed ones as far as it may,
/// and does not hold the directory.
fn tidy_pins(config: &Config) {
    if !config.bpf_dir.exists() {
        return;
    }
    // Dropping this removes what is not needed, and logs what is.
    if let Err(error) = Pins::claim(&config.bpf_dir, config.generations_max.into()) {
        debug!("what earlier servers left stays: {error}");
    }
}

/// Which path answers heartbeats.
enum PathChoice<T> {
    /// The kernel path, loaded.
    Kernel(T),
    /// User space, and why.
    User(String),
}

/// Loads the kernel path as `mode` says.
fn choose_path<T>(
    mode: KernelPathMode,
    load: impl FnOnce() -> Result<T, String>,
) -> Result<PathChoice<T>, StartError> {
    if mode == KernelPathMode::Off {
        info!("heartbeats are answered in user space: --kernel-path off");
        return Ok(PathChoice::User("--kernel-path off".into()));
    }
    match load() {
        Ok(loaded) => Ok(PathChoice::Kernel(loaded)),
        Err(reason) if mode == KernelPathMode::Require => Err(StartError::KernelPath { reason }),
        Err(reason) => {
            warn!("heartbeats are answered in user space: {reason}");
            Ok(PathChoice::User(reason))
        }
    }
}

/// Loads the programs. Returns them, and the interfaces that they are attached to.
fn load(
    config: &Config,
    connections_max: u32,
    memory_bytes: u64,
    pins: &mut Option<Pins>,
) -> Result<(KernelPath, Vec<String>), String> {
    if let Some(pins) = pins {
        pins.check_room().map_err(|error| with_sources(&error))?;
    }
    let interfaces = match config.interfaces.as_slice() {
        [] => {
            let listeners = config.listeners();
            let addresses: Vec<_> =
                listeners.iter().filter_map(|listener| listener.address.tcp()).collect();
            kernel::interfaces_for(&addresses).map_err(|error| {
                format!("cannot find the interfaces of the listen addresses: {error}")
            })?
        }
        named => named.to_vec(),
    };
    if interfaces.is_empty() {
        return Err("no interface owns a listen address; name them by --iface".into());
    }
    let slots = connections_max.saturating_add(connections_max / SLOT_SLACK + 64);
    let options = KernelPathOptions {
        interfaces: interfaces.clone(),
        connections_max: slots,
        tables: if config.has_tls_listener() {
            tables(slots, config.shards, memory_bytes)
        } else {
            1
        },
        shards: config.shards,
        ping_burst: config.limits.ping_rate.burst,
        place_seed: rand::random(),
    };
    let mut path = KernelPath::load(&options).map_err(|error| with_sources(&error))?;
    path.pin(pins).map_err(|error| with_sources(&error))?;
    if let Some(doubt) = path.doubt() {
        warn!(
            "a crash of this server would reset the connections that the kernel answers: {doubt}"
        );
    }
    info!("heartbeats are answered by the kernel on {}", interfaces.join(", "));
    Ok((path, interfaces))
}

/// How many answer tables there are, where any are wanted.
fn tables(slots: u32, shards: u16, memory_bytes: u64) -> u32 {
    let resting = TABLES_RESTING.saturating_mul(shards.into());
    let wanted = slots.saturating_add(resting.min(slots.saturating_add(TABLES_LEFT)));
    let room = memory_bytes / TABLES_MEMORY_PART / TABLE_BYTES as u64;
    wanted.min(u32::try_from(room).unwrap_or(u32::MAX))
}

/// Whether log lines have to clear a status line: if both go to terminals, they go to the same.
pub fn log_clears_line(config: &Config) -> bool {
    config.status && status::is_redrawn() && status::takes_terminal_codes(&io::stderr())
}

#[cfg(test)]
mod tests;
