//! What lies around the MQTT bytes of a connection, sans I/O: so far WebSocket's frames.

mod websocket;

pub(crate) use websocket::{Ended, Goodbye, UPGRADE_HEAD_BYTES_MAX, WebSocket};
