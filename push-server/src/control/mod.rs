//! Everything about the server that is not serving: the order of starting, the rules for
//! connecting, files of users and threads that hash passwords, certificates, limits and privileges of
//! the process, signals, reloads, HTTP (health, metrics), the socket for operators' commands, the status
//! line, and the threads that write lines.
//!
//! The only user of tokio, in the main thread, which does nothing else.

pub(crate) mod access;
pub mod acl;
pub mod admin;
mod authenticator;
pub mod error_text;
pub(crate) mod hook;
pub(crate) mod http;
pub(crate) mod http_counters;
pub(crate) mod http_limits;
mod http_places;
mod http_server;
pub(crate) mod limits;
pub mod line_queue;
mod listening;
pub(crate) mod metrics;
pub(crate) mod observed;
mod occupant;
pub(crate) mod patience;
pub mod preflight;
pub mod privileges;
pub mod reload;
pub(crate) mod signals;
pub mod startup;
pub mod status;
mod status_text;
pub(crate) mod supervise;
mod tally;
pub(crate) mod tls;
mod tokens;
pub mod users_file;
mod wall_clock;

pub use tls::crypto_provider;
