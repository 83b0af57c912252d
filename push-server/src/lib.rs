//! The push server, as a library for its binary and for the tests.
//!
//! `mqtt` and `store` use the topics and messages of `broker`; `transport`, `ring` and `kernel` use no
//! other module. `shard` joins them all, and `control` starts and watches it. ARCHITECTURE.md tells who
//! may import whom.

pub mod access;
pub mod broker;
pub mod config;
pub mod control;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod kernel;
pub mod mqtt;
pub mod mutant;
pub(crate) mod ring;
pub mod shard;
pub mod store;
pub(crate) mod transport;
