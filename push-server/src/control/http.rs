//! HTTP for operators: `/healthz`, `/readyz` and `/metrics`. It changes nothing and trusts nobody.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::http_limits::HttpLimits;
use super::http_server;
use super::metrics::{CONTENT_TYPE, Metrics};
use super::observed::Observed;

#[derive(Debug)]
struct Sources {
    observed: Arc<Observed>,
    metrics: Metrics,
}

/// Serves until dropped.
pub(crate) async fn serve(listener: TcpListener, observed: Arc<Observed>, limits: HttpLimits) {
    let counters = Arc::clone(&observed.http);
    http_server::serve(listener, routes(observed), counters, limits).await;
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
