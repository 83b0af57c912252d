//! One connection of a client: packets out, packets in. That the server may go at any moment is
//! the normal case here, and no failure.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use push_tests::clients::Connack;
use push_tests::server::Target;
use push_tests::wire::{self, Packet, Properties, Value, Version, property};

/// "Server shutting down" of an MQTT 5 DISCONNECT.
pub(crate) const SHUTTING_DOWN: u8 = 0x8B;

/// How long CONNACK may take. A server that is killed meanwhile breaks the connection at once.
const CONNACK_WITHIN: Duration = Duration::from_secs(10);

/// How long a write may wait for a server that does not read.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;

/// How long sessions outlive their connection, for MQTT 5. 3.1.1 has the server's longest.
const SESSION_EXPIRY_SECS: u32 = 24 * 3_600;

/// The connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost;

/// A connection that was accepted.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
    version: Version,
    input: Vec<u8>,
    output: Vec<u8>,
    buffer: Box<[u8]>,
    pub(crate) connack: Connack,
}

impl Link {
    /// Connects with a session that outlives the connection.
    pub(crate) fn open(
        target: &Target,
        version: Version,
        client_id: &str,
        clean: bool,
    ) -> Result<Self, Lost> {
        let stream = target.connect(None).map_err(|_| Lost)?;
        stream.set_write_timeout(Some(WRITE_WITHIN)).map_err(|_| Lost)?;
        let mut link = Self {
            stream,
            version,
            input: Vec::new(),
            output: Vec::new(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            connack: Connack::default(),
        };
        let expiry = (property::SESSION_EXPIRY_INTERVAL, Value::Number(SESSION_EXPIRY_SECS));
        let properties = Properties(vec![expiry]);
        link.say(&wire::connect(version, client_id, 0, clean, None, &properties));
        link.flush()?;
        let begun = Instant::now();
        while begun.elapsed() < CONNACK_WITHIN {
            match link.receive(CONNACK_WITHIN)? {
                Some(Packet::Connack { session_present, code: 0, properties }) => {
                    link.connack = Connack { session_present, code: 0, properties };
                    return Ok(link);
                }
                // A refusal: a server that is about to stop may do so.
                Some(Packet::Connack { .. }) => return Err(Lost),
                Some(other) => panic!("{client_id}: the first packet is no CONNACK: {other:?}"),
                None => {}
            }
        }
        panic!("{client_id}: no CONNACK within {CONNACK_WITHIN:?}");
    }

    /// Queues bytes for the next `flush`.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.output.extend(bytes);
    }

    /// Bytes said and not sent.
    pub(crate) fn unsent(&self) -> usize {
        self.output.len()
    }

    /// Sends what was said.
    pub(crate) fn flush(&mut self) -> Result<(), Lost> {
        let sent = self.stream.write_all(&self.output);
        self.output.clear();
        sent.map_err(|_| Lost)
    }

    /// The next packet; `None` when none comes in time.
    pub(crate) fn receive(&mut self, within: Duration) -> Result<Option<Packet>, Lost> {
        if let Some(packet) = self.decode() {
            return Ok(Some(packet));
        }
        let within = within.max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(within)).map_err(|_| Lost)?;
        match self.stream.read(&mut self.buffer) {
            Ok(0) => Err(Lost),
            Ok(count) => {
                self.input.extend(&self.buffer[..count]);
                Ok(self.decode())
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(None),
                _ => Err(Lost),
            },
        }
    }

    /// A packet that has arrived whole.
    fn decode(&mut self) -> Option<Packet> {
        let (packet, used) = wire::decode(self.version, &self.input)?;
        self.input.drain(..used);
        Some(packet)
    }
}
