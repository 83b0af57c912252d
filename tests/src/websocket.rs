//! A small blocking MQTT client over WebSocket, whose frames a test may choose. It uses the library
//! that the server takes frame headers from; e2e_javascript uses others.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use tungstenite::client::{IntoClientRequest, client_with_config};
use tungstenite::handshake::client::Response;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use crate::clients::Connect;
use crate::expectations::PATIENCE;
use crate::server::Server;
use crate::wire::{self, Packet, Publish, Version};

/// The WebSocket listener of a server started with `--ws-listen 127.0.0.1:0`.
#[track_caller]
pub fn listener_of(server: &Server) -> SocketAddr {
    server.websocket().address
}

/// A TCP connection to `listener`.
#[track_caller]
pub fn dial(listener: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&listener, PATIENCE).expect("connect to the server");
    stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("set a timeout");
    stream.set_nodelay(true).expect("set an option");
    stream
}

/// The end of a connection: the server's close frame, then its FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The close frame's code.
    pub code: Option<u16>,
}

/// A client whose connection is upgraded.
#[derive(Debug)]
pub struct WebClient {
    socket: WebSocket<TcpStream>,
    version: Version,
    input: Vec<u8>,
    pongs: Vec<Vec<u8>>,
}

impl WebClient {
    /// Requests `path` and offers `subprotocols`. Returns the answer, or the status that refuses.
    pub fn upgrade(
        listener: SocketAddr,
        version: Version,
        path: &str,
        subprotocols: &str,
    ) -> Result<(Self, Response), u16> {
        let mut request = format!("ws://{listener}{path}").into_client_request().expect("a URL");
        if !subprotocols.is_empty() {
            let value = HeaderValue::from_str(subprotocols).expect("a header's value");
            request.headers_mut().insert("Sec-WebSocket-Protocol", value);
        }
        // Each message is sent at once.
        let config = WebSocketConfig::default().write_buffer_size(0);
        match client_with_config(request, dial(listener), Some(config)) {
            Ok((socket, response)) => {
                Ok((Self { socket, version, input: Vec::new(), pongs: Vec::new() }, response))
            }
            Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
            Err(error) => panic!("the upgrade failed: {error}"),
        }
    }

    /// Upgrades as clients do, and sends nothing more.
    #[track_caller]
    pub fn open(listener: SocketAddr, version: Version) -> Self {
        Self::upgrade(listener, version, "/mqtt", "mqtt").expect("an upgrade").0
    }

    /// Upgrades, connects, and expects to be accepted. Returns whether there was a session.
    #[track_caller]
    pub fn connect(listener: SocketAddr, connect: &Connect) -> (Self, bool) {
        let mut client = Self::open(listener, connect.version);
        client.send(&connect_packet(connect));
        let session_present = client.accepted();
        (client, session_present)
    }

    /// Expects a CONNACK that accepts. Returns whether there was a session.
    #[track_caller]
    pub fn accepted(&mut self) -> bool {
        match self.packet() {
            Packet::Connack { session_present, code: 0, .. } => session_present,
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// Sends bytes of MQTT in one binary frame.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.send_message(Message::from(bytes.to_vec()));
    }

    /// Sends a WebSocket message or frame.
    #[track_caller]
    pub fn send_message(&mut self, message: Message) {
        self.try_send_message(message).expect("send to the server");
    }

    /// Sends a WebSocket message or frame; the server may have gone.
    pub fn try_send_message(&mut self, message: Message) -> Result<(), Error> {
        self.socket.send(message)
    }

    /// Sends raw bytes, whether or not they are frames.
    #[track_caller]
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.socket.get_mut().write_all(bytes).expect("send to the server");
    }

    /// The next packet, read from binary frames; other frames must not carry data.
    pub fn receive(&mut self) -> Result<Packet, Closed> {
        loop {
            if let Some((packet, used)) = wire::decode(self.version, &self.input) {
                self.input.drain(..used);
                return Ok(packet);
            }
            match self.socket.read() {
                Ok(Message::Binary(bytes)) => self.input.extend_from_slice(&bytes),
                Ok(Message::Pong(payload)) => self.pongs.push(payload.to_vec()),
                Ok(Message::Close(frame)) => {
                    let code = frame.map(|frame| frame.code.into());
                    self.expect_fin();
                    return Err(Closed { code });
                }
                Ok(other) => panic!("the server sent {other:?}"),
                Err(error) => panic!("the connection ended without a close frame: {error}"),
            }
        }
    }

    /// The next packet.
    #[track_caller]
    pub fn packet(&mut self) -> Packet {
        self.receive().expect("a packet")
    }

    /// The next packet, which must be a message.
    #[track_caller]
    pub fn message(&mut self) -> Publish {
        match self.packet() {
            Packet::Publish(publish) => publish,
            other => panic!("no message: {other:?}"),
        }
    }

    /// Subscribes to one filter at QoS 1.
    #[track_caller]
    pub fn subscribe(&mut self, filter: &str) {
        self.send(&wire::subscribe(self.version, 1, &[(filter, 1)]));
        assert_eq!(self.packet(), Packet::Suback { packet_id: 1, codes: vec![1] });
    }

    /// Sends PINGREQ and waits for PINGRESP.
    #[track_caller]
    pub fn ping(&mut self) {
        self.send(&wire::PINGREQ);
        assert_eq!(self.packet(), Packet::Pingresp);
    }

    /// The payloads of pongs received since the last call.
    pub fn pongs(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.pongs)
    }

    /// Waits for the server's close frame and FIN; drops packets before them.
    pub fn closed(&mut self) -> Closed {
        loop {
            if let Err(closed) = self.receive() {
                return closed;
            }
        }
    }

    /// Whatever the client answers to its close frame, the server ends in order.
    fn expect_fin(&mut self) {
        loop {
            match self.socket.read() {
                Ok(_) => {}
                Err(Error::ConnectionClosed) => return,
                Err(error) => panic!("no orderly end: {error}"),
            }
        }
    }
}

/// The CONNECT of `connect`.
pub fn connect_packet(connect: &Connect) -> Vec<u8> {
    wire::connect(
        connect.version,
        &connect.client_id,
        connect.keep_alive_secs,
        connect.clean,
        connect.will.as_ref(),
        &connect.properties,
    )
}
