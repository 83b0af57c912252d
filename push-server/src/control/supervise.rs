//! From "every shard serves" to the exit code: HTTP, operators' commands, status line, signals, orderly stop.

use std::io;
use std::net;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::admin::{self, AdminListener};
use super::authenticator::Authenticator;
use super::http;
use super::http_limits::HttpLimits;
use super::observed::Observed;
use super::reload::Reloader;
use super::signals::{Request, Signals};
use super::status;
use super::tls::{self, Tls};
use crate::shard::{Reviewer, ShardError, Shards};

/// Longest time from the first signal until the shards are given up. `Shards::join` takes about 4 s
/// at most, and the process promises to end within 5.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_millis(4_500);
/// Time between two looks at the shards' loops.
const OBSERVE_PERIOD: Duration = Duration::from_secs(1);

/// The shards, or a stand-in in tests.
pub(crate) trait Service: Send + 'static {
    /// Begins the orderly stop and returns at once.
    fn stop(&self);
    /// Returns the work of reading changeable files again, which may take seconds.
    fn reload(&self) -> impl FnOnce() + Send + 'static;
    /// The wall clock was set.
    fn clock_was_set(&self);
    /// Whether every part of the service still runs.
    fn is_whole(&self) -> bool;
    /// Waits for its end.
    fn join(self) -> Result<(), ShardError>;
}

/// The shards, with what SIGHUP changes for them.
#[derive(Debug)]
pub(crate) struct Running {
    /// The shards.
    pub shards: Shards,
    /// Says who clients are.
    pub authenticator: Arc<Authenticator>,
    /// What clients over TLS are served with; `None`: nobody listens for them.
    pub tls: Option<Arc<Tls>>,
    /// Has connected clients looked at again.
    pub reviewer: Arc<Reviewer>,
    /// Reads the files again.
    pub reloader: Arc<Reloader>,
    /// The socket for operators, until it is served.
    pub admin: Option<AdminListener>,
}

impl Service for Running {
    fn stop(&self) {
        self.shards.stop();
    }

    fn reload(&self) -> impl FnOnce() + Send + 'static {
        let reloader = Arc::clone(&self.reloader);
        move || drop(reloader.reload("SIGHUP"))
    }

    fn clock_was_set(&self) {
        self.shards.clock_was_set();
    }

    fn is_whole(&self) -> bool {
        self.shards.is_whole() && self.authenticator.is_whole()
    }

    fn join(self) -> Result<(), ShardError> {
        self.shards.join()
    }
}

/// How the server ended.
#[derive(Debug)]
pub enum Ending {
    /// Every connection was closed in order.
    Stopped,
    /// A second signal, by its number, cut the stop short.
    Cut(i32),
    /// The shards took longer than `STOP_TIMEOUT`.
    TimedOut,
    /// A shard failed.
    Failed(ShardError),
}

impl Ending {
    /// The process's exit code; a cut stop looks as if the signal had killed it (128 + number).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Stopped => 0,
            Self::Cut(signal) => u8::try_from(128 + signal).unwrap_or(1),
            Self::TimedOut | Self::Failed(_) => 1,
        }
    }
}

/// The control thread before it has shards to supervise: it only holds the signals.
#[derive(Debug)]
pub(crate) struct Supervisor {
    runtime: Runtime,
    signals: Signals,
}

impl Supervisor {
    /// Takes over the signals: from now on they wait for [`Supervisor::run`]. Starts no thread.
    pub(crate) fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = runtime.block_on(async { Signals::new() })?;
        Ok(Self { runtime, signals })
    }

    /// Runs the control thread, which is the calling one, until the server has ended.
    pub(crate) fn run(
        self,
        service: Running,
        observed: &Arc<Observed>,
        http: Option<net::TcpListener>,
    ) -> io::Result<Ending> {
        let Self { runtime, mut signals } = self;
        let ending = runtime.block_on(serve(service, observed, http, &mut signals));
        // If a shard does not end, its joining thread stays: do not wait for it.
        runtime.shutdown_background();
        ending
    }
}

async fn serve(
    mut service: Running,
    observed: &Arc<Observed>,
    http: Option<net::TcpListener>,
    signals: &mut Signals,
) -> io::Result<Ending> {
    if let Some(http) = http {
        http.set_nonblocking(true)?;
        let http = TcpListener::from_std(http)?;
        let limits = HttpLimits::new(observed.facts.config.http_connections_max.into());
        tokio::spawn(http::serve(http, Arc::clone(observed), limits));
    }
    tokio::spawn(observe(Arc::clone(observed)));
    if let Some(tls) = &service.tls {
        tokio::spawn(tls::watch(Arc::clone(tls), Arc::clone(&service.reviewer)));
    }
    let admin = service.admin.take().map(|admin| {
        let (reloader, counters) = (Arc::clone(&service.reloader), Arc::clone(&observed.admin));
        Ok::<_, io::Error>(tokio::spawn(admin::serve(admin, reloader, counters)?))
    });
    let admin = admin.transpose()?;
    let (stopped, is_stopped) = watch::channel(false);
    let status = observed
        .facts
        .config
        .status
        .then(|| tokio::spawn(status::show(Arc::clone(observed), is_stopped)));
    let next = async || {
        let request = signals.next().await;
        if let (Request::Stop(_), Some(admin)) = (request, &admin) {
            // The socket is free for the next server at once.
            admin.abort();
        }
        request
    };
    let ending = supervise(service, observed, STOP_TIMEOUT, next).await;
    stopped.send_replace(true);
    if let Some(status) = status {
        // It writes one more line; if that panics, the exit code matters more.
        let _ = status.await;
    }
    Ok(ending)
}

/// Waits for a stop request, then for the service.
async fn supervise(
    service: impl Service,
    observed: &Observed,
    timeout: Duration,
    mut next: impl AsyncFnMut() -> Request,
) -> Ending {
    tokio::select! {
        signal = next_stop(&mut next, |asked| match asked {
            Asked::Reload => drop(spawn_blocking(service.reload())),
            Asked::LookAtClock => service.clock_was_set(),
        }) => {
            info!("stopping on signal {signal}; a second one ends at once");
        }
        () = part_ended(&service) => {
            // Its clients hang: better all of them connect to a new process.
            error!("a shard, or a thread that checks passwords, has ended by itself: stopping the server");
        }
    }
    observed.set_stopping();
    service.stop();
    let join = spawn_blocking(|| service.join());
    tokio::select! {
        joined = tokio::time::timeout(timeout, join) => match joined {
            Ok(Ok(Ok(()))) => {
                info!("stopped");
                Ending::Stopped
            }
            Ok(Ok(Err(error))) => {
                error!("stopped with an error: {error}");
                Ending::Failed(error)
            }
            Ok(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            Err(_) => {
                error!("shards still run {timeout:?} after the signal: leaving them");
                Ending::TimedOut
            }
        },
        signal = next_stop(&mut next, |asked| match asked {
            Asked::Reload => warn!("SIGHUP: the server stops"),
            // The store looks at the clock at its end.
            Asked::LookAtClock => {}
        }) => {
            warn!("stopping at once on a second signal, {signal}");
            Ending::Cut(signal)
        }
    }
}

/// Returns once a part of the service has ended by itself.
async fn part_ended(service: &impl Service) {
    while service.is_whole() {
        tokio::time::sleep(OBSERVE_PERIOD).await;
    }
}

/// Requests besides a stop.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Reload,
    LookAtClock,
}

async fn next_stop(next: &mut impl AsyncFnMut() -> Request, obey: impl Fn(Asked)) -> i32 {
    loop {
        match next().await {
            Request::Stop(signal) => return signal,
            Request::Reload => obey(Asked::Reload),
            Request::ClockSet => obey(Asked::LookAtClock),
        }
    }
}

/// Watches the shards' progress, and logs once when one stands still and when it goes on.
async fn observe(observed: Arc<Observed>) {
    let mut ticks = tokio::time::interval(OBSERVE_PERIOD);
    let mut was_stalled = false;
    loop {
        ticks.tick().await;
        match observed.stalled_shard(Instant::now()) {
            // Shards that have stopped in order stand still, too.
            _ if observed.is_stopping() => return,
            Some((shard, still)) if !was_stalled => {
                error!("shard {shard} stands still for {} s: /healthz fails", still.as_secs());
                was_stalled = true;
            }
            None if was_stalled => {
                info!("every shard turns again");
                was_stalled = false;
            }
            Some(_) | None => {}
        }
    }
}

#[cfg(test)]
mod tests;
