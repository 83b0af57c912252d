//! The socket for operators: HTTP with JSON, over a Unix socket of which only the server's user and group have the
//! right. `POST /reload` has the files read again. `push-server reload` speaks to it (`client`).

pub mod client;

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::net::UnixListener;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::http_counters::HttpCounters;
use super::http_limits::HttpLimits;
use super::http_server;
use super::patience::{AddressError, Patience, Wanted};
use super::reload::Reloader;
use crate::config::{ADMIN_SOCKET, AdminSocket, UNIX_MODE_DEFAULT, UnixAddress};
use crate::shard::{SocketFile, listen_unix, probe_unix};

/// Most connections to the socket at a time; a silent one gives way to a new one.
pub(crate) const ADMIN_CONNECTIONS_MAX: usize = 16;

/// The mode of the folder that is made for the socket: the server's user and group may look into it.
const FOLDER_MODE: u32 = 0o750;

/// The socket cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {}: {source}; choose another by --admin-socket", path.display())]
pub struct AdminSocketError {
    path: PathBuf,
    source: AddressError,
}

/// The socket, which nobody serves yet. Its file is removed with it.
#[derive(Debug)]
pub(crate) struct AdminListener {
    socket: OwnedFd,
    file: SocketFile,
}

/// Makes the socket; `None`: there is to be none, or it cannot be made where nobody has asked for it.
///
/// # Errors
/// It cannot be made where it was asked for.
pub(crate) fn listen(
    socket: &AdminSocket,
    patience: &mut Patience,
) -> Result<Option<AdminListener>, AdminSocketError> {
    let (address, is_asked) = match socket {
        AdminSocket::Off => return Ok(None),
        AdminSocket::At(address) => (address.clone(), true),
        AdminSocket::Auto => {
            (UnixAddress { path: ADMIN_SOCKET.into(), mode: UNIX_MODE_DEFAULT }, false)
        }
    };
    let made = if is_asked { Ok(()) } else { make_folder(&address.path) };
    let made = made.map_err(AddressError::Io);
    let free = made.and_then(|()| {
        // A server that stops lets go of it at once.
        patience.for_path(Wanted::Listen, &address.path, || probe_unix(&address.path))
    });
    match free.and_then(|()| listen_unix(&address).map_err(AddressError::Io)) {
        Ok((file, socket)) => Ok(Some(AdminListener { socket, file })),
        Err(source) if is_asked => Err(AdminSocketError { path: address.path, source }),
        Err(error) => {
            info!(
                "no socket for `push-server reload` at {address}: {error}; another place is named by --admin-socket"
            );
            Ok(None)
        }
    }
}

/// Makes the folder of a socket, if only that is missing.
fn make_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.exists()) else { return Ok(()) };
    DirBuilder::new().mode(FOLDER_MODE).create(folder)?;
    // The process's mask has taken the group's part.
    fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))
}

/// Serves until dropped. Call it within a tokio runtime.
///
/// # Errors
/// The runtime does not take the socket.
pub(crate) fn serve(
    listener: AdminListener,
    reloader: Arc<Reloader>,
    counters: Arc<HttpCounters>,
) -> io::Result<impl Future<Output = ()> + Send> {
    let AdminListener { socket, file } = listener;
    let socket = StdListener::from(socket);
    socket.set_nonblocking(true)?;
    let socket = UnixListener::from_std(socket)?;
    let routes = Router::new().route("/reload", post(reload)).with_state(reloader);
    let limits = HttpLimits::new(ADMIN_CONNECTIONS_MAX);
    Ok(async move {
        let _file = file;
        http_server::serve(socket, routes, counters, limits).await;
    })
}

/// Reads the files again. 200: all of them are in force; 422: something is wrong, and nothing was changed.
async fn reload(State(reloader): State<Arc<Reloader>>) -> Response {
    // It reads files, which may take long.
    let report = match spawn_blocking(move || reloader.reload("push-server reload")).await {
        Ok(report) => report,
        Err(error) => {
            warn!("a reload failed: {error}");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let status = match report.is_success() {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    match serde_json::to_string(&report) {
        Ok(json) => (status, [(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests;
