//! Serves HTTP, at an address or at a Unix socket. The number of connections and the life of each have named limits.
//! A new connection is always accepted: when the places are full, a silent one gives way (`http_places`), so that
//! nobody can keep a supervisor's probe, or an operator, waiting.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::AbortHandle;
use tracing::{debug, warn};

use super::http_counters::HttpCounters;
use super::http_limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX, HttpLimits};
use super::http_places::{PlaceId, Places};

/// Pause after a failed accept (no descriptor left, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Where connections come from.
pub(crate) trait Accept: Send {
    /// One of them.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next one, and whose it is: connections give way by that.
    async fn next(&self) -> io::Result<(Self::Stream, IpAddr)>;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, IpAddr)> {
        self.accept().await.map(|(stream, peer)| (stream, peer.ip()))
    }
}

/// All of its connections are of this machine.
impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, IpAddr)> {
        self.accept().await.map(|(stream, _)| (stream, Ipv4Addr::UNSPECIFIED.into()))
    }
}

/// The open connections: their places, and handles to end them.
#[derive(Debug)]
struct Open {
    counters: Arc<HttpCounters>,
    state: Mutex<OpenState>,
}

#[derive(Debug)]
struct OpenState {
    places: Places,
    tasks: BTreeMap<PlaceId, AbortHandle>,
}

impl Open {
    fn new(connections: usize, counters: Arc<HttpCounters>) -> Self {
        let state = OpenState { places: Places::new(connections), tasks: BTreeMap::new() };
        Self { counters, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, OpenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a new connection, and ends the one that gives way for it.
    fn take(&self, peer: IpAddr) -> PlaceId {
        let mut state = self.state();
        let (id, victim) = state.places.take(peer, Instant::now());
        if let Some(victim) = victim {
            self.counters.count_gave_way();
            debug!("http connections are at their limit: a silent one is closed");
            if let Some(task) = state.tasks.remove(&victim) {
                task.abort();
            }
        }
        self.counters.set_connections(state.places.len());
        id
    }

    /// Notes how to end a connection that is served now; it may have ended already.
    fn serves(&self, id: PlaceId, task: AbortHandle) {
        if !task.is_finished() {
            self.state().tasks.insert(id, task);
        }
    }

    fn asked(&self, id: PlaceId) {
        self.state().places.asked(id, Instant::now());
        self.counters.count_request();
    }

    fn leave(&self, id: PlaceId) {
        let mut state = self.state();
        state.places.leave(id);
        state.tasks.remove(&id);
        self.counters.set_connections(state.places.len());
    }
}

/// Serves `routes` until dropped.
pub(crate) async fn serve(
    listener: impl Accept,
    routes: Router,
    counters: Arc<HttpCounters>,
    limits: HttpLimits,
) {
    let open = Arc::new(Open::new(limits.connections, counters));
    loop {
        match listener.next().await {
            Ok((stream, peer)) => {
                let (routes, connection) = (routes.clone(), Arc::clone(&open));
                let id = open.take(peer);
                let task = tokio::spawn(async move {
                    serve_connection(stream, routes, limits, &connection, id).await;
                    connection.leave(id);
                });
                open.serves(id, task.abort_handle());
            }
            Err(error) if is_of_one_connection(&error) => debug!("http accept: {error}"),
            Err(error) => {
                warn!("http accept failed, trying again: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the error concerns the connection to accept, rather than the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    routes: Router,
    limits: HttpLimits,
    open: &Open,
    id: PlaceId,
) {
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(|request: Request<Incoming>| {
        open.asked(id);
        routes.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .max_headers(HTTP_HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(limits.connection_timeout, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            if error.is_timeout() {
                open.counters.count_timed_out();
            }
            debug!("http connection: {error}");
        }
        Err(_) => debug!("http connection: closed after {:?}", limits.connection_timeout),
    }
}
