//! A connection's bytes: those read, cut into packets, and those that wait to be written.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use mio::net::TcpStream;

use super::connector;
use super::frames::{self, Frame, Malformed};
use super::wire::{self, CONNACK, SUBACK, Version};

/// How long to wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A connection that is being made, or is there.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) stream: TcpStream,
    /// The beginning of a packet.
    partial: Vec<u8>,
    /// Bytes that the socket had no room for.
    out: Vec<u8>,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Closed,
}

impl Link {
    /// Begins to connect.
    pub(super) fn begin(target: SocketAddr, source: Option<IpAddr>) -> io::Result<Self> {
        Ok(Self::over(TcpStream::from_std(connector::connect(target, source)?)))
    }

    /// Connects with MQTT 3.1.1 and a clean session, and subscribes to a filter with a QoS. Blocks,
    /// for clients that are few.
    pub(super) fn greeted(
        target: SocketAddr,
        client_id: &str,
        subscription: Option<(&str, u8)>,
    ) -> anyhow::Result<Self> {
        let mut stream = std::net::TcpStream::connect(target).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        let mut frame = Vec::new();
        wire::connect(&mut frame, Version::V311, client_id, 0);
        stream.write_all(&frame)?;
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).context("no CONNACK")?;
        if connack != [CONNACK, 2, 0, 0] {
            bail!("refused: {connack:02x?}");
        }
        if let Some((filter, qos)) = subscription {
            frame.clear();
            wire::subscribe(&mut frame, Version::V311, filter, qos);
            stream.write_all(&frame)?;
            let mut suback = [0; 5];
            stream.read_exact(&mut suback).context("no SUBACK")?;
            if suback != [SUBACK, 3, 0, 1, qos] {
                bail!("not subscribed to {filter} with QoS {qos}: {suback:02x?}");
            }
        }
        stream.set_nonblocking(true)?;
        Ok(Self::over(TcpStream::from_std(stream)))
    }

    fn over(stream: TcpStream) -> Self {
        Self { stream, partial: Vec::new(), out: Vec::new() }
    }

    /// Whether TCP has come up; an error when it cannot.
    pub(super) fn is_up(&self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether all was written.
    pub(super) fn is_flushed(&self) -> bool {
        self.out.is_empty()
    }

    /// Writes, and keeps the bytes that the socket does not take.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.out.is_empty() {
            self.out.extend_from_slice(bytes);
            return self.flush();
        }
        let written = write_some(&mut self.stream, bytes)?;
        self.out.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    /// Writes what was kept.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            let written = write_some(&mut self.stream, &self.out)?;
            self.out.drain(..written);
        }
        Ok(())
    }

    /// Reads everything there is, and passes each packet to the caller. A read that does not fill
    /// the buffer has emptied the socket (epoll(7)); `ends`: the end may be there too, which
    /// another read tells.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        ends: bool,
        mut each: impl FnMut(Frame<'_>) -> Result<(), String>,
    ) -> Result<State, String> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Ok(State::Closed),
                Ok(count) => {
                    self.take(&buffer[..count], &mut each)?;
                    if count < buffer.len() && !ends {
                        return Ok(State::Open);
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(State::Open),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(format!("the connection broke: {error}")),
                },
            }
        }
    }

    fn take(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(Frame<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut joined = std::mem::take(&mut self.partial);
        let mut rest = bytes;
        if !joined.is_empty() {
            joined.extend_from_slice(bytes);
            rest = &joined;
        }
        let malformed = |Malformed| "bad packet: a remaining length of five bytes".to_owned();
        while let Some((frame, behind)) = frames::split(rest).map_err(malformed)? {
            each(frame)?;
            rest = behind;
        }
        self.partial = rest.to_vec();
        Ok(())
    }
}

/// How many bytes the socket took.
fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(count) => written += count,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => break,
                io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
    Ok(written)
}
