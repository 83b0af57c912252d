//! Addresses that clients connect to, of TCP and paths of Unix sockets; and the socket for operators.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};

use super::values::{Address, Expected, deserialize_from_str};

/// Bytes of the longest path of a Unix socket: `sun_path` without its terminating zero.
pub(super) const UNIX_PATH_BYTES_MAX: usize = 107;

/// Permissions of a Unix socket: its owner and group may connect.
pub const UNIX_MODE_DEFAULT: u32 = 0o660;

/// What stands between a path and its mode.
const MODE: &str = ",mode=";

/// A Unix socket that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixAddress {
    /// Its path, absolute.
    pub path: PathBuf,
    /// Who may connect, as permissions of a file.
    pub mode: u32,
}

impl FromStr for UnixAddress {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let (path, mode) = match text.rsplit_once(MODE) {
            Some((path, mode)) => (path, u32::from_str_radix(mode, 8).ok()),
            None => (text, Some(UNIX_MODE_DEFAULT)),
        };
        let is_path = path.starts_with('/') && !path.ends_with('/') && !path.contains('\0');
        let valid = is_path && path.len() <= UNIX_PATH_BYTES_MAX;
        mode.filter(|mode| valid && *mode <= 0o777)
            .map(|mode| Self { path: path.into(), mode })
            .ok_or_else(|| {
                Expected(format!(
                    "an absolute path of at most {UNIX_PATH_BYTES_MAX} bytes, with a mode or \
                     without, as /run/push-server/mqtt.sock,mode=0660"
                ))
            })
    }
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(formatter)?;
        match self.mode {
            UNIX_MODE_DEFAULT => Ok(()),
            mode => write!(formatter, "{MODE}{mode:04o}"),
        }
    }
}

deserialize_from_str!(UnixAddress);

/// The socket for operators, unless another is set.
pub const ADMIN_SOCKET: &str = "/run/push-server/admin.sock";

/// Where operators' commands reach the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminSocket {
    /// At `ADMIN_SOCKET`, if that can be made.
    Auto,
    /// Nowhere.
    Off,
    /// Here.
    At(UnixAddress),
}

impl FromStr for AdminSocket {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            path => path
                .parse()
                .map(Self::At)
                .map_err(|Expected(address)| Expected(format!("auto, off, or {address}"))),
        }
    }
}

impl fmt::Display for AdminSocket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Off => formatter.write_str("off"),
            Self::At(address) => address.fmt(formatter),
        }
    }
}

deserialize_from_str!(AdminSocket);

/// An address of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(UnixAddress),
}

impl ListenAddress {
    /// The address and port, unless it is a Unix socket.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The path, if it is a Unix socket.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(address) => Some(&address.path),
        }
    }

    /// What a listener at it is called, unless it has a name.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(address) => address.path.display().to_string(),
        }
    }

    /// Whether both cannot be listened at: the same path, or the same port but 0.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) => one == other && one.port() != 0,
            (Self::Unix(one), Self::Unix(other)) => one.path == other.path,
            _ => false,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        if text.starts_with('/') {
            return text.parse().map(Self::Unix);
        }
        text.parse().map(|Address(address)| Self::Tcp(address)).map_err(|Expected(address)| {
            Expected(format!(
                "{address}, or the path of a Unix socket, as /run/push-server/mqtt.sock"
            ))
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(address) => address.fmt(formatter),
        }
    }
}

deserialize_from_str!(ListenAddress);

#[cfg(test)]
mod tests;
