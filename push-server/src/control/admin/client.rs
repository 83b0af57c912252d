//! The other end of the socket for operators: a command asks a running server.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::super::reload::ReloadReport;

/// How long a command waits for an answer: a server may have a million users to read.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Bytes of the largest answer: a line for each mistake.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody can be asked.
    #[error("cannot reach a server at {}: {source}; a server says by --admin-socket where it listens, and the \
             socket is for its user and group", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The server has taken too long.
    #[error("no answer within {} s; the server's log says what it does", ANSWER_TIMEOUT.as_secs())]
    TooLate,
    /// The connection has failed.
    #[error("the server has not answered: {0}")]
    Failed(String),
    /// What has come is no answer to the question.
    #[error("the server's answer is not understood (HTTP {0}); is it of another version?")]
    Strange(StatusCode),
}

/// Asks the server at `socket` to read its files again, and returns what came of it.
///
/// # Errors
/// There is no answer.
pub fn reload(socket: &Path) -> Result<ReloadReport, AskError> {
    let failed = |error: &dyn ToString| AskError::Failed(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    runtime.block_on(async {
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, ask(socket, "/reload"));
        let (status, body) = answer.await.map_err(|_| AskError::TooLate)??;
        serde_json::from_slice(&body).map_err(|_| AskError::Strange(status))
    })
}

/// Posts to a path.
async fn ask(socket: &Path, path: &str) -> Result<(StatusCode, Bytes), AskError> {
    let unreachable = |source| AskError::Unreachable { path: socket.to_owned(), source };
    let stream = UnixStream::connect(socket).await.map_err(unreachable)?;
    let failed = |error: &dyn ToString| AskError::Failed(error.to_string());
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, "push-server")
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| failed(&error))?.to_bytes();
    connection.abort();
    Ok((status, body))
}
