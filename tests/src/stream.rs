//! What a client of the tests sends and receives by: a socket, or layers over one.

use std::any::Any;
use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::AlertDescription;

use crate::load::transport::{Kind, Transport};

/// Bytes of MQTT, both ways.
pub trait Stream: Any + Debug + Read + Write + Send {
    /// The socket below all layers.
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

/// A socket with the layers of the load generator; blocking. Two threads may share it, one that reads
/// and one that writes.
#[derive(Debug)]
pub struct Layered {
    socket: TcpStream,
    /// Locked while sealed bytes are written, so that they leave in their order.
    transport: Arc<Mutex<Transport>>,
    /// Bytes of MQTT that nobody has read.
    clear: Vec<u8>,
}

impl Layered {
    /// Shakes hands over a connection. `seed` decides the masks of frames.
    pub fn open(socket: TcpStream, kind: &Kind, seed: u64) -> io::Result<Self> {
        let transport = Transport::new(kind, seed).map_err(io::Error::other)?;
        let transport = Arc::new(Mutex::new(transport));
        let mut layered = Self { socket, transport, clear: Vec::new() };
        layered.send(&[])?;
        while !layered.transport().is_open() {
            if layered.receive()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(layered)
    }

    /// A second handle, for another thread: only one of both may read.
    pub fn try_clone(&self) -> io::Result<Self> {
        let (socket, transport) = (self.socket.try_clone()?, Arc::clone(&self.transport));
        Ok(Self { socket, transport, clear: Vec::new() })
    }

    /// Changes the keys of TLS 1.3, both ways.
    pub fn renew(&mut self) -> io::Result<()> {
        self.transport().renew().map_err(io::Error::other)?;
        self.send(&[])
    }

    fn transport(&self) -> MutexGuard<'_, Transport> {
        self.transport.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&mut self, mqtt: &[u8]) -> io::Result<()> {
        let mut out = Vec::new();
        let mut transport = self.transport.lock().unwrap_or_else(PoisonError::into_inner);
        transport.wrap(mqtt, &mut out).map_err(io::Error::other)?;
        self.socket.write_all(&out)
    }

    /// Takes what has come. Returns how many bytes, of any layer.
    fn receive(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 << 10];
        let count = self.socket.read(&mut buffer)?;
        let mut transport = self.transport.lock().unwrap_or_else(PoisonError::into_inner);
        transport.take(&mut buffer[..count], &mut self.clear).map_err(io::Error::other)?;
        let owes = transport.owes() && !transport.has_ended();
        drop(transport);
        if owes {
            self.send(&[])?;
        }
        Ok(count)
    }
}

impl Read for Layered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.clear.is_empty() {
            if self.receive()? == 0 {
                let is_in_order = self.transport().has_ended();
                return if is_in_order { Ok(0) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
        let count = buffer.len().min(self.clear.len());
        buffer[..count].copy_from_slice(&self.clear[..count]);
        self.clear.drain(..count);
        Ok(count)
    }
}

impl Write for Layered {
    fn write(&mut self, mqtt: &[u8]) -> io::Result<usize> {
        self.send(mqtt)?;
        Ok(mqtt.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Layered {
    fn tcp(&self) -> &TcpStream {
        &self.socket
    }
}

/// The alert that ended a connection, sent by the server.
pub fn alert_of(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}
