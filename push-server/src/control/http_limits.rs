//! What HTTP clients may take of the server.

use std::time::Duration;

/// Bytes of a request's head, and of what is buffered for one connection.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 << 10;
/// Header fields of a request.
pub const HTTP_HEADERS_MAX: usize = 64;
/// From accept, or the last answer, to the end of the next request's head.
/// Scrapers that come less often open a connection each time.
pub const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The whole life of a connection; scrapers that keep one open simply open the next.
pub const HTTP_CONNECTION_TIMEOUT: Duration = Duration::from_secs(600);

/// What HTTP clients may take; the constants of this module, less in tests.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Connections at a time.
    pub connections: usize,
    /// Time for a request's head.
    pub head_timeout: Duration,
    /// Life of a connection.
    pub connection_timeout: Duration,
}

impl HttpLimits {
    /// With so many connections at a time.
    pub fn new(connections: usize) -> Self {
        Self {
            connections,
            head_timeout: HTTP_HEAD_TIMEOUT,
            connection_timeout: HTTP_CONNECTION_TIMEOUT,
        }
    }
}
