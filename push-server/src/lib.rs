//! The push server, as a library for its binary and for the tests. `shard` joins `ring`, `mqtt`,
//! `websocket`, `broker` and `kernel`; none of those knows another (see the crate's README section).

pub mod broker;
pub mod config;
pub mod control;
pub mod kernel;
pub mod mqtt;
pub mod ring;
pub mod shard;
pub mod store;
pub mod websocket;
