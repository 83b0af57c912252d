//! HTTP for operators: `/healthz`, `/readyz` and `/metrics`. It changes nothing and trusts nobody.
//! The number of connections and the life of each have named limits. A new connection is always
//! accepted: when the places are full, a silent one gives way (`http_places`), so that nobody can
//! keep a supervisor's probe waiting.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tracing::{debug, warn};

use super::http_limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX, HttpLimits};
use super::http_places::{PlaceId, Places};
use super::metrics::{CONTENT_TYPE, Metrics};
use super::observed::Observed;

/// Pause after a failed accept (no descriptor left, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct Sources {
    observed: Arc<Observed>,
    metrics: Metrics,
}

/// The open connections: their places, and handles to end them.
#[derive(Debug)]
struct Open {
    observed: Arc<Observed>,
    state: Mutex<OpenState>,
}

#[derive(Debug)]
struct OpenState {
    places: Places,
    tasks: BTreeMap<PlaceId, AbortHandle>,
}

impl Open {
    fn new(connections: usize, observed: Arc<Observed>) -> Self {
        let state = OpenState { places: Places::new(connections), tasks: BTreeMap::new() };
        Self { observed, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, OpenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a new connection, and ends the one that gives way for it.
    fn take(&self, peer: SocketAddr) -> PlaceId {
        let mut state = self.state();
        let (id, victim) = state.places.take(peer.ip(), Instant::now());
        if let Some(victim) = victim {
            self.observed.http.count_gave_way();
            debug!("http connections are at their limit: a silent one is closed");
            if let Some(task) = state.tasks.remove(&victim) {
                task.abort();
            }
        }
        self.observed.http.set_connections(state.places.len());
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
        self.observed.http.count_request();
    }

    fn leave(&self, id: PlaceId) {
        let mut state = self.state();
        state.places.leave(id);
        state.tasks.remove(&id);
        self.observed.http.set_connections(state.places.len());
    }
}

/// Serves until dropped.
pub(crate) async fn serve(listener: TcpListener, observed: Arc<Observed>, limits: HttpLimits) {
    let routes = routes(Arc::clone(&observed));
    let open = Arc::new(Open::new(limits.connections, observed));
    loop {
        match listener.accept().await {
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
    stream: TcpStream,
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
                open.observed.http.count_timed_out();
            }
            debug!("http connection: {error}");
        }
        Err(_) => debug!("http connection: closed after {:?}", limits.connection_timeout),
    }
}

fn routes(observed: Arc<Observed>) -> Router {
    let metrics = Metrics::new(Arc::clone(&observed));
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .with_state(Arc::new(Sources { observed, metrics }))
}

/// Lists the pages.
async fn index() -> &'static str {
    concat!(
        "push-server ",
        env!("CARGO_PKG_VERSION"),
        "\n\n\
         /healthz  200 while every shard's loop turns and nobody starves; else 503 and why\n\
         /readyz   200 while clients should be sent here; else 503 and why not\n\
         /metrics  counters and limits as OpenMetrics text\n"
    )
}

/// For a supervisor that restarts the server. 200 while every shard's loop turns and every session
/// with waiting work gets its turn.
async fn healthz(State(sources): State<Arc<Sources>>) -> Response {
    match stall(&sources.observed) {
        None => "ok\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

/// For a load balancer. 200 while new clients should come here.
async fn readyz(State(sources): State<Arc<Sources>>) -> Response {
    if sources.observed.is_stopping() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    if !sources.observed.is_storing() {
        let why = "the data directory cannot be written; the log has the cause\n";
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    }
    healthz(State(sources)).await
}

async fn metrics_text(State(sources): State<Arc<Sources>>) -> Response {
    match sources.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn stall(observed: &Observed) -> Option<String> {
    if let Some((shard, still)) = observed.stalled_shard(Instant::now()) {
        return Some(format!("shard {shard} stands still for {} s\n", still.as_secs()));
    }
    let (shard, wait) = observed.starving_shard()?;
    Some(format!("shard {shard} has kept a client waiting for {} s\n", wait.as_secs()))
}

#[cfg(test)]
mod tests;
