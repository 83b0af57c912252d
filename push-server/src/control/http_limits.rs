//! Limits of HTTP clients.

use std::time::Duration;

/// Most bytes of a request's head, and of the buffers of one connection.
pub(crate) const HTTP_HEAD_BYTES_MAX: usize = 16 << 10;
/// Most header fields of a request.
pub(crate) const HTTP_HEADERS_MAX: usize = 64;
/// Longest time from accept, or the last answer, to the end of the next request's head. Scrapers
/// that come less often open a new connection each time.
pub(crate) const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest life of a connection; a scraper that keeps one open opens the next.
pub(crate) const HTTP_CONNECTION_TIMEOUT: Duration = Duration::from_secs(600);

/// The limits of HTTP clients: this file's constants; smaller in tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpLimits {
    /// Most connections at a time.
    pub connections: usize,
    /// Time for a request's head.
    pub head_timeout: Duration,
    /// Life of a connection.
    pub connection_timeout: Duration,
}

impl HttpLimits {
    /// The limits, with this many connections at a time.
    pub(crate) fn new(connections: usize) -> Self {
        Self {
            connections,
            head_timeout: HTTP_HEAD_TIMEOUT,
            connection_timeout: HTTP_CONNECTION_TIMEOUT,
        }
    }
}
