//! A connection's bytes: those read, through its layers and cut into packets, and those that wait to
//! be written.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use mio::net::TcpStream;

use super::connector;
use super::frames::{self, Frame, Malformed};
use super::transport::{Handshake, Kind, Transport};
use super::wire::{self, CONNACK, SUBACK, Version};

/// How long to wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Bytes read at a time while that is so.
const ANSWER_BYTES: usize = 4 << 10;

/// A connection that is being made, or is there.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) stream: TcpStream,
    transport: Transport,
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
    /// Begins to connect. `number`: the connection's, which decides what looks random in its layers.
    pub(super) fn begin(
        target: SocketAddr,
        source: Option<IpAddr>,
        layers: &Kind,
        number: usize,
    ) -> io::Result<Self> {
        let transport = Transport::new(layers, number as u64).map_err(io::Error::other)?;
        Ok(Self::over(TcpStream::from_std(connector::connect(target, source)?), transport))
    }

    /// Connects with MQTT 3.1.1 and a clean session, and subscribes to a filter with a QoS. Blocks,
    /// for clients that are few.
    pub(super) fn greeted(
        target: SocketAddr,
        layers: &Kind,
        client_id: &str,
        subscription: Option<(&str, u8)>,
    ) -> anyhow::Result<Self> {
        let stream = std::net::TcpStream::connect(target).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        // Few clients, few frames: any seed does.
        let transport = Transport::new(layers, client_id.len() as u64)?;
        let mut link = Self::over(TcpStream::from_std(stream.try_clone()?), transport);
        let mut buffer = vec![0; ANSWER_BYTES];
        let mut frame = Vec::new();
        link.write(&[])?;
        while !link.transport.is_open() {
            link.answer(&mut buffer).context("the layers do not open")?;
        }
        wire::connect(&mut frame, Version::V311, client_id, 0);
        link.write(&frame)?;
        let connack = link.answer(&mut buffer).context("no CONNACK")?;
        if connack != [CONNACK, 0, 0] {
            bail!("refused: {connack:02x?}");
        }
        if let Some((filter, qos)) = subscription {
            frame.clear();
            wire::subscribe(&mut frame, Version::V311, filter, qos);
            link.write(&frame)?;
            let suback = link.answer(&mut buffer).context("no SUBACK")?;
            if suback != [SUBACK, 0, 1, qos] {
                bail!("not subscribed to {filter} with QoS {qos}: {suback:02x?}");
            }
        }
        stream.set_nonblocking(true)?;
        Ok(link)
    }

    fn over(stream: TcpStream, transport: Transport) -> Self {
        Self { stream, transport, partial: Vec::new(), out: Vec::new() }
    }

    /// Blocks until a packet has come, or the layers have opened: the packet's first byte and body.
    fn answer(&mut self, buffer: &mut [u8]) -> anyhow::Result<Vec<u8>> {
        let was_open = self.transport.is_open();
        let mut packet = Vec::new();
        while packet.is_empty() && self.transport.is_open() == was_open {
            let before = Instant::now();
            let state = self.read(buffer, false, |Frame { first, body }| {
                packet.push(first);
                packet.extend_from_slice(body);
                Ok(())
            });
            match state.map_err(anyhow::Error::msg)? {
                State::Closed => bail!("the server closed the connection"),
                State::Open if before.elapsed() >= ANSWER_WITHIN => bail!("nothing came"),
                State::Open => {}
            }
        }
        Ok(packet)
    }

    /// Whether TCP and the layers have come up; an error when they cannot. Call it at every event
    /// until it is so.
    pub(super) fn is_ready(&mut self, buffer: &mut [u8], ends: bool) -> Result<bool, String> {
        if !self.is_up().map_err(|error| format!("cannot connect: {error}"))? {
            return Ok(false);
        }
        if !self.transport.is_open() {
            // The first time this sends what opens the layers, and then there is nothing to read.
            self.write(&[]).map_err(|error| format!("cannot send: {error}"))?;
            let none = |Frame { first, .. }: Frame<'_>| Err(format!("a packet {first:#04x} first"));
            if self.take_all(buffer, ends, none)? == State::Closed {
                return Err("the server closed the connection in a handshake".to_owned());
            }
            if !self.transport.is_open() && self.transport.owes() {
                self.write(&[]).map_err(|error| format!("cannot send: {error}"))?;
            }
        }
        // What the layers owe once they are open goes with the first packet.
        Ok(self.transport.is_open())
    }

    /// How a handshake of TLS went, if there was one.
    pub(super) fn handshake(&self) -> Option<Handshake> {
        self.transport.handshake()
    }

    fn is_up(&self) -> io::Result<bool> {
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
    pub(super) fn write(&mut self, mqtt: &[u8]) -> io::Result<()> {
        if !self.transport.is_plain() {
            self.transport.wrap(mqtt, &mut self.out).map_err(io::Error::other)?;
            return self.flush();
        }
        if !self.out.is_empty() {
            self.out.extend_from_slice(mqtt);
            return self.flush();
        }
        let written = write_some(&mut self.stream, mqtt)?;
        self.out.extend_from_slice(&mqtt[written..]);
        Ok(())
    }

    /// Says DISCONNECT, and what the layers say at the end.
    pub(super) fn say_goodbye(&mut self) -> io::Result<()> {
        self.transport.close();
        self.write(&wire::DISCONNECT_NORMAL)
    }

    /// Writes what was kept.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            let written = write_some(&mut self.stream, &self.out)?;
            self.out.drain(..written);
        }
        Ok(())
    }

    /// Reads everything there is, passes each packet to the caller, and sends what layers owe. A read
    /// that does not fill the buffer has emptied the socket (epoll(7)); `ends`: the end may be there
    /// too, which another read tells.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        ends: bool,
        each: impl FnMut(Frame<'_>) -> Result<(), String>,
    ) -> Result<State, String> {
        let state = self.take_all(buffer, ends, each)?;
        if self.transport.owes() && state == State::Open {
            self.write(&[]).map_err(|error| format!("cannot send: {error}"))?;
        }
        Ok(state)
    }

    fn take_all(
        &mut self,
        buffer: &mut [u8],
        ends: bool,
        mut each: impl FnMut(Frame<'_>) -> Result<(), String>,
    ) -> Result<State, String> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Ok(State::Closed),
                Ok(count) => {
                    self.unwrap(&mut buffer[..count], &mut each)?;
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

    fn unwrap(
        &mut self,
        bytes: &mut [u8],
        each: &mut impl FnMut(Frame<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.transport.is_plain() {
            return self.take(bytes, each);
        }
        let mut clear = Vec::new();
        self.transport.take(bytes, &mut clear).map_err(|fault| fault.to_string())?;
        self.take(&clear, each)
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
