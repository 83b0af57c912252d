//! Everything about the server that is not serving: the order of starting, the rules for
//! connecting, limits and privileges of the process, signals, HTTP (health, metrics), the status
//! line, and the threads that write lines.
//!
//! The only user of tokio, in the main thread, which does nothing else.

pub mod access;
pub mod http;
pub mod http_counters;
pub mod http_limits;
mod http_places;
pub mod limits;
pub mod line_queue;
mod listening;
pub mod metrics;
pub mod observed;
mod occupant;
pub mod patience;
pub mod preflight;
pub mod privileges;
pub mod signals;
pub mod startup;
pub mod status;
mod status_text;
pub mod supervise;
mod wall_clock;
