//! Unix sockets that clients connect to. The file of a socket outlives a process that was killed: a
//! start takes its place, unless somebody listens there.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fstat, lstat, open};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::UnixAddress;

/// The file of a socket that this process listens at. Dropping it removes the file, unless another
/// process has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// The file itself: as long as this is open, no other has its number.
    file: OwnedFd,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let file = open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Whether its path still leads to it.
    fn is_there(&self) -> io::Result<bool> {
        let (there, own) = (lstat(&self.path)?, fstat(&self.file)?);
        Ok((there.st_dev, there.st_ino) == (own.st_dev, own.st_ino))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_there().unwrap_or(false) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at a path. Returns the socket once for each shard.
pub(super) fn bind(
    address: &UnixAddress,
    backlog: i32,
    shards: usize,
) -> io::Result<(SocketFile, Vec<OwnedFd>)> {
    let UnixAddress { path, mode } = address;
    let target = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    if let Err(error) = socket.bind(&target) {
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err(error);
        }
        probe_unix(path)?;
        fs::remove_file(path)?;
        socket.bind(&target)?;
    }
    let file = SocketFile::of(path)?;
    // Nobody can connect before the server listens, so nobody does who may not.
    fs::set_permissions(path, fs::Permissions::from_mode(*mode))?;
    socket.listen(backlog)?;
    let socket = OwnedFd::from(socket);
    let sockets = (0..shards).map(|_| socket.try_clone()).collect::<io::Result<_>>()?;
    Ok((file, sockets))
}

/// Finds out whether a server can listen at `path`: there is nothing, or a socket that a dead process
/// has left.
///
/// # Errors
/// Somebody listens there, or it is no socket, or the system says that nobody can.
pub fn probe_unix(path: &Path) -> io::Result<()> {
    let file_type = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return probe_folder(path),
        Err(error) => return Err(error),
    };
    if !file_type.is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket"));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One whose backlog is full would let this wait.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::CONNREFUSED) => Ok(()),
        // A datagram socket, say.
        Err(error) if Errno::from_io_error(&error) != Some(Errno::AGAIN) => Err(error),
        Ok(()) | Err(_) => Err(Errno::ADDRINUSE.into()),
    }
}

/// Whether there is a folder to make the socket in.
fn probe_folder(path: &Path) -> io::Result<()> {
    match path.parent().map(fs::metadata) {
        Some(Ok(metadata)) if metadata.is_dir() => Ok(()),
        Some(Err(error)) => Err(error),
        Some(Ok(_)) | None => Err(io::ErrorKind::NotADirectory.into()),
    }
}

#[cfg(test)]
mod tests;
